# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading of kubeadm's files, below a folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import node_files, state

KUBECONFIG = "    server: https://192.168.1.10:6443\n    client-certificate: {}\n"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("CA_CERTIFICATE", "KUBELET_KUBECONFIG", "ADMIN_KUBECONFIG", "APISERVER_MANIFEST"):
        monkeypatch.setattr(state, name, str(tmp_path / Path(getattr(state, name)).name))
    monkeypatch.setattr(state, "KUBERNETES_FILES", frozenset({state.KUBELET_KUBECONFIG}))
    return tmp_path


def test_the_state_by_what_is_there(root: Path) -> None:
    assert node_files.kubernetes_state() == "absent"
    (root / "ca.crt").write_text("a CA of the user's own")
    assert node_files.kubernetes_state() == "absent"
    # As a power cut leaves it.
    (root / "kubelet.conf").write_text("")
    assert node_files.kubernetes_state() == "absent"
    (root / "kubelet.conf").write_text(KUBECONFIG)
    assert node_files.kubernetes_state() == "worker"


def test_a_kubelet_is_complete_with_its_certificate(root: Path) -> None:
    pem = root / "kubelet-client-current.pem"
    assert not node_files.kubelet_complete()
    (root / "kubelet.conf").write_text(KUBECONFIG.format(pem))
    assert not node_files.kubelet_complete()
    pem.write_text("-----BEGIN CERTIFICATE-----\n-----BEGIN EC PRIVATE KEY-----\n")
    assert node_files.kubelet_complete()
    (root / "kubelet.conf").write_text(KUBECONFIG.format(pem).replace("server", "elsewhere"))
    assert not node_files.kubelet_complete()


def test_the_server_is_that_of_the_administrator_first(root: Path) -> None:
    assert node_files.server() is None
    (root / "kubelet.conf").write_text(KUBECONFIG)
    assert node_files.server() == "https://192.168.1.10:6443"
    (root / "admin.conf").write_text("    server: https://rack:6443\n")
    assert node_files.server() == "https://rack:6443"


def test_an_etcd_elsewhere_is_told_by_the_manifest(root: Path) -> None:
    assert not node_files.external_etcd()
    (root / "kube-apiserver.yaml").write_text("    - --etcd-servers=https://10.0.0.5:2379\n")
    assert node_files.external_etcd()
