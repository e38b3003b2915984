# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest

from tests.unit.preflight_rack import check_row

ARCHIVE = {
    "docker_containerd_source": "archive",
    "docker_containerd_url": "http://mirror.lan/containerd.tar.gz",
    "docker_containerd_sha256": "a0" * 32,
    "docker_runc_url": "http://mirror.lan/runc.arm64",
    "docker_runc_sha256": "b0" * 32,
}


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        ({"kube_packages_repository": "HTTP://mirror.lan/v{minor}/"}, None),
        (
            {"pod_network_flannel_url": "flannel.yml"},
            "pod_network_flannel_url is 'flannel.yml'; expected the URL",
        ),
        ({"pod_network_flannel_url": "flannel.yml", "pod_network_plugin": "routed"}, None),
        ({"pod_network_flannel_url": "file:///srv/kube-flannel.yml"}, None),
        (
            {"pod_network_flannel_sha256": "1c06"},
            "pod_network_flannel_sha256 is '1c06'; expected the 64 digits th",
        ),
        (
            {"live_view_port": 0},
            "all nodes: live_view_port is 0; expected a port from 1 to 65535: set live_view_port",
        ),
        ({"image_cache_port": 65536}, "image_cache_port is 65536; expected a port from 1 to 65535"),
        ({"verify_port": "8080"}, None),
    ],
)
def test_variables_of_all_hosts(variables: dict[str, Any], text: str | None) -> None:
    check_row(variables, text)


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        (
            {"docker_kubernetes_runtime": "cri_dockerd", "docker_cri_dockerd_sha256": "a" * 64},
            "pi-2: docker_kubernetes_runtime is 'cri_dockerd', and docker_cri_dockerd_url is ''; expected",
        ),
        (
            {"docker_kubernetes_runtime": "cri_dockerd", "docker_cri_dockerd_url": "http://mirror.lan/c.deb"},
            "and docker_cri_dockerd_sha256 is ''; expected the package's sha256, 64 hexadecimal digits: set",
        ),
        (
            {
                "docker_kubernetes_runtime": "cri_dockerd",
                "docker_cri_dockerd_url": "http://mirror.lan/c.deb",
                "docker_cri_dockerd_sha256": "A0" * 32,
            },
            None,
        ),
        (
            {"docker_repository": "mirror.lan"},
            "docker_repository is 'mirror.lan'; expected a URL with a host",
        ),
        ({"docker_containerd_source": "docker"}, None),
        (ARCHIVE, None),
        (
            {**ARCHIVE, "docker_runc_url": ""},
            "docker_containerd_source is 'archive', and docker_runc_url is ''",
        ),
        (
            {**ARCHIVE, "docker_containerd_sha256": "12"},
            "docker_containerd_sha256 is '12'; expected the archive's",
        ),
        (
            {**ARCHIVE, "docker_cni_plugins_url": "http://mirror.lan/cni.tgz"},
            "docker_cni_plugins_sha256 is ''; expected the archive's sha256",
        ),
        ({**ARCHIVE, "docker_containerd_source": "os", "docker_runc_sha256": "x"}, None),
    ],
)
def test_variables_of_one_host(variables: dict[str, Any], text: str | None) -> None:
    check_row(variables, text, host="pi-2")
