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
        (
            {
                "flash_image": "https://example.org/2025-12-04-raspios-trixie-arm64-lite.img.xz",
                "kube_packages_version": "1.35",
            },
            None,
        ),
        ({"kube_packages_version": "1.20.2"}, "pkgs.k8s.io has none before 1.24"),
        (
            {"docker_kubernetes_runtime": "dockershim"},
            "docker_kubernetes_runtime: runtime dockershim does not work with Kubernetes 1.36: use one of",
        ),
        (
            {"kube_packages_repository": "mirror.lan/k8s/"},
            "kube_packages_repository is 'mirror.lan/k8s/'; ex",
        ),
        (
            {"kube_packages_repository": ""},
            "kube_packages_repository is ''; expected a URL with a host",
        ),
        (
            {"kube_packages_repository": "http:///v{minor}/"},
            "is 'http:///v{minor}/'; expected a URL with a host",
        ),
        (
            {"kube_packages_repository": "http://[::1/"},
            "kube_packages_repository is 'http://[::1/'; expected a",
        ),
        (
            {"kube_packages_repository": "https//a:pw@mirror.lan/"},
            "is 'https//…@mirror.lan/'; expected a URL",
        ),
        (
            {"kube_packages_key": "release.asc"},
            "kube_packages_key is 'release.asc'; expected a URL with a host",
        ),
        (
            {"control_plane_advertise_address": "192.168.1"},
            "control_plane_advertise_address is '192.168.1', which",
        ),
        (
            {"control_plane_failure_detection": "fast"},
            "control_plane_failure_detection is 'fast'; expected default",
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
            "pi-2: kube_packages_version: the worker has 1.37, and the control plane 1.36: a worker may be",
        ),
        ({"kube_packages_version": "1.35.2"}, None),
        ({"kube_packages_version": "1.33"}, None),
        (
            {"kube_packages_version": "1.32.9"},
            "the worker has 1.32.9, and the control plane 1.36: a worker may be at most 3 minors older",
        ),
    ],
)
def test_variables_of_one_host(variables: dict[str, Any], text: str | None) -> None:
    check_row(variables, text, host="pi-2")


def test_several_control_planes() -> None:
    groups = {"control_plane": ["pi-1", "pi-2"], "workers": ["pi-3"]}
    problems, warnings = found(groups=groups)
    assert (
        "2 control planes and no control_plane_endpoint: set control_plane_vip in group_vars/all.yml"
        in problems[0]
    )
    assert "an even number" in warnings[0]
    problems, warnings = found({"control_plane_endpoint": "k8s.lan"}, groups=groups)
    assert problems == []
    assert found({"control_plane_endpoint": UNKNOWN}, groups=groups)[0] == []


TWICE = [{"name": "v", "value": "2"}, {"name": "v", "value": "4"}]
REFUSED_ARGUMENTS: list[tuple[Any, str]] = [
    ("v=2", "extraArgs is the text 'v=2'; expected a mapping of flag to value"),
    (True, "extraArgs is the boolean true; expected a mapping"),
    (["v=2"], "entry 1 of "),
    ([{"name": "v"}], "has name; expected name and value"),
    ([{"name": "v", "value": "2", "append": True}], "has name, value, append; expected name and value"),
    ({2: "v"}, "is the number 2; expected that of a flag"),
    ({"--v": "2"}, "extraArgs is '--v'; expected that of a flag without hyphens before it"),
    ({"v": None}, "extraArgs is null; expected text, a number, or true or false"),
    ({"v": ["2"]}, "extraArgs is a list; expected text"),
]


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
        ("1.36", {"controllerManager": {"extraArgs": "{{ later }}"}, "scheduler": None}, None),
        ("1.36", {"scheduler": {"extraArgs": {"v": "{{ later }}", "profiling": False}}}, None),
        # What the role would refuse, of every part.
        *(
            (version, parts, text)
            for arguments, text in REFUSED_ARGUMENTS
            for version in ("1.20", "1.28", "1.36", "1.99")
            for parts in (
                {"apiServer": {"extraArgs": arguments}},
                {"etcd": {"local": {"extraArgs": arguments}}},
            )
        ),
        ("1.30", {"apiServer": {"extraArgs": TWICE}}, "apiServer.extraArgs repeats v, which"),
        ("1.20", {"apiServer": {"extraArgs": TWICE}}, "kubeadm.k8s.io/v1beta2 cannot express"),
        ("1.31", {"apiServer": {"extraArgs": TWICE}}, None),
    ],
)
def test_flags_that_cannot_be(version: str, variables: dict[str, Any], text: str | None) -> None:
    setting = {"kube_packages_version": version, "control_plane_cluster_configuration": variables}
    if version in ("1.20", "1.99"):
        # The first is in another repository, the second is warned of.
        problems, _warnings = found({**setting, "kube_packages_repository": "https://mirror.lan/v1.20/deb/"})
        assert [text in each for each in problems if text] == ([True] if text else [])
    else:
        check_row(setting, text)


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
        {
            "docker_kubernetes_runtime": "cri_dockerd",
            "docker_cri_dockerd_url": "https://example.org/a.deb",
            "docker_cri_dockerd_sha256": 64 * "a",
        },
    ],
)
def test_what_lets_the_system_of_a_card_run_a_newer_kubernetes(variables: dict[str, Any]) -> None:
    check_row({"flash_image": BULLSEYE, **variables}, None)


TRIXIE = "https://example.org/2026-09-15-raspios-trixie-arm64-lite.img.xz"
NOBLE = "https://example.org/ubuntu-24.04.3-preinstalled-server-arm64+raspi.img.xz"
BY_DOCKER = {"docker_containerd_source": "docker"}


@pytest.mark.parametrize(
    ("image", "version", "variables", "warning", "text"),
    [
        (TRIXIE, "1.35", {}, None, None),
        (TRIXIE, "1.36", {}, "containerd 1.7 is tested by its makers with Kubernetes up to 1.35", None),
        (TRIXIE, "1.36", BY_DOCKER, None, None),
        (TRIXIE, "1.36", {"docker_containerd_source": "{{ later }}"}, None, None),
        (NOBLE, "1.37", {}, None, None),
        (
            TRIXIE,
            "1.38",
            {},
            "newer than 1.37",
            "Kubernetes 1.38 needs containerd 2.0 or newer, and this is 1.7",
        ),
        (TRIXIE, "1.38", BY_DOCKER, "newer than 1.37", None),
        (NOBLE, "1.38", {}, "newer than 1.37", None),
        (None, "1.38", {}, "newer than 1.37", None),
    ],
)
def test_the_containerd_that_a_kubernetes_needs(
    image: str | None, version: str, variables: dict[str, Any], warning: str | None, text: str | None
) -> None:
    setting = {"kube_packages_version": version, **({"flash_image": image} if image else {}), **variables}
    problems, warnings = found(setting)
    assert [text in each for each in problems if text] == ([True] if text else [])
    assert len(problems) == (text is not None)
    assert [warning in each for each in warnings if warning] == ([True] if warning else [])


OLD = {"kube_packages_repository": "https://mirror.lan/v{minor}/deb/"}


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        ({"kube_packages_version": "1.20", **OLD, **BY_DOCKER}, "is 'docker', and the runtime is dockershim"),
        ({"kube_packages_version": "1.20", **OLD}, None),
        (
            {
                **{"kube_packages_version": "1.22", "docker_kubernetes_runtime": "containerd"},
                **OLD,
                **BY_DOCKER,
            },
            "containerd 2.0 needs Kubernetes 1.23 or newer, and this is 1.22 (containerd 2.0 or newer"
            " comes with docker_containerd_source docker): set kube_packages_version to",
        ),
        ({"docker_containerd_source": "backports"}, "docker_containerd_source is 'backports'; expected"),
    ],
)
def test_sources_of_containerd_that_cannot_serve(variables: dict[str, Any], text: str | None) -> None:
    check_row(variables, text)


def test_the_head_needs_a_python_as_well_and_no_containerd() -> None:
    image = "https://example.org/ubuntu-20.04.5-preinstalled-server-arm64+raspi.img.xz"
    groups = {"nat_headnode": ["pi-0"], "control_plane": ["pi-1"], "workers": ["pi-2", "pi-3"]}
    for name, count in ((image, 1), (BULLSEYE, 0)):
        head = {"ansible_host": "192.168.1.100", "flash_image": name}
        problems, _warnings = found(hosts={"pi-0": head}, groups=groups)
        assert sum("flash_image is" in problem for problem in problems) == count


@pytest.mark.parametrize(
    ("versions", "text"),
    [
        (("1.36", "1.36", "1.36"), None),
        (("1.36", "1.35", "1.35"), None),
        (
            ("1.36", "1.34", "1.34"),
            "pi-1: kube_packages_version: this control plane has 1.36, and another one 1.34: ",
        ),
        (
            ("1.36", "1.35", "1.36"),
            "pi-3: kube_packages_version: the worker has 1.36, and the control plane 1.35",
        ),
        (
            ("1.37", "1.36", "1.33"),
            "the worker has 1.33, and the control plane 1.37: a worker may be at most 3 mi",
        ),
        (
            ("1.27", "1.27", "1.24"),
            "the worker has 1.24, and the control plane 1.27: a worker may be at most 2 mi",
        ),
        (("1.28", "1.28", "1.25"), None),
    ],
)
def test_how_far_versions_may_be_apart(versions: tuple[str, ...], text: str | None) -> None:
    problems, _warnings = found(
        {"control_plane_endpoint": "k8s.lan"},
        hosts={f"pi-{number}": {"kube_packages_version": one} for number, one in enumerate(versions, 1)},
        groups={"control_plane": ["pi-1", "pi-2"], "workers": ["pi-3"]},
    )
    assert len(problems) == (text is not None)
    assert text is None or text in problems[0]


@pytest.mark.parametrize(
    ("zones", "told"),
    [
        ({}, []),
        ({"pi-2": "a", "pi-3": "b"}, []),
        ({"pi-3": "b"}, ["workers_zone is empty for pi-2, and others have one"]),
    ],
)
def test_a_zone_for_each_worker_or_for_none(zones: dict[str, str], told: list[str]) -> None:
    groups = {"control_plane": ["pi-1"], "workers": ["pi-2", "pi-3"]}
    hosts = {
        host: {"workers_zone": zones[host]} if host in zones else {} for host in ("pi-1", "pi-2", "pi-3")
    }
    problems, warnings = found(hosts=hosts, groups=groups)
    assert problems == []
    assert len(warnings) == len(told)
    for text, warning in zip(told, warnings):
        assert text in warning
