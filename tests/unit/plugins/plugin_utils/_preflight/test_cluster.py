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
        (
            {"flash_image": "https://example.org/ubuntu-20.04.5-preinstalled-server-arm64+raspi.img.xz"},
            "ubuntu 20.04 has a Python before 3.9; expected ubuntu 22.04 or newer: set it in group_vars",
        ),
        (
            {"flash_image": "https://example.org/2023-05-03-raspios-bullseye-arm64-lite.img.xz"},
            "1.6 or newer, and this is 1.4 (containerd 1.4 comes with debian 11): set kube_packages_version",
        ),
        (
            {
                "flash_image": "https://example.org/2023-05-03-raspios-bullseye-arm64-lite.img.xz",
                "kube_packages_version": "1.25",
            },
            None,
        ),
        ({"flash_image": "https://example.org/2025-12-04-raspios-trixie-arm64-lite.img.xz"}, None),
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


@pytest.mark.parametrize(
    ("version", "variables", "text"),
    [
        (
            "1.27",
            {"controllerManager": {"extraArgs": {"pod-eviction-timeout": "30s"}}},
            "controllerManager.extraArgs has pod-eviction-timeout: kube-controller-manager has no flag"
            " pod-eviction-timeout since 1.27",
        ),
        ("1.26.3", {"controllerManager": {"extraArgs": {"pod-eviction-timeout": "30s"}}}, None),
        (
            "1.36",
            {"controllerManager": {"extraArgs": [{"name": "pod-eviction-timeout", "value": "30s"}]}},
            "use control_plane_failure_detection for it",
        ),
        (
            "1.36",
            {"apiServer": {"extraArgs": {"insecure-port": "0"}}},
            "kube-apiserver has no flag insecure-port",
        ),
        ("1.36", {"scheduler": {"extraArgs": {"v": "2", "port": 0}}}, "kube-scheduler has no flag port"),
        ("1.36", {"controllerManager": {"extraArgs": {"node-monitor-period": "2s"}}}, None),
        ("1.36", {"controllerManager": {"extraArgs": None}, "scheduler": "{{ later }}"}, None),
    ],
)
def test_flags_that_the_version_does_not_have(
    version: str, variables: dict[str, Any], text: str | None
) -> None:
    check_row({"kube_packages_version": version, "control_plane_cluster_configuration": variables}, text)


def test_flags_of_the_kubelet() -> None:
    setting = {"nodeRegistration": {"kubeletExtraArgs": {"container-runtime": "remote"}}}
    check_row(
        {"control_plane_init_configuration": setting}, "kubelet has no flag container-runtime since 1.27"
    )


BULLSEYE = "https://example.org/2023-05-03-raspios-bullseye-arm64-lite.img.xz"


@pytest.mark.parametrize(
    "variables",
    [
        {"docker_packages": ["docker-ce", "containerd.io"]},
        {"docker_packages": "{{ later }}"},
        {"docker_kubernetes_runtime": "{{ later }}"},
        {"docker_kubernetes_runtime": "cri_dockerd", "docker_cri_dockerd_url": "https://example.org/a.deb"},
    ],
)
def test_what_lets_the_system_of_a_card_run_a_newer_kubernetes(variables: dict[str, Any]) -> None:
    check_row({"flash_image": BULLSEYE, **variables}, None)


def test_the_head_needs_a_python_as_well_and_no_containerd() -> None:
    image = "https://example.org/ubuntu-20.04.5-preinstalled-server-arm64+raspi.img.xz"
    groups = {"nat_headnode": ["pi-0"], "control_plane": ["pi-1"], "workers": ["pi-2", "pi-3"]}
    for name, count in ((image, 1), (BULLSEYE, 0)):
        head = {"ansible_host": "192.168.1.100", "flash_image": name}
        problems, _warnings = found(hosts={"pi-0": head}, groups=groups)
        assert sum("flash_image is" in problem for problem in problems) == count
