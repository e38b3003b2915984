# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A control plane in namespaces: kubeadm's files, and programs that read them when they start."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.namespace_node import NamespaceNode
from tests.unit.run_module import REPOSITORY

KUBERNETES = "/etc/kubernetes"
#: The program's flags by which it is known and asked, and the file that it shows to those who ask.
PROGRAMS = {
    "etcd": ("--data-dir=/var/lib/etcd --listen-metrics-urls=http://127.0.0.1:2381", "pki/etcd/server"),
    "kube-apiserver": (
        "--tls-cert-file=/etc/kubernetes/pki/apiserver.crt --advertise-address=10.0.0.1",
        "pki/apiserver",
    ),
    "kube-controller-manager": ("--kubeconfig=/etc/kubernetes/controller-manager.conf", None),
    "kube-scheduler": ("--kubeconfig=/etc/kubernetes/scheduler.conf", None),
}
PORTS = {"kube-apiserver": 6443, "kube-controller-manager": 10257, "kube-scheduler": 10259}

#: Answers as a program of the control plane, by the pair that was there when it was started.
PROGRAM = """
import base64, http.server, re, shutil, ssl, sys
program, port, shown = sys.argv[1:4]
class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_words):
        pass
http.server.HTTPServer.allow_reuse_address = True
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), Health)
if port != "2381":
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if shown.endswith(".conf"):
        # As client-go reads it.
        text = open(f"/etc/kubernetes/{shown}").read()
        with open(f"/run/{program}.pem", "w") as file:
            for kind in ("certificate", "key"):
                data = re.search(rf"client-{kind}-data: (\\S+)", text)[1]
                file.write(base64.b64decode(data).decode())
        context.load_cert_chain(f"/run/{program}.pem")
    else:
        context.load_cert_chain(f"/etc/kubernetes/{shown}.crt", f"/etc/kubernetes/{shown}.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
with open("/run/started", "a") as file:
    file.write(program + "\\n")
server.serve_forever()
"""
#: Starts what ends, as the kubelet does; under their own names, by which their processes are known.
KUBELET = """
import json, subprocess, sys, threading, time
def keep(program, flags, port, shown):
    while True:
        command = [program, "/run/program.py", program, str(port), shown, *flags.split()]
        subprocess.run(command, executable="/usr/bin/python3")
        time.sleep(0.2)
for program, flags, port, shown in json.load(open("/run/pods.json")):
    threading.Thread(target=keep, args=(program, flags, port, shown)).start()
"""
KUBECTL = """echo "$*" >>/run/kubectl
[ ! -e /run/api-is-down ] || exit 1
case "$*" in *"get lease"*) exit 0 ;; esac"""


def rack_kubeadm(folder: Path) -> Path:
    """Return the newest kubeadm of the virtual rack's packages."""
    packages = sorted((Path.home() / ".cache/bramble/kubernetes").glob("*/repo/**/kubeadm_*.deb"))
    if not packages or not shutil.which("dpkg-deb") or os.getuid() != 0:
        pytest.skip("needs root, and a kubeadm that the virtual rack was made with")
    subprocess.run(["dpkg-deb", "-x", packages[-1], folder / "package"], check=True)
    return folder / "package/usr/bin/kubeadm"


class CertificatesNode(NamespaceNode):
    """Its commands are run as NamespaceNode.run does, after a cluster was made by the real kubeadm."""

    def __init__(self, scratch: Path) -> None:
        super().__init__(scratch, folders=[], processes=True)
        self.systemd()
        self.program("kubeadm", f'exec {rack_kubeadm(scratch)} "$@"')
        self.program("kubectl", KUBECTL)
        self.program("crictl", "exit 1")
        pods = []
        for name, (flags, shown) in PROGRAMS.items():
            lines = "".join(f"    - {flag}\n" for flag in flags.split())
            text = f"spec:\n  containers:\n  - command:\n    - {name}\n{lines}    image: x\n"
            self.write(f"{KUBERNETES}/manifests/{name}.yaml", text)
            pods.append((name, flags, PORTS.get(name, 2381), shown or f"{name[5:]}.conf"))
        self.write("/run/pods.json", json.dumps(pods))
        self.write("/run/program.py", PROGRAM)
        self.write("/run/kubelet.py", KUBELET)
        self.write("/var/lib/etcd/member/snap/db", "data")

    def begin(self) -> list[str]:
        """Return the commands that make the cluster and start it."""
        return [
            "given='--apiserver-advertise-address=10.0.0.1 --kubernetes-version='$(kubeadm version -o short)",
            "kubeadm init phase certs all $given >&2 && kubeadm init phase kubeconfig all $given >&2",
            # Long enough ago that what starts now has read it.
            f"find {KUBERNETES} -type f | xargs touch -d '-1 hour'",
            *self.start(),
        ]

    def start(self) -> list[str]:
        """Return the commands that start the static pods, and wait until all have read their certificates."""
        return [
            "touch /run/started-kubelet; /usr/bin/python3 /run/kubelet.py </dev/null >/dev/null 2>&1 &",
            "timeout 60 sh -c 'until [ $(sort -u /run/started | wc -l) = 4 ]; do sleep 1; done' 2>/dev/null",
        ]

    def certificates(self, *, check: bool = False, **options: Any) -> str:
        """Return the command that runs the module, with what it leaves as the last line of its output."""
        return self.module("certificates", check=check, timeout=30, node_name="pi-1", **options)

    @staticmethod
    def age(*names: str, days: int) -> str:
        """Return the command that has certificates below /etc/kubernetes end in so many days."""
        script = [sys.executable, str(REPOSITORY / "tests" / "aged_certificate.py"), str(days * 86400)]
        paths = [name if name.startswith("/") else f"{KUBERNETES}/{name}" for name in names]
        # As old as they say, for those who compare that with a process.
        return f"{shlex.join([*script, *paths])} && touch -d '-1 hour' {shlex.join(paths)}"
