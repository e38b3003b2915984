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
    CONTAINERD_TESTED,
    OS_RELEASES,
    CompatibilityError,
    Minor,
    Version,
    containerd_problem,
    containerd_warning,
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
#: As containerd's releases name their archives.
_RELEASE = re.compile(r"(?:.*/)?containerd-([0-9]+)\.([0-9]+)\.[0-9]+[^/]*-linux-[^/]+\.tar\.gz")
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
    #: docker_containerd_source.
    source: str = "os"
    #: docker_containerd_url.
    url: str = ""


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


class _Containerd(NamedTuple):
    """The containerd that a node will have."""

    minor: Minor
    installed: bool
    origin: str


def runtime_problem(*, node: Node, version: Version, runtime: str) -> str | None:
    """Say why the containerd of a node cannot serve a version of Kubernetes, if so, and what can be set."""
    found = _containerd(node, version=version, runtime=runtime)
    problem = found and containerd_problem(version=version, containerd=found.minor)
    if not found or not problem:
        return None
    return f"{problem} ({_named(found)}): {_remedy(found, source=node.source)}"


def runtime_warning(*, node: Node, version: Version, runtime: str) -> str | None:
    """Say so if the containerd of a node is not meant for a version of Kubernetes, and what can be set."""
    if node.source == "docker":
        # Which of containerd 2 that will be is not known here.
        return None
    found = _containerd(node, version=version, runtime=runtime)
    warning = found and containerd_warning(version=version, containerd=found.minor)
    if not found or not warning:
        return None
    tested = CONTAINERD_TESTED[found.minor]
    return (
        f"{warning} ({_named(found)}): set docker_containerd_source to docker, which brings containerd 2, or "
        f'kube_packages_version to "{tested[0]}.{tested[1]}"'
    )


def _named(found: _Containerd) -> str:
    return f"containerd {found.minor[0]}.{found.minor[1]} {found.origin}"


def _containerd(node: Node, *, version: Version, runtime: str) -> _Containerd | None:
    try:
        if kubernetes_runtime(version=version, runtime=runtime) != "containerd":
            return None
    except CompatibilityError:
        # That is told of elsewhere.
        return None
    if node.source == "docker":
        return _Containerd((2, 0), False, "or newer comes with docker_containerd_source docker")
    if node.source == "archive":
        release = _RELEASE.fullmatch(node.url)
        # By another name the node tells, once it has the archive.
        return release and _Containerd((int(release[1]), int(release[2])), False, "is docker_containerd_url")
    if node.source != "os":
        # Not known before the run, or none of them, which is told of elsewhere.
        return None
    installed = _installed(node)
    if installed:
        return _Containerd(installed, True, "is installed")
    archive = _archive(node)
    return archive and _Containerd(archive, False, f"comes with {node.os_id} {node.os_version}")


def _remedy(found: _Containerd, *, source: str) -> str:
    beyond = [since for since, needed in CONTAINERD_NEEDED if found.minor < needed]
    if not beyond:
        other = "" if source == "os" else ", docker_containerd_source to os"
        return (
            f'set kube_packages_version to "{CONTAINERD_2_NEEDS_MINOR[0]}.{CONTAINERD_2_NEEDS_MINOR[1]}" or '
            f"newer, or docker_kubernetes_runtime to auto{other}"
        )
    newer = "docker_containerd_url to a newer release" if source == "archive" else "install a newer release"
    return (
        f'set kube_packages_version to "{beyond[0][0]}.{beyond[0][1] - 1}" or older, or '
        f"docker_containerd_source to docker, or {newer}"
    )


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
