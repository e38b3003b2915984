# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.plugin_utils._preflight.rack import UNKNOWN

from tests.unit.preflight_rack import check_row, found


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        (
            {"kube_packages_version": 1.3},
            "all nodes: kube_packages_version: Kubernetes version 1.3 is not a string",
        ),
        ({"kube_packages_version": "v1.36"}, "without a leading v; set it in group_vars/all.yml"),
        ({"kube_packages_version": "1.20.2"}, "pkgs.k8s.io has none before 1.24"),
        (
            {"docker_kubernetes_runtime": "dockershim"},
            "docker_kubernetes_runtime: runtime dockershim does not go with Kubernetes 1.36: use one of auto",
        ),
        (
            {"control_plane_endpoint": "https://k8s.lan:6443"},
            "control_plane_endpoint is 'https://k8s.lan:6443'",
        ),
        ({"control_plane_endpoint": "k8s.lan:64430"}, None),
        ({"control_plane_endpoint": "k8s.lan:65536"}, "control_plane_endpoint is 'k8s.lan:65536'"),
        ({"control_plane_endpoint": "k8s_lan"}, "control_plane_endpoint is 'k8s_lan'"),
        (
            {"control_plane_advertise_address": "192.168.1"},
            "control_plane_advertise_address is '192.168.1', which",
        ),
        (
            {"control_plane_failure_detection": "fast"},
            "control_plane_failure_detection is 'fast'; wanted is default",
        ),
    ],
)
def test_variables_of_all_hosts(variables: dict[str, Any], text: str | None) -> None:
    check_row(variables, text)


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        (
            {"kube_packages_version": "1.37"},
            "pi-2: kube_packages_version is '1.37', and '1.36' on the control plane",
        ),
        ({"kube_packages_version": "1.35.2"}, None),
    ],
)
def test_variables_of_one_host(variables: dict[str, Any], text: str | None) -> None:
    check_row(variables, text, host="pi-2")


def test_several_control_planes() -> None:
    groups = {"control_plane": ["pi-1", "pi-2"], "workers": ["pi-3"]}
    problems, warnings = found(groups=groups)
    assert "2 control planes and no control_plane_endpoint: set it in group_vars/all.yml" in problems[0]
    assert "an even number" in warnings[0]
    problems, warnings = found({"control_plane_endpoint": "k8s.lan"}, groups=groups)
    assert problems == []
    assert found({"control_plane_endpoint": UNKNOWN}, groups=groups)[0] == []


def test_a_newer_kubernetes_than_known_is_a_warning() -> None:
    problems, warnings = found({"kube_packages_version": "1.99"})
    assert problems == []
    assert "Kubernetes 1.99 is newer" in warnings[0]
