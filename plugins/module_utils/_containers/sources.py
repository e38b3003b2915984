# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where containerd comes from: what that takes on a node, and what keeps it from coming from there."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping

from ansible_collections.bramble.pi.plugins.module_utils._common.apt import Package

#: What is there, or the distribution's package; Docker's repository; containerd's own release.
OS, DOCKER, ARCHIVE = SOURCES = ("os", "docker", "archive")

#: Docker's own packages. containerd.io takes the place of the distribution's containerd and runc, on which
#: docker.io depends, so that Docker comes from there as well.
#: https://docs.docker.com/engine/install/debian/
DOCKERS_OWN = ("containerd.io", "docker-ce", "docker-ce-cli")
#: What goes then: it is of the distribution, and its data stays where it is.
_REPLACED = frozenset(
    (
        *("containerd", "docker-buildx", "docker-cli", "docker-compose", "docker-doc", "docker.io"),
        *("podman-docker", "runc", "tini"),
    )
)
#: Asked of dpkg; what is held is not taken away without a word.
PACKAGES = ("containerd", "runc", "docker.io", *DOCKERS_OWN, "kubernetes-cni")

#: Of the release archives, as an inventory names them.
CONTAINERD, RUNC, CNI_PLUGINS = PARTS = ("containerd", "runc", "cni_plugins")
#: Without these there is no containerd.
NEEDED_PARTS = (CONTAINERD, RUNC)

_REMOVED = re.compile(r"^(?:Remv|Purg) (\S+)", re.MULTILINE)
_VERSION = re.compile(r"(?:\d+:)?(\d+)\.")
_REPORTED = re.compile(r"containerd\S* \S+ v?(\d+)\.(\d+)\.(\d+)")


def repository_url(*, template: str, distribution: str) -> str:
    """Put ID of /etc/os-release, such as debian, into the address of Docker's repository, or of its key."""
    return template.replace("{distribution}", distribution)


def is_second_generation(version: str) -> bool:
    """Tell whether a version of a package of containerd is 2.0 or newer."""
    found = _VERSION.match(version)
    return found is not None and int(found[1]) >= 2


def missing_packages(*, installed: Mapping[str, Package]) -> list[str]:
    """Return those of Docker's packages that are to be installed, as they are not there or too old."""
    missing = [name for name in DOCKERS_OWN if name not in installed or installed[name].broken]
    containerd = installed.get("containerd.io")
    if containerd and "containerd.io" not in missing and not is_second_generation(containerd.version):
        missing.append("containerd.io")
    return missing


def in_the_way(*, simulated: str) -> list[str]:
    """Return what apt-get --simulate would remove beyond what Docker's packages replace."""
    return [name for name in _REMOVED.findall(simulated) if name not in _REPLACED]


def parse_receipt(text: str | None) -> dict[str, str]:
    """Read which archives a node has, {part: sha256}; what is cut off says nothing."""
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return {str(part): str(digest) for part, digest in found.items()} if isinstance(found, dict) else {}


def due_parts(
    *, archives: Mapping[str, Mapping[str, str]], receipt: Mapping[str, str], installed: Collection[str]
) -> list[str]:
    """Return which archives are to be unpacked. The package kubernetes-cni has the same plugins."""
    return [
        part
        for part in PARTS
        if archives.get(part, {}).get("url")
        and receipt.get(part) != archives[part]["sha256"].lower()
        and not (part == CNI_PLUGINS and "kubernetes-cni" in installed)
    ]


def reported_version(text: str) -> tuple[int, int, int] | None:
    """Read what containerd --version says."""
    found = _REPORTED.search(text)
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


def version_problem(
    *,
    new: tuple[int, int, int],
    there: tuple[int, int, int] | None,
    unfit: Callable[[tuple[int, int]], str | None] | None,
) -> str | None:
    """Say why the containerd of an archive is not to take the place of the one that is there, if so."""
    problem = unfit(new[:2]) if unfit else None
    if problem:
        return f"{problem}, by docker_containerd_url; expected one that serves it"
    if there and new < there:
        new_text, there_text = (".".join(map(str, version)) for version in (new, there))
        return (
            f"the containerd of docker_containerd_url is {new_text}, and {there_text} is installed; expected "
            "that one or newer, as an older containerd may not read the data of a newer one"
        )
    return None


def source_problem(*, source: str, runtime: str) -> str | None:
    """Say why a source cannot serve a runtime of kubelet, if so."""
    if source == OS or runtime != "dockershim":
        return None
    return (
        f"docker_containerd_source is {source!r}, and the runtime is dockershim, whose Docker API today's "
        "Docker does not serve any more; expected os: set docker_containerd_source to os, or "
        "docker_kubernetes_runtime to containerd"
    )


def source_warning(*, source: str, runtime: str) -> str | None:
    """Say what a runtime of kubelet needs to work with what a source brings, if that is not known here."""
    if source != DOCKER or runtime != "cri_dockerd":
        return None
    # https://docs.docker.com/engine/release-notes/29/; cri-dockerd then ends with "client version 1.43 is too
    # old": https://github.com/docker/for-win/issues/14997
    return (
        "docker_containerd_source is 'docker', and the runtime is cri_dockerd: Docker 29 serves its API from "
        "1.44 on, and a cri-dockerd that asks for an older one does not start ('client version 1.43 is too "
        "old'): set docker_cri_dockerd_url to a release made for Docker 29"
    )


def problems(
    *,
    source: str,
    runtime: str,
    installed: Mapping[str, Package],
    receipt: Mapping[str, str],
    archives: Mapping[str, Mapping[str, str]],
    remedy: str,
) -> Iterator[str]:
    """Say why a node cannot get its containerd from there, all of it before anything is touched.

    ``remedy`` removes what the archives brought.
    """
    problem = source_problem(source=source, runtime=runtime)
    if problem:
        yield problem
    if source != ARCHIVE and receipt:
        yield (
            f"containerd runs from a release archive, and docker_containerd_source is {source!r}; expected "
            "archive, as an older containerd may not read the data of a newer one: set "
            f"docker_containerd_source to archive, or reset the node and run there: {remedy}"
        )
    if source == DOCKER and missing_packages(installed=installed):
        held = [name for name in PACKAGES if name in installed and installed[name].held]
        held = [name for name in held if name != "kubernetes-cni"]
        if held:
            yield (
                f"{', '.join(held)} {'is' if len(held) == 1 else 'are'} held, and Docker's packages take "
                f"{'its' if len(held) == 1 else 'their'} place; expected no hold: run apt-mark unhold "
                f"{' '.join(held)}, or set docker_containerd_source to os"
            )
    for part in NEEDED_PARTS if source == ARCHIVE else ():
        archive = archives.get(part) or {}
        for key in ("url", "sha256"):
            if not archive.get(key):
                name = f"docker_{part}_{key}"
                yield f"docker_containerd_source is 'archive', and {name} is empty; expected one: set {name}"
