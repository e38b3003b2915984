# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which version a node is given outside of an upgrade: never another one than its cluster runs.

==============================  ============================  ==========================================
the node                        kube_packages_version         what happens
==============================  ============================  ==========================================
in a cluster                    the minor, or the very patch  stays as it is
in a cluster                    newer                         refused, with the command that upgrades
in a cluster                    older                         refused, with the value to set
in a cluster, an older kubelet  any                           refused, with the command that goes on
in none; one runs               its minor                     the version that the cluster runs
in none; one runs               an older patch of its minor   that
in none; one runs               newer, or an older minor      refused, with the command or the value
in none; none runs, or unknown  any                           as asked for
==============================  ============================  ==========================================
"""

from __future__ import annotations

from collections.abc import Mapping

from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.compatibility import Version
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.packages import KubePackagesError

#: How one upgrades; messages have it as the remedy.
_UPGRADE = "ansible-playbook -i INVENTORY bramble.pi.upgrade -e kube_packages_version={version}"


def _minor(version: Version) -> str:
    return f"{version.major}.{version.minor}"


def _is_met(wish: Version, version: Version) -> bool:
    return wish == version or (wish.patch is None and wish.short == version.short)


def of_member(*, wish: Version, installed: Mapping[str, Version]) -> Version:
    """Return the version of a node that is in a cluster, which stays; refuse another one."""
    if not installed:
        return wish
    newest = max(installed.values())
    program = next(name for name, version in installed.items() if version == newest)
    # Programs that are older than the kubelet are renewed with nobody hurt.
    if installed.get("kubelet", newest) != newest:
        versions = ", ".join(f"{name} {version}" for name, version in installed.items())
        raise KubePackagesError(
            f"{versions} are installed, and the node is in a running cluster; expected one version: an "
            f"upgrade was interrupted, and goes on with {_UPGRADE.format(version=newest)}"
        )
    if _is_met(wish, newest):
        return newest
    if wish.short > newest.short or (wish.short == newest.short and wish > newest):
        raise KubePackagesError(
            f"{program} {newest} is installed, and the node is in a running cluster; expected {wish}, which "
            f"is an upgrade, node by node: run {_UPGRADE.format(version=wish)}; or set kube_packages_version "
            "to "
            f'"{_minor(newest)}"'
        )
    raise KubePackagesError(
        f"the cluster runs {newest}, and kube_packages_version is {wish}; expected what it runs, as there is "
        "no "
        f'downgrade: set kube_packages_version to "{_minor(newest)}"'
    )


def of_newcomer(*, wish: Version, cluster: Version | None) -> Version:
    """Return the version of a node that is in no cluster: at most what the one that it joins runs."""
    if cluster is None:
        return wish
    if wish.short == cluster.short:
        if wish.patch is None:
            return cluster
        if wish <= cluster:
            return wish
    elif wish.short < cluster.short:
        raise KubePackagesError(
            f"the cluster runs {cluster}, and kube_packages_version is {wish}; expected its minor, as "
            "another "
            f'kubeadm does not join it: set kube_packages_version to "{_minor(cluster)}"'
        )
    raise KubePackagesError(
        f"the cluster runs {cluster}, and kube_packages_version is {wish}; expected no newer node: run "
        f'{_UPGRADE.format(version=wish)} before; or set kube_packages_version to "{_minor(cluster)}"'
    )
