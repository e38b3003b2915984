# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules on a node in a folder, with a kubeadm that prints what the real one does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._containers import containerd
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import reset, state
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.node import Node
from ansible_collections.bramble.pi.plugins.modules import (
    kubeadm_init,
    kubeadm_join,
    kubeadm_join_info,
    kubeadm_reset,
)

from tests.unit.kubeadm_node import CA, CA_HASH, FakeNode, run

TOKEN = "abcdef.0123456789abcdef"
KEY = "11def25d624a2150b57715e21b0c393695bc6a70d932e472f75d24f747eb657e"
OTHER_HASH = "sha256:" + "b" * 64


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeNode:
    return FakeNode(tmp_path, monkeypatch)


def test_init_in_check_mode_needs_nothing_on_a_fresh_node(
    node: FakeNode, capsys: pytest.CaptureFixture[str]
) -> None:
    result = run(kubeadm_init, capsys, check=True, pod_cidr="10.244.0.0/16", token=TOKEN)
    assert (result["changed"], result["state"]) == (True, "absent")
    assert TOKEN not in json.dumps(result)
    assert not node.log.exists()
    assert not (node.root / "etc").exists()


def test_init_refuses_a_malformed_token_without_showing_it(
    node: FakeNode, capsys: pytest.CaptureFixture[str]
) -> None:
    result = run(kubeadm_init, capsys, token="no-secret-at-all")
    assert "kubeadm token generate" in result["msg"]
    assert "no-secret-at-all" not in json.dumps(result)


def test_init_refuses_a_worker(node: FakeNode, capsys: pytest.CaptureFixture[str]) -> None:
    node.write("/etc/kubernetes/kubelet.conf", "x")
    result = run(kubeadm_init, capsys, check=True, node_name="pi-2")
    assert "this node is a worker" in result["msg"]
    assert "--limit pi-2" in result["msg"]


def test_join_in_check_mode_before_there_is_a_cluster(
    node: FakeNode, capsys: pytest.CaptureFixture[str]
) -> None:
    result = run(kubeadm_join, capsys, check=True)
    assert (result["changed"], result["state"]) == (True, "absent")


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({}, "ca_cert_hash is None; expected sha256:"),
        ({"ca_cert_hash": "12"}, "ca_cert_hash is '12'"),
        ({"ca_cert_hash": CA_HASH, "endpoint": "192.168.1.10"}, "endpoint is '192.168.1.10'"),
        (
            {"ca_cert_hash": CA_HASH, "endpoint": "h:6443", "token": "no-secret-at-all"},
            "token does not have the form",
        ),
    ],
)
def test_join_refuses_what_it_cannot_join_with(
    node: FakeNode, capsys: pytest.CaptureFixture[str], parameters: dict[str, Any], reason: str
) -> None:
    result = run(kubeadm_join, capsys, **parameters)
    assert reason in result["msg"]
    assert "no-secret-at-all" not in json.dumps(result)


def test_join_needs_no_token_for_a_node_that_is_in_the_cluster(
    node: FakeNode, capsys: pytest.CaptureFixture[str]
) -> None:
    node.write("/etc/kubernetes/pki/ca.crt", CA)
    node.write(
        "/etc/kubernetes/kubelet.conf",
        "    server: https://192.168.1.10:6443\n    client-certificate-data: LS0t\n",
    )
    result = run(kubeadm_join, capsys, ca_cert_hash=CA_HASH)
    assert (result["changed"], result["state"]) == (False, "joined")
    assert result["server"] == "https://192.168.1.10:6443"
    other = run(kubeadm_join, capsys, ca_cert_hash=OTHER_HASH)
    assert CA_HASH in other["msg"]
    assert OTHER_HASH in other["msg"]


def test_join_info(node: FakeNode, capsys: pytest.CaptureFixture[str]) -> None:
    node.control_plane()
    node.program(
        "kubeadm",
        f"kubeadm join 192.168.1.10:6443 --token {TOKEN}     --discovery-token-ca-cert-hash {CA_HASH} \n",
    )
    result = run(kubeadm_join_info, capsys, token_ttl="15m")
    assert result["changed"]
    assert result["endpoint"] == "192.168.1.10:6443"
    assert result["token"] == TOKEN
    assert result["ca_cert_hash"] == CA_HASH
    assert "--ttl=15m" in node.log.read_text()


def test_join_info_without_a_token_runs_nothing(node: FakeNode, capsys: pytest.CaptureFixture[str]) -> None:
    node.control_plane()
    result = run(kubeadm_join_info, capsys, create_token=False)
    assert not result["changed"]
    assert (result["endpoint"], result["ca_cert_hash"]) == ("192.168.1.10:6443", CA_HASH)
    assert not node.log.exists()


def test_join_info_compares_the_hashes(node: FakeNode, capsys: pytest.CaptureFixture[str]) -> None:
    node.control_plane()
    node.program(
        "kubeadm", f"kubeadm join h:6443 --token {TOKEN} --discovery-token-ca-cert-hash {OTHER_HASH}\n"
    )
    result = run(kubeadm_join_info, capsys)
    assert CA_HASH in result["msg"]
    assert OTHER_HASH in result["msg"]
    assert TOKEN not in json.dumps(result)


def test_join_info_in_check_mode_makes_nothing(node: FakeNode, capsys: pytest.CaptureFixture[str]) -> None:
    node.control_plane()
    result = run(kubeadm_join_info, capsys, check=True, certificate_key=True)
    assert result["changed"]
    assert result["ca_cert_hash"] == CA_HASH
    assert "token" not in result
    assert not node.log.exists()


def test_join_info_on_a_node_that_is_no_control_plane(
    node: FakeNode, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "this node is not a control plane" in run(kubeadm_join_info, capsys)["msg"]
    assert run(kubeadm_join_info, capsys, check=True)["changed"]


def test_reset_in_check_mode_lists_what_it_would_remove(
    node: FakeNode, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    node.control_plane()
    node.write("/var/lib/etcd/member/snap/db", "x")
    node.write("/etc/cni/net.d/10-flannel.conflist", "{}")
    node.write("/etc/cni/net.d/10-other.conflist", "{}")
    monkeypatch.setattr(reset, "_CNI_CONFIGURATIONS", str(node.root / "etc/cni/net.d"))
    node.write("/var/log/pods/kube-system_etcd-pi-1_a/etcd/0.log", "x")
    directories = tuple(path for path in reset._DIRECTORIES if "/var/log/" in path)
    assert len(directories) == 2
    directories = (state.PKI, state.ETCD, *(f"{node.root}{path}" for path in directories))
    monkeypatch.setattr(reset, "_DIRECTORIES", directories)
    monkeypatch.setattr(reset, "_packet_filter", lambda node: ())
    monkeypatch.setattr(reset, "_links", lambda node: ())
    before = sorted(node.root.rglob("*"))
    result = run(kubeadm_reset, capsys, check=True, kubeconfigs=[])
    assert result["changed"]
    removed = [entry.replace(str(node.root), "") for entry in result["removed"]]
    assert removed == [
        "kubeadm's files and containers",
        "/etc/kubernetes/admin.conf",
        "/etc/cni/net.d/10-flannel.conflist",
        "/etc/kubernetes/pki/*",
        "/var/lib/etcd/*",
        "/var/log/pods/*",
    ]
    assert [path for path in sorted(node.root.rglob("*")) if path.name != "lock"] == before


CTR = """\
#!/bin/sh
case "$*" in
    *"containers list"*) cat '{containers}' ;;
    *"containers delete"*) : >'{containers}' ;;
esac
"""


def test_reset_finishes_one_that_was_killed_once_the_files_of_kubeadm_were_gone(
    node: FakeNode, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(containerd, "_REMOVED", str(node.root / "run/removed"))
    monkeypatch.setattr(reset, "_CNI_CONFIGURATIONS", str(node.root / "etc/cni/net.d"))
    monkeypatch.setattr(reset, "_DIRECTORIES", ())
    monkeypatch.setattr(reset, "_packet_filter", lambda node: ())
    monkeypatch.setattr(reset, "_links", lambda node: ())
    monkeypatch.setattr(Node, "has", lambda _self, program: program == "ctr")
    containers = node.root / "containers"
    containers.write_text("a1\n")
    node.program("systemctl", "")
    ctr = node.programs / "ctr"
    ctr.write_text(CTR.format(containers=containers))
    ctr.chmod(0o755)
    for check in (True, False):
        result = run(kubeadm_reset, capsys, check=check, kubeconfigs=[])
        assert result["removed"] == ["containers of pods in containerd"]
    assert containers.read_text() == ""
    assert "systemctl restart containerd" in node.log.read_text()
    assert not run(kubeadm_reset, capsys, kubeconfigs=[])["changed"]


def test_network_namespaces_in_which_something_lives_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Podman, with CNI, names those of its containers as containerd does."""
    (tmp_path / "cni-1").symlink_to("/proc/self/ns/net")
    (tmp_path / "cni-2").touch()
    monkeypatch.setattr(reset, "_NETWORK_NAMESPACES", f"{tmp_path}/cni-*")
    removals = [removal.what for removal in reset.network_namespaces(run=lambda command: (0, "", ""))]
    assert removals == ["network namespace cni-2"]
