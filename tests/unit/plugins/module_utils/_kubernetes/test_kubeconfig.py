# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import base64
from pathlib import Path

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import (
    kubeconfig as kubernetes_kubeconfig,
)
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.ca_hash import ca_cert_hash
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.kubeconfig import server_of
from hypothesis import given
from hypothesis import strategies as st

CERTIFICATES = Path(__file__).parents[3] / "fixtures" / "ca_cert"
OURS, THEIRS = ((CERTIFICATES / f"{name}.crt").read_text() for name in ("rsa", "ecdsa"))


def cluster(certificate: str, name: str = "kubernetes", server: str = "https://10.0.0.1:6443") -> str:
    data = base64.b64encode(certificate.encode()).decode()
    return f"- cluster:\n    certificate-authority-data: {data}\n    server: {server}\n  name: {name}\n"


def kubeconfig(*clusters: str) -> str:
    """Return a kubeconfig as kubeadm writes it."""
    return (
        "apiVersion: v1\nclusters:\n" + "".join(clusters) + "contexts:\n- context:\n    cluster: kubernetes\n"
        "    user: kubernetes-admin\n  name: kubernetes-admin@kubernetes\n"
        "current-context: kubernetes-admin@kubernetes\nkind: Config\npreferences: {}\nusers:\n"
        "- name: kubernetes-admin\n  user:\n    client-certificate-data: LS0t\n    client-key-data: LS0t\n"
    )


@pytest.mark.parametrize(
    ("text", "owner"),
    [
        (kubeconfig(cluster(OURS)), kubernetes_kubeconfig.Owner.OURS),
        (kubeconfig(cluster(OURS, server="https://elsewhere:6443")), kubernetes_kubeconfig.Owner.OURS),
        (kubeconfig(cluster(THEIRS)), kubernetes_kubeconfig.Owner.FOREIGN),
        (kubeconfig(cluster(THEIRS), cluster(OURS)), kubernetes_kubeconfig.Owner.SHARED),
        (
            kubeconfig(cluster(OURS), "- cluster:\n    server: http://localhost:8080\n  name: x\n"),
            kubernetes_kubeconfig.Owner.SHARED,
        ),
        ('{"clusters": []}', kubernetes_kubeconfig.Owner.FOREIGN),
        ("", kubernetes_kubeconfig.Owner.FOREIGN),
        (kubeconfig(cluster("no certificate")), kubernetes_kubeconfig.Owner.FOREIGN),
    ],
)
def test_owner(text: str, owner: kubernetes_kubeconfig.Owner) -> None:
    assert kubernetes_kubeconfig.owner(text=text, ca_hash=ca_cert_hash(OURS)) is owner


def test_ca_of_the_administrators_kubeconfig() -> None:
    assert kubernetes_kubeconfig.admin_ca_hash(kubeconfig(cluster(OURS))) == ca_cert_hash(OURS)


@pytest.mark.parametrize(
    "text", ["", kubeconfig(cluster(OURS), cluster(THEIRS)), kubeconfig(cluster("no certificate"))]
)
def test_not_the_kubeconfig_of_one_cluster(text: str) -> None:
    with pytest.raises(kubernetes_kubeconfig.KubeconfigError, match="expected exactly one"):
        kubernetes_kubeconfig.admin_ca_hash(text)


def test_server_is_put_in_and_nothing_else() -> None:
    before = kubeconfig(cluster(OURS))
    after = kubernetes_kubeconfig.with_server(text=before, server="https://rack.example.org:6443")
    assert after == kubeconfig(cluster(OURS, server="https://rack.example.org:6443"))


def test_server_of_several_clusters_is_not_guessed() -> None:
    with pytest.raises(kubernetes_kubeconfig.KubeconfigError, match="2 servers; expected exactly one"):
        kubernetes_kubeconfig.with_server(text=kubeconfig(cluster(OURS), cluster(THEIRS)), server="https://x")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ((CERTIFICATES.parent / "node_facts" / "kubelet.conf").read_text(), "https://192.168.1.11:6443"),
        ('    server: "https://[fd00::11]:6443"\n', "https://[fd00::11]:6443"),
        ("", None),
    ],
)
def test_server_of(text: str, expected: str | None) -> None:
    assert server_of(text) == expected


@given(st.text())
def test_server_of_any_text(text: str) -> None:
    server_of(text)
