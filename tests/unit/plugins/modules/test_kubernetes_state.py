# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All modules that ask which state a node's Kubernetes is in get one answer, whatever files are there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._network import static_address
from ansible_collections.bramble.pi.plugins.modules import (
    kubeadm_init,
    kubeadm_join,
    node_facts,
    node_network,
)

from tests.unit.kubeadm_node import ADMIN_CONF, CA, CA_HASH, FakeNode, run

CA_FILES = {"etc/kubernetes/pki/ca.crt": CA, "etc/kubernetes/pki/ca.key": "x"}
KUBELET = {"etc/kubernetes/kubelet.conf": ADMIN_CONF}
MANIFESTS = {
    f"etc/kubernetes/manifests/{name}.yaml": "x"
    for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd")
}
CONTROL_PLANE = {
    **CA_FILES,
    **KUBELET,
    **MANIFESTS,
    **{f"etc/kubernetes/{name}.conf": ADMIN_CONF for name in ("admin", "controller-manager", "scheduler")},
}
STATES: dict[str, tuple[dict[str, str], str]] = {
    "nothing": ({}, "absent"),
    "your own CA": (CA_FILES, "absent"),
    "your own CA and a static pod": ({**CA_FILES, "etc/kubernetes/manifests/kube-vip.yaml": "x"}, "absent"),
    "what packages and the role leave": ({"etc/kubernetes/manifests/.kubelet-keep": ""}, "absent"),
    "a file that a power cut left empty": ({"etc/kubernetes/kubelet.conf": ""}, "absent"),
    "a join that was interrupted": ({"etc/kubernetes/bootstrap-kubelet.conf": "x"}, "partial"),
    "an init that was interrupted": ({**CA_FILES, "etc/kubernetes/admin.conf": ADMIN_CONF}, "partial"),
    "data of etcd": ({"var/lib/etcd/member/wal": "x"}, "partial"),
    "a worker": ({**KUBELET, "etc/kubernetes/pki/ca.crt": CA}, "worker"),
    "a control plane": (CONTROL_PLANE, "control_plane"),
}


@pytest.mark.parametrize("name", STATES)
def test_one_answer(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files, expected = STATES[name]
    node = FakeNode(tmp_path, monkeypatch)
    for path, text in files.items():
        node.write(f"/{path}", text)

    told: dict[str, Any] = {}

    def make_plan(**options: Any) -> None:
        told.update(options)
        raise BrambleError("enough")

    monkeypatch.setattr(static_address, "make_plan", make_plan)
    run(node_network, capsys, check=True, address="192.168.1.10/24", gateway="192.168.1.1")
    facts = run(node_facts, capsys)["ansible_facts"]["bramble"]
    assert (told["kubernetes"], facts["kubernetes"]["state"]) == (expected, expected)
    # What kubeadm would do on a node without it, it does where there is none.
    for module, options in ((kubeadm_init, {}), (kubeadm_join, {"ca_cert_hash": CA_HASH})):
        if expected == "absent":
            assert run(module, capsys, check=True, **options)["state"] == "absent"
