# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""kubeadm init that ends well though the controller manager does not start, and what the next runs do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import components, state
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.node import Node
from ansible_collections.bramble.pi.plugins.modules import kubeadm_init

from tests.unit.kubeadm_node import ADMIN_CONF, CA, FakeNode, run

SETTING = {"controllerManager": {"extraArgs": {"pod-eviction-timeout": "30s"}}}
MANIFEST = "spec:\n  containers:\n  - command:\n    - {}\n    image: x\n"
UNKNOWN_FLAG = "2026-11-29T10:00:00.1Z stderr F Error: unknown flag: --pod-eviction-timeout\n"
# It ends well, whatever the controller manager was told; the kubelet writes the log.
KUBEADM = """\
#!/bin/sh
echo "$*" >> '{root}/commands'
case "$*" in
    "config print init-defaults") echo "apiVersion: kubeadm.k8s.io/v1beta3" ;;
    "version -o json") echo '{{"clientVersion": {{"gitVersion": "v1.28.0"}}}}' ;;
    "reset --force") rm -rf '{root}/etc/kubernetes' '{root}/var/lib/etcd' '{root}/crashes' ;;
    init*--skip-phases=preflight,certs,*) ;;
    init*)
        mkdir -p '{root}/etc' '{root}/var/lib'
        cp -r '{root}/made/etc/kubernetes' '{root}/etc'
        cp -r '{root}/made/etcd' '{root}/var/lib'
        config="$2"
        if grep -q pod-eviction-timeout "${{config#--config=}}"; then touch '{root}/crashes'; fi ;;
esac
"""


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeNode:
    monkeypatch.setattr(Node, "has", lambda _self, program: program in ("kubeadm", "kubectl", "kubelet"))
    monkeypatch.setattr(
        components, "answers", lambda url: ":10257/" not in url or not (tmp_path / "crashes").exists()
    )
    node = FakeNode(tmp_path, monkeypatch)
    node.program("kubeadm", "")
    (node.programs / "kubeadm").write_text(KUBEADM.format(root=tmp_path))
    node.program("kubectl", '{"items": []}')
    node.write("/made/etc/kubernetes/pki/ca.crt", CA)
    for name in ("admin", "controller-manager", "scheduler"):
        node.write(f"/made/etc/kubernetes/{name}.conf", ADMIN_CONF)
    node.write(
        "/made/etc/kubernetes/kubelet.conf",
        "    server: https://192.168.1.10:6443\n    client-certificate-data: LS0t\n",
    )
    for name in components.COMPONENTS:
        node.write(f"/made/etc/kubernetes/manifests/{name}.yaml", MANIFEST.format(name))
    node.write("/made/etcd/member/wal", "x")
    node.write(
        "/var/log/pods/kube-system_kube-controller-manager-pi-1_a/kube-controller-manager/0.log", UNKNOWN_FLAG
    )
    return node


def init(capsys: pytest.CaptureFixture[str], setting: dict[str, Any]) -> dict[str, Any]:
    return run(kubeadm_init, capsys, node_name="pi-1", timeout=0, cluster_configuration=setting)


def test_a_control_plane_that_crashes_is_not_done(node: FakeNode, capsys: pytest.CaptureFixture[str]) -> None:
    log = node.root / "var/log/pods/kube-system_kube-controller-manager-pi-1_a/kube-controller-manager/0.log"
    first = init(capsys, SETTING)
    assert "kube-controller-manager does not answer at https://127.0.0.1:10257/healthz" in first["msg"]
    # After the manifest, as the kubelet writes it.
    log.write_text(UNKNOWN_FLAG)
    again = init(capsys, SETTING)
    assert "Error: unknown flag: --pod-eviction-timeout" in again["msg"]
    assert "control_plane_cluster_configuration" in again["msg"]
    corrected = init(capsys, {})
    assert corrected["changed"], corrected
    assert not Path(state.ATTEMPT).exists()
    commands = node.log.read_text()
    # The second run only finished; the corrected one began again.
    assert commands.count("reset --force") == 1
    # Newer kubelets count restarts by them.
    assert not log.exists()
    settled = init(capsys, {})
    assert (settled["changed"], settled["state"]) == (False, "healthy")


def test_one_that_is_in_use_is_not_begun_anew(node: FakeNode, capsys: pytest.CaptureFixture[str]) -> None:
    assert "does not answer" in init(capsys, SETTING)["msg"]
    key = "/registry/deployments/default/web"
    node.write("/var/lib/etcd/member/wal", f"\n{chr(len(key))}{key}")
    refused = init(capsys, {})
    assert "workload default/web" in refused["msg"]
    assert "reset --force" not in node.log.read_text()
