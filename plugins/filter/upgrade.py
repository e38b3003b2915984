# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters about the version that a cluster runs, and the one that it comes to. Documentation is beside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Callable

from ansible_collections.bramble.pi.plugins.plugin_utils._common.filters import filter_errors
from ansible_collections.bramble.pi.plugins.plugin_utils._inventory import cluster, hosts
from ansible_collections.bramble.pi.plugins.plugin_utils._upgrade import decision


@filter_errors()
def upgrade_plan(
    seen: Mapping[str, Any],
    hostvars: Mapping[str, Mapping[str, Any]],
    groups: Mapping[str, Sequence[str]],
    *,
    version: Any,
    results: str,
    kubelet: Mapping[str, Any] | None = None,
    repository: str = "kube_packages_repository",
    archives: bool = False,
    backup: bool = True,
    pod_network: str = "none",
) -> dict[str, Any]:
    """Plan an upgrade, and say what would stop it."""
    names = hosts.node_names(hostvars=hostvars, groups=groups)
    rack = decision.Rack(
        seen=seen,
        examined={host: hostvars[host].get(results) or {} for host in names},
        names=names,
        kubelet=kubelet or {},
        repository=repository,
        archives=archives,
        backup=backup,
        pod_network=pod_network,
    )
    return decision.decide(rack, wish=version)


def cluster_version(hostvars: Mapping[str, Mapping[str, Any]], groups: Mapping[str, Sequence[str]]) -> str:
    """Return what the cluster runs."""
    return cluster.running_version(hostvars=hostvars, groups=groups)


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name the filters."""
        return {"cluster_version": cluster_version, "upgrade_plan": upgrade_plan}
