# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A control plane in a folder, whose etcd and its tools are played by a function."""

from __future__ import annotations

import contextlib
import io
import json
import os
import tarfile
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._backup import archive, etcd, make, scratch
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import state

from tests.unit.kubeadm_node import CA, FakeNode

NOW = datetime(2026, 10, 1, 12, 0, 0, tzinfo=timezone.utc)
AGE_KEY = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
SECRET = "the key of the CA"
ETCD = """\
spec:
  containers:
  - command:
    - etcd
    - --initial-advertise-peer-urls=https://192.168.1.10:2380
    - --initial-cluster=pi-1=https://192.168.1.10:2380
    - --name=pi-1
    image: registry.k8s.io/etcd:3.6.5-0
"""
APISERVER = "    - --etcd-servers=https://127.0.0.1:2379\n    image: registry.k8s.io/kube-apiserver:v1.36.1\n"
#: Encrypts nothing, and says so.
AGE = """\
#!/bin/sh
while [ $# -gt 0 ]; do
    case $1 in
    --output) out=$2; shift ;;
    --recipient) to="$to $2"; shift ;;
    --identity) test -s "$2" || exit 1; shift ;;
    --decrypt) decrypt=yes ;;
    *) in=$1 ;;
    esac
    shift
done
if [ "$decrypt" ]; then
    head -n1 "$in" | grep -q "^for age1" || { echo "age: error: no identity matched" >&2; exit 1; }
    exec tail -n +2 "$in"
fi
printf 'for%s\\n' "$to" >"$out"
cat >>"$out"
"""


class ControlPlane:
    """Its files, and what its etcd answers."""

    def __init__(self, node: FakeNode) -> None:
        self.node = node
        self.root = node.root
        self.programs = node.programs
        self.folder = node.root / "backups"
        self.commands: list[list[str]] = []
        self.client = "ctr"
        #: What the live store says, and the restored one.
        self.hashes = {"live": 11, "copy": 11}
        self.keys = {"live": 312, "copy": 312}
        self.compacted = {"live": 90, "copy": 90}
        self.etcdutl = True
        self.revision = 100
        self.snapshot = b"objects and secrets"

    def run(self, command: list[str]) -> tuple[int, str, str]:
        self.commands.append(command)
        words = command[command.index("bramble-etcd-tool") + 1 :] if "bramble-etcd-tool" in command else []
        if not words:
            return 0, "", ""
        of = "live" if "--endpoints=https://127.0.0.1:2379" in words else "copy"
        asked = " ".join(word for word in words if not word.startswith("-"))
        if words[0] == "etcdutl" and not self.etcdutl:
            return 1, "", 'exec: "etcdutl": executable file not found in $PATH'
        if "snapshot save" in asked:
            Path(words[-1]).write_bytes(self.snapshot)
            return 0, "", ""
        answers: dict[str, Any] = {
            "snapshot status": {"revision": self.revision},
            "endpoint status": [{"Status": {"version": "3.6.5"}}],
            "member list": {"members": [{"ID": 1, "name": "pi-1"}]},
            "endpoint hashkv": [
                {"HashKV": {"hash": self.hashes[of], "compact_revision": self.compacted[of]}}
            ],
            "get": {"count": self.keys[of]},
        }
        if "compaction" in asked:
            self.compacted["copy"] = self.compacted["live"]
            self.hashes["copy"] = self.hashes["live"]
        found: Any = next((answer for words, answer in answers.items() if words in asked), {})
        return 0, json.dumps(found), ""

    def wishes(self, **wishes: Any) -> dict[str, Any]:
        """Return the options of a backup, as the module has them."""
        options = {"recipients": [AGE_KEY], "folder": str(self.folder), "keep": 3, "keep_days": 30}
        return {**options, **wishes}

    def backup(self, **wishes: Any) -> dict[str, Any]:
        parameters = make.Wishes.of(self.wishes(**wishes))
        return make.make_backup(run=self.run, wishes=parameters, now=lambda: NOW)

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(Path(state.BACKUP_STATUS).read_text())
        return found

    def content(self, path: str) -> dict[str, bytes]:
        """Read a backup that the age of the tests made."""
        recipients, packed = Path(path).read_bytes().split(b"\n", 1)
        assert recipients == f"for {AGE_KEY}".encode()
        with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as content:
            return {
                member.name: member.linkname.encode()
                if member.issym()
                else content.extractfile(member).read()  # type: ignore[union-attr]
                for member in content
            }


def control_plane(root: Path, monkeypatch: pytest.MonkeyPatch) -> ControlPlane:
    """Make one below a folder."""
    node = FakeNode(root, monkeypatch)
    for name in ("controller-manager.conf", "scheduler.conf", "kubelet.conf"):
        node.write(f"/etc/kubernetes/{name}", "users: []\n")
    for name in ("kube-controller-manager", "kube-scheduler"):
        node.write(f"/etc/kubernetes/manifests/{name}.yaml", "spec: {}\n")
    node.control_plane()
    node.write("/etc/kubernetes/manifests/etcd.yaml", ETCD)
    node.write("/etc/kubernetes/manifests/kube-apiserver.yaml", APISERVER)
    node.write("/etc/kubernetes/pki/ca.crt", CA)
    node.write("/etc/kubernetes/pki/ca.key", SECRET)
    node.write("/etc/kubernetes/pki/sa.key", "key\n")
    node.write("/etc/kubernetes/pki/etcd/ca.crt", CA)
    node.write("/etc/kubernetes/tmp/old.yaml", "left out\n")
    node.write("/var/lib/kubelet/config.yaml", "containerRuntimeEndpoint: /run/containerd/containerd.sock\n")
    node.write("/var/lib/kubelet/pki/kubelet-client-1.pem", "pem\n")
    current = root / "var/lib/kubelet/pki/kubelet-client-current.pem"
    current.symlink_to("/var/lib/kubelet/pki/kubelet-client-1.pem")
    node.write("/var/lib/etcd/member/snap/db", "x" * 1000)
    (node.programs / "age").write_text(AGE)
    (node.programs / "age").chmod(0o755)
    (root / "memory").mkdir()

    @contextlib.contextmanager
    def nothing() -> Iterator[None]:
        yield

    @contextlib.contextmanager
    def memory(**_arguments: Any) -> Iterator[str]:
        made.commands.append(["a folder in memory"])
        yield str(root / "memory")

    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "pi-1", "6.12", "1", "aarch64")))
    monkeypatch.setattr(scratch, "locked", nothing)
    monkeypatch.setattr(scratch, "folder", memory)
    monkeypatch.setattr(etcd, "MANIFEST", f"{state.MANIFESTS}/etcd.yaml")
    monkeypatch.setattr(etcd, "listens", lambda _port: True)
    monkeypatch.setattr(archive, "_TREES", (state.KUBERNETES, f"{state.KUBELET}/pki"))
    monkeypatch.setattr(archive, "_FILES", (state.KUBELET_CONFIGURATION, state.KUBELET_FLAGS))
    monkeypatch.setattr(archive, "_LEFT_OUT", (state.UPGRADES, state.ATTEMPT))
    made = ControlPlane(node)
    return made
