# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which operating systems cannot become nodes, or not with a version of Kubernetes, and why."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.compatibility import (
    CONTAINERD_2_NEEDS_MINOR,
    CONTAINERD_NEEDED,
    OS_RELEASES,
    CompatibilityError,
    Minor,
    Version,
    containerd_problem,
    kubernetes_runtime,
)

#: First releases with Python 3.9, which modules of this collection need on a node.
_PYTHON = {"debian": "11", "raspbian": "11", "ubuntu": "21.04"}
#: Releases before those, by their names in those of images.
_OLD_CODENAMES = {
    "stretch": ("debian", "9"),
    "buster": ("debian", "10"),
    "xenial": ("ubuntu", "16.04"),
    "bionic": ("ubuntu", "18.04"),
    "focal": ("ubuntu", "20.04"),
    "groovy": ("ubuntu", "20.10"),
}
_CODENAMES = {
    **_OLD_CODENAMES,
    **{
        release.codename: (os_id, version)
        for os_id, releases in OS_RELEASES.items()
        for version, release in releases.items()
        if os_id != "raspbian"
    },
}
_UBUNTU_IMAGE = re.compile(r"ubuntu-([0-9]{2}\.[0-9]{2})")
_PACKAGES_OF_DOCKER = frozenset(("containerd.io", "docker-ce"))
_DOCKER = frozenset(("docker.io", "docker-ce"))


class Node(NamedTuple):
    """What is known of a node before something is installed on it."""

    os_id: str
    os_version: str
    #: What is installed, {package: dpkg's version}, as far as it is known.
    installed: Mapping[str, str] = {}
    #: docker_packages, if set.
    packages: Collection[str] = ()


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall("[0-9]+", version))


def os_of_image(image: str) -> tuple[str, str] | None:
    """Tell ID and VERSION_ID of the operating system by the name of an image, if it says so."""
    name = image.rsplit("/", maxsplit=1)[-1].lower()
    ubuntu = _UBUNTU_IMAGE.search(name)
    if ubuntu:
        return "ubuntu", ubuntu[1]
    words = re.split(r"[^a-z]+", name)
    return next((release for word, release in _CODENAMES.items() if word in words), None)


def too_old(*, os_id: str, os_version: str) -> str | None:
    """Say why a release cannot be a node, if so: it has a Python before 3.9."""
    first, version = _PYTHON.get(os_id), _numbers(os_version)
    # What has no number, as Debian's testing, is new.
    if first is None or not version or version >= _numbers(first):
        return None
    known = min(OS_RELEASES[os_id], key=_numbers)
    return f"{os_id} {os_version} has a Python before 3.9; expected {os_id} {known} or newer"


def runtime_problem(*, node: Node, version: Version, runtime: str) -> str | None:
    """Say why the containerd of a node cannot serve a version of Kubernetes, if so, and what can be set."""
    try:
        if kubernetes_runtime(version=version, runtime=runtime) != "containerd":
            return None
    except CompatibilityError:
        # That is told of elsewhere.
        return None
    installed = _installed(node)
    found = installed or _archive(node)
    problem = found and containerd_problem(version=version, containerd=found)
    if not found or not problem:
        return None
    origin = "is installed" if installed else f"comes with {node.os_id} {node.os_version}"
    remedy = _remedy(containerd=found, installed=installed is not None)
    return f"{problem} (containerd {found[0]}.{found[1]} {origin}): {remedy}"


def _remedy(*, containerd: Minor, installed: bool) -> str:
    beyond = [since for since, needed in CONTAINERD_NEEDED if containerd < needed]
    if not beyond:
        return (
            f'set kube_packages_version to "{CONTAINERD_2_NEEDS_MINOR[0]}.{CONTAINERD_2_NEEDS_MINOR[1]}" or '
            "newer, or docker_kubernetes_runtime to auto"
        )
    older = f'set kube_packages_version to "{beyond[0][0]}.{beyond[0][1] - 1}" or older, '
    packages = (
        "run apt-get install containerd.io" if installed else "docker_packages to [docker-ce, containerd.io]"
    )
    return f"{older}{packages} with Docker's own repository, or install a newer release"


def _installed(node: Node) -> Minor | None:
    """Return the containerd that is installed and stays."""
    if _PACKAGES_OF_DOCKER & set(node.packages) and not _DOCKER & set(node.installed):
        # The role docker installs these, as there is no Docker yet.
        return None
    text = node.installed.get("containerd") or node.installed.get("containerd.io") or ""
    found = re.match(r"(?:[0-9]+:)?([0-9]+)\.([0-9]+)", text)
    return (int(found[1]), int(found[2])) if found else None


def _archive(node: Node) -> Minor | None:
    """Return the containerd that will be installed from the system's own archive."""
    if _PACKAGES_OF_DOCKER & set(node.packages):
        return None
    release = OS_RELEASES.get(node.os_id, {}).get(node.os_version)
    return release.containerd if release else None
