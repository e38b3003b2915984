# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The API server's certificate and what kubeadm remembers of it, also if the run is killed in between."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.unit.namespace_node import NamespaceNode
from tests.unit.roles.test_killed_before_the_restart import command, counts

CLUSTER = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n"
CONFIG_MAP = json.dumps({"data": {"ClusterConfiguration": CLUSTER}})
KUBECTL = """for word; do [ "$word" != get ] || { cat /run/config-map; exit; }; done
[ ! -e /run/kill ] || { rm /run/kill; kill -9 "$PPID"; exit 1; }
cat >/run/config-map; echo configmap/kubeadm-config configured"""
#: As the real one does, it takes a pair that is there for the one that was meant.
KUBEADM = """cd /run/bramble-apiserver
[ ! -e apiserver.crt ] || { echo 'invalid: not valid for these names' >&2; exit 1; }
cp /run/new/apiserver.crt /run/new/apiserver.key ."""
PKI = "/etc/kubernetes/pki"


def make_pair(folder: Path, *names: str) -> None:
    folder.mkdir()
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-subj", "/CN=kube-apiserver", "-addext", f"subjectAltName={','.join(names)}"),
            *("-keyout", str(folder / "apiserver.key"), "-out", str(folder / "apiserver.crt")),
        ],
        capture_output=True,
        check=True,
    )


@pytest.mark.long
@pytest.mark.skipif(os.getuid() != 0, reason="needs root")
def test_a_killed_run_is_finished(tmp_path: Path) -> None:
    node = NamespaceNode(tmp_path, folders=[])
    node.program("kubectl", KUBECTL)
    node.program("kubeadm", KUBEADM)
    make_pair(tmp_path / "old", "DNS:kubernetes")
    make_pair(tmp_path / "new", "DNS:kubernetes", "DNS:rack.example.org")
    node.write("/etc/kubernetes/manifests/kube-apiserver.yaml", "- --advertise-address=10.0.0.1\n")
    node.write("/run/config-map", CONFIG_MAP)
    for name in ("crt", "key"):
        node.write(f"{PKI}/ca.{name}", "the authority\n")
        node.write(f"{PKI}/apiserver.{name}", (tmp_path / "old" / f"apiserver.{name}").read_text())
        node.write(f"/run/new/apiserver.{name}", (tmp_path / "new" / f"apiserver.{name}").read_text())
    role = {"name": "bramble.pi.remote_access", "tasks_from": "certificate"}
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "tasks": [{"name": "Have it", "ansible.builtin.include_role": role}],
    }
    playbook = tmp_path / "play.yml"
    playbook.write_text(json.dumps([play]))
    step = command(
        playbook,
        remote_access_address="rack.example.org",
        __remote_access_first="localhost",
        __remote_access_cri_socket="unix:///run/containerd/containerd.sock",
    )
    outputs = node.run(
        ": >/run/kill",
        step,
        "[ -e /run/kill ] || echo there",
        f"mkdir -p /run/bramble-apiserver; cp {PKI}/apiserver.crt /run/bramble-apiserver",
        step,
        f"cmp {PKI}/apiserver.crt /run/new/apiserver.crt && cmp {PKI}/apiserver.key /run/new/apiserver.key",
        "cat /run/config-map",
    )
    assert counts(outputs[1])["failed"] == 1, "the run was not killed"
    assert outputs[2] == "there\n"
    assert counts(outputs[4])["failed"] == 0, outputs[4]
    assert outputs[5] == ""
    remembered = yaml.safe_load(json.loads(outputs[6])["data"]["ClusterConfiguration"])
    assert remembered["apiServer"]["certSANs"] == ["kubernetes", "rack.example.org"]
