# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packages of Kubernetes: which versions to install, and where from."""

from __future__ import annotations

import re

from ansible_collections.bramble.pi.plugins.module_utils._common.apt import Package
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.compatibility import Version

#: Taken from the repository in their newest version, where it has them: kubelet and kubeadm need them.
COMPANIONS = ("kubernetes-cni", "cri-tools")

_UPSTREAM_VERSION = re.compile(r"(?:\d+:)?(\d+)\.(\d+)\.(\d+)(~)?")
#: Places of Kubernetes' packages: what is wrong with naming them in another file.
_FOREIGN_SOURCES = {
    "apt.kubernetes.io": "that repository is gone, and apt-get update fails for it",
    "kubernetes-xenial": "that repository is gone, and apt-get update fails for it",
    "pkgs.k8s.io": "apt refuses to have one repository with two keys, and other minors would be offered",
}


class KubePackagesError(BrambleError):
    """A wish that cannot be fulfilled."""


def repository_url(*, template: str, wish: Version) -> str:
    """Put the minor into the address of the repository, or of its key."""
    return template.replace("{minor}", f"{wish.major}.{wish.minor}")


def foreign_sources(*, files: dict[str, str]) -> list[str]:
    """Name apt sources that get in the way: old guides' ones, and further ones of Kubernetes."""
    warnings = []
    for path, text in files.items():
        lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
        for address, reason in _FOREIGN_SOURCES.items():
            if any(address in line for line in lines):
                warnings.append(f"{path} names {address}: {reason}. Remove {path}")
                break
    return warnings


def read_madison(*, text: str) -> dict[str, list[str]]:
    """Read apt-cache madison: the versions of each package, newest first."""
    offered: dict[str, list[str]] = {}
    for line in text.splitlines():
        name, version, origin = (part.strip() for part in line.split("|"))
        versions = offered.setdefault(name, [])
        if origin.endswith("Packages") and version not in versions:
            versions.append(version)
    return offered


def upstream_version(text: str) -> Version | None:
    """Return the version of Kubernetes that a package has; None for a pre-release or another form."""
    match = _UPSTREAM_VERSION.match(text)
    if match is None or match.group(4):
        return None
    major, minor, patch = match.groups()[:3]
    return Version(int(major), int(minor), int(patch))


def target_version(
    *, wish: Version, installed: dict[str, Package], allow_downgrade: bool, upgrade: bool = False
) -> Version:
    """Decide for a version, or refuse; without a patch it is left to the repository.

    With ``upgrade`` the installed ones may be of an older minor.
    """
    present: dict[str, Version] = {}
    for name, package in installed.items():
        version = upstream_version(package.version)
        if version is None or (version.short != wish.short and not (upgrade and version < wish)):
            raise KubePackagesError(
                f"{name} {package.version} is installed; expected {wish}: another minor is an upgrade of the "
                "cluster (one minor at a time, the control plane first), which this role does not do. Set "
                "kube_packages_version to the minor that is installed; or, outside of clusters, run "
                f"apt-get purge --allow-change-held-packages {' '.join(installed)}"
            )
        present[name] = version
    if not present:
        return wish
    newest = max(present.values())
    if wish.patch is None and newest.short == wish.short:
        return newest
    if newest > wish and not allow_downgrade:
        name = next(name for name, version in present.items() if version == newest)
        raise KubePackagesError(
            f"{name} {installed[name].version} is installed; expected the older {wish}: set "
            f'kube_packages_version to "{newest}" or "{wish.major}.{wish.minor}", '
            "or kube_packages_allow_downgrade to true"
        )
    return wish


def packages_to_install(*, names: list[str], installed: dict[str, Package], target: Version) -> list[str]:
    """Name those that are missing, half-way or of another version."""
    return [
        name
        for name in names
        if name not in installed
        or installed[name].broken
        or upstream_version(installed[name].version) != target
    ]


def choose_versions(
    *, names: list[str], offered: dict[str, list[str]], target: Version, url: str
) -> dict[str, str]:
    """Choose from the repository one version of Kubernetes for all packages, in its newest revision."""
    by_package: dict[str, dict[Version, str]] = {}
    for name in names:
        by_package[name] = {}
        for text in offered.get(name, []):
            version = upstream_version(text)
            if version is not None and version.short == target.short:
                by_package[name].setdefault(version, text)
    common = set.intersection(*(set(versions) for versions in by_package.values()))
    if target.patch is None and common:
        target = max(common)
    if target not in common:
        have = ", ".join(str(version) for version in sorted(common, reverse=True)) or "none"
        raise KubePackagesError(
            f"{url} does not have Kubernetes {target} of {', '.join(names)}, but has of this minor: {have}. "
            "Set kube_packages_version, or kube_packages_repository to one that has it"
        )
    return {name: versions[target] for name, versions in by_package.items()}
