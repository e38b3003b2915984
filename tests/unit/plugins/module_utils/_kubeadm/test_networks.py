# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.networks import disagreements, read_networks

# As kubeadm 1.20 wrote it, shortened.
MANIFEST = """\
spec:
  containers:
  - command:
    - kube-controller-manager
    - --allocate-node-cidrs=true
    - --cluster-cidr=10.245.0.0/16
    - --cluster-name=kubernetes
    - --service-cluster-ip-range=10.96.0.0/12
"""
KUBECONFIG = """\
clusters:
- cluster:
    certificate-authority-data: LS0t
    server: https://10.89.99.11:6443
  name: kubernetes
"""
HAND_MADE = {
    "pod_cidr": "10.245.0.0/16",
    "service_cidr": "10.96.0.0/12",
    "api_server": "https://10.89.99.11:6443",
}


def test_read() -> None:
    assert read_networks(controller_manager_manifest=MANIFEST, admin_kubeconfig=KUBECONFIG) == HAND_MADE


def test_a_cluster_without_a_network_of_pods() -> None:
    manifest = MANIFEST.replace("    - --cluster-cidr=10.245.0.0/16\n", "")
    assert read_networks(controller_manager_manifest=manifest, admin_kubeconfig=None) == {
        "pod_cidr": "",
        "service_cidr": "10.96.0.0/12",
        "api_server": None,
    }


def test_a_worker_has_neither() -> None:
    assert set(read_networks(controller_manager_manifest=None, admin_kubeconfig=None).values()) == {None}


def compared(cluster: dict[str, Any], **expected: Any) -> list[str]:
    return list(
        disagreements(
            cluster,
            **{
                "pod_cidr": "10.245.0.0/16",
                "service_cidr": "10.96.0.0/12",
                "endpoint": "",
                "pod_network": "flannel",
                **expected,
            },
        )
    )


@pytest.mark.parametrize(
    ("cluster", "expected"),
    [
        ({}, {}),
        ({"pod_cidr": "10.245.7.1/16"}, {}),
        ({"pod_cidr": "fd00::/48,10.245.0.0/16"}, {"pod_cidr": "10.245.0.0/16, fd00:0::/48"}),
        ({"pod_cidr": ""}, {"pod_network": "none"}),
        ({"pod_cidr": None, "service_cidr": None, "api_server": None}, {}),
        ({"api_server": "https://rack.lan:6443"}, {"endpoint": "Rack.lan"}),
        ({"api_server": "https://rack.lan:8443"}, {"endpoint": "rack.lan:8443"}),
        ({"api_server": "https://[fd00::1]:6443"}, {"endpoint": "[fd00::1]:6443"}),
        # A template that could not be evaluated.
        ({"api_server": "https://rack.lan:6443"}, {"endpoint": None}),
        # It may be the control plane's own.
        ({"api_server": "https://10.89.99.20:6443"}, {}),
    ],
)
def test_what_agrees(cluster: dict[str, Any], expected: dict[str, Any]) -> None:
    assert compared({**HAND_MADE, **cluster}, **expected) == []


@pytest.mark.parametrize(
    ("cluster", "expected", "parts"),
    [
        (
            {},
            {"pod_cidr": "10.244.0.0/16"},
            [
                "is 10.245.0.0/16; expected 10.244.0.0/16: set control_plane_pod_cidr to 10.245.0.0/16",
                "reset",
            ],
        ),
        ({"pod_cidr": ""}, {}, ["without a network of the pods", "set pod_network_plugin to none", "reset"]),
        (
            {"service_cidr": "10.43.0.0/16"},
            {},
            ["10.43.0.0/16; expected 10.96.0.0/12: set control_plane_service_cidr to 10.43.0.0/16", "reset"],
        ),
        (
            {"api_server": "https://rack.lan:6443"},
            {},
            ["is reached at rack.lan:6443", "set control_plane_endpoint to rack.lan:6443", "reset"],
        ),
        (
            {},
            {"endpoint": "rack.lan"},
            ["expected control_plane_endpoint rack.lan:6443", "to an empty text", "reset"],
        ),
        (
            {"api_server": "https://rack.lan:6443"},
            {"endpoint": "rack.lan:8443"},
            ["is reached at rack.lan:6443", "set control_plane_endpoint to rack.lan:6443"],
        ),
        (
            {},
            {"endpoint": "192.168.1.10:6443", "vip": "192.168.1.10"},
            ["expected control_plane_vip 192.168.1.10:6443", "set control_plane_vip to an empty text, or"],
        ),
        (
            {"api_server": "https://rack.lan:6443"},
            {"endpoint": "192.168.1.10:6443", "vip": "192.168.1.10"},
            ["set control_plane_vip to an empty text and control_plane_endpoint to rack.lan:6443"],
        ),
        (
            {"api_server": "https://192.168.1.10:6443", "vip": "192.168.1.10"},
            {"vip": ""},
            ["is reached at 192.168.1.10:6443", "set control_plane_vip to 192.168.1.10, or begin again"],
        ),
    ],
)
def test_what_can_never_be_changed(
    cluster: dict[str, Any], expected: dict[str, str], parts: list[str]
) -> None:
    (problem,) = compared({**HAND_MADE, **cluster}, **expected)
    for part in parts:
        assert part in problem
