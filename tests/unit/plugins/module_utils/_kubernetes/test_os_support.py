# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import os_support
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.compatibility import OS_RELEASES, Version

RASPIOS = "https://downloads.raspberrypi.com/raspios_lite_arm64/images"


@pytest.mark.parametrize(
    ("image", "release"),
    [
        (
            "https://cdimage.ubuntu.com/releases/20.04/release/ubuntu-20.04.5-preinstalled.img.xz",
            ("ubuntu", "20.04"),
        ),
        ("/srv/ubuntu-24.04.3-preinstalled-server-arm64+raspi.img.xz", ("ubuntu", "24.04")),
        (f"{RASPIOS}/x/2025-12-04-raspios-trixie-arm64-lite.img.xz", ("debian", "13")),
        (f"{RASPIOS}/x/2023-05-03-raspios-bullseye-arm64-lite.img.xz", ("debian", "11")),
        ("2020-05-27-raspios-buster-arm64.img.xz", ("debian", "10")),
        ("focal-preinstalled-server-arm64+raspi.img.xz", ("ubuntu", "20.04")),
        # A folder says nothing, nor does a part of a word.
        ("/srv/focal/mine.img", None),
        ("focalpoint.img", None),
        ("hypriotos-rpi-v1.12.3.img.zip", None),
    ],
)
def test_the_release_by_the_name_of_an_image(image: str, release: tuple[str, str] | None) -> None:
    assert os_support.os_of_image(image) == release


@pytest.mark.parametrize(
    ("release", "expected"),
    [
        (("ubuntu", "20.04"), "ubuntu 20.04 has a Python before 3.9; expected ubuntu 22.04 or newer"),
        (("ubuntu", "20.10"), "expected ubuntu 22.04 or newer"),
        # Out of support, but with a Python that will do.
        (("ubuntu", "21.10"), None),
        (("debian", "10"), "expected debian 11 or newer"),
        (("raspbian", "9"), "expected raspbian 11 or newer"),
        # Newer than what is known here, or without a number; and what others refuse.
        (("ubuntu", "28.04"), None),
        (("debian", ""), None),
        (("fedora", "43"), None),
        *(((os_id, version), None) for os_id, versions in OS_RELEASES.items() for version in versions),
    ],
)
def test_releases_that_are_too_old(release: tuple[str, str], expected: str | None) -> None:
    found = os_support.too_old(os_id=release[0], os_version=release[1])
    assert found == expected if expected is None else expected in str(found)


BULLSEYE = os_support.Node("debian", "11")
RELEASE = "https://x/v1/containerd-{}-linux-arm64.tar.gz"
FROM_DOCKER = ["docker-ce", "containerd.io"]
OLD = "1.4.13~ds1-1~deb11u4"


@pytest.mark.parametrize(
    ("node", "minor", "runtime", "expected"),
    [
        (BULLSEYE, 36, "auto", 'set kube_packages_version to "1.25" or older, or docker_containerd_source'),
        (
            BULLSEYE,
            36,
            "containerd",
            "needs containerd 1.6 or newer, and this is 1.4 (containerd 1.4 comes with debian 11)",
        ),
        (BULLSEYE, 25, "auto", None),
        (BULLSEYE, 20, "auto", None),
        (BULLSEYE, 36, "cri_dockerd", None),
        (BULLSEYE, 36, "dockershim", None),
        (BULLSEYE._replace(packages=FROM_DOCKER), 36, "auto", None),
        (BULLSEYE._replace(installed={"containerd.io": "1.7.28-1~debian.11~bullseye"}), 36, "auto", None),
        # The role docker installs nothing where there is Docker, and else what it is told.
        (
            BULLSEYE._replace(installed={"docker.io": "20.10.5", "containerd": OLD}, packages=FROM_DOCKER),
            36,
            "auto",
            '(containerd 1.4 is installed): set kube_packages_version to "1.25" or older, or docker_containe',
        ),
        (BULLSEYE._replace(installed={"containerd": OLD}, packages=FROM_DOCKER), 36, "auto", None),
        (BULLSEYE._replace(installed={"containerd": "unknown"}), 36, "auto", "comes with debian 11"),
        (os_support.Node("debian", "12"), 37, "auto", None),
        (os_support.Node("debian", "13"), 38, "auto", 'kube_packages_version to "1.37" or older'),
        (os_support.Node("ubuntu", "22.04"), 38, "auto", None),
        (
            os_support.Node("ubuntu", "26.04"),
            22,
            "containerd",
            "needs Kubernetes 1.23 or newer, and this is 1.22 (containerd 2.2 comes with ubuntu 26.04): "
            'set kube_packages_version to "1.23" or newer, or docker_kubernetes_runtime to auto',
        ),
        (os_support.Node("ubuntu", "28.04"), 36, "auto", None),
        (BULLSEYE._replace(source="docker"), 38, "auto", None),
        (
            BULLSEYE._replace(source="archive", url=RELEASE.format("2.3.1")),
            22,
            "containerd",
            '"1.23" or newer, or docker_kubernetes_runtime to auto, docker_containerd_source to os',
        ),
        (
            BULLSEYE._replace(source="archive", url=RELEASE.format("1.7.28")),
            38,
            "auto",
            "this is 1.7 (containerd 1.7 is docker_containerd_url): set kube_packages_version to "
            '"1.37" or older, or docker_containerd_source to docker, or docker_containerd_url to a newer '
            "release",
        ),
        (BULLSEYE._replace(source="archive", url=RELEASE.format("2.3.1")), 38, "auto", None),
        (BULLSEYE._replace(source="archive", url=RELEASE.format("2.4.0-rc.1")), 38, "auto", None),
        # By these nobody knows; the node tells.
        (BULLSEYE._replace(source="archive", url="http://mirror/containerd.tar.gz"), 38, "auto", None),
        (BULLSEYE._replace(source="archive"), 22, "containerd", None),
    ],
)
def test_a_kubernetes_that_a_containerd_cannot_serve(
    node: os_support.Node, minor: int, runtime: str, expected: str | None
) -> None:
    found = os_support.runtime_problem(node=node, version=Version(1, minor), runtime=runtime)
    assert found is None if expected is None else expected in str(found)


@pytest.mark.parametrize(
    ("node", "minor", "runtime", "tested"),
    [
        (os_support.Node("debian", "12"), 34, "auto", None),
        (os_support.Node("debian", "12"), 35, "auto", "1.34"),
        (os_support.Node("debian", "13"), 35, "auto", None),
        (os_support.Node("debian", "13"), 36, "auto", "1.35"),
        (os_support.Node("debian", "13"), 37, "auto", "1.35"),
        (os_support.Node("debian", "13", source="docker"), 37, "auto", None),
        (os_support.Node("debian", "13", source="archive", url=RELEASE.format("2.1.5")), 37, "auto", "1.35"),
        (os_support.Node("debian", "13", source="archive", url=RELEASE.format("2.3.1")), 37, "auto", None),
        (os_support.Node("debian", "13"), 37, "cri_dockerd", None),
        (os_support.Node("debian", "13", installed={"containerd": "2.1.9-1"}), 36, "auto", "1.35"),
        (os_support.Node("debian", "13", installed={"containerd.io": "2.2.1-1"}), 37, "auto", None),
        (os_support.Node("ubuntu", "24.04"), 37, "auto", None),
        (os_support.Node("ubuntu", "25.10"), 36, "auto", "1.35"),
        # That is refused.
        (os_support.Node("debian", "13"), 38, "auto", None),
        (os_support.Node("debian", "11"), 36, "auto", None),
    ],
)
def test_a_kubernetes_that_a_containerd_is_not_meant_for(
    node: os_support.Node, minor: int, runtime: str, tested: str | None
) -> None:
    found = os_support.runtime_warning(node=node, version=Version(1, minor), runtime=runtime)
    if tested is None:
        assert found is None
    else:
        assert f"with Kubernetes up to {tested}, and this is 1.{minor}" in str(found)
        assert f'kube_packages_version to "{tested}"' in str(found)
