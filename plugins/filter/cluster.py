# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of the roles that bring a cluster up: who is in it by now. The documentation of each is beside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Callable

from ansible_collections.bramble.pi.plugins.plugin_utils._common.filters import filter_errors
from ansible_collections.bramble.pi.plugins.plugin_utils._inventory import (
    cluster,
    failover,
    labels,
    maintenance,
)
from ansible_collections.bramble.pi.plugins.plugin_utils._inventory.hosts import node_warnings


def initial_control_plane(
    hostvars: Mapping[str, Mapping[str, Any]], groups: Mapping[str, Sequence[str]]
) -> str:
    """Name the host that begins the cluster."""
    return cluster.initial_control_plane(hostvars=hostvars, groups=groups)


def seen_control_plane(hostvars: Mapping[str, Mapping[str, Any]], groups: Mapping[str, Sequence[str]]) -> str:
    """Name a control plane that this run has seen to be in order."""
    return cluster.seen_control_plane(hostvars=hostvars, groups=groups)


def api_endpoint(endpoint: str | None, vip: str | None) -> str | None:
    """Say where the cluster is to be reached."""
    return cluster.api_endpoint(endpoint=endpoint, vip=vip)


def control_plane_addresses(
    hostvars: Mapping[str, Mapping[str, Any]], groups: Mapping[str, Sequence[str]]
) -> list[str]:
    """List the addresses of the control planes."""
    return cluster.control_plane_addresses(hostvars=hostvars, groups=groups)


def control_plane_answers(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Say which control plane answers."""
    return cluster.control_plane_answers(results)


def failover_problems(node: str, groups: Mapping[str, Sequence[str]], method: str) -> list[str]:
    """List why a worker cannot be lost."""
    return list(failover.problems(node=node, method=method, groups=groups))


def hosts_to_join(
    hostvars: Mapping[str, Mapping[str, Any]], hosts: Sequence[str], state: str = cluster.WORKER
) -> list[str]:
    """Name those that have yet to join."""
    return cluster.hosts_to_join(hostvars=hostvars, hosts=hosts, state=state)


def hosts_to_maintain(
    hostvars: Mapping[str, Mapping[str, Any]], hosts: Sequence[str], results: Sequence[str]
) -> list[str]:
    """Name those of a cluster on which something is due."""
    return maintenance.due(hostvars=hostvars, hosts=hosts, results=results)


@filter_errors()
def maintenance_batches(
    nodes: Sequence[str],
    groups: Mapping[str, Sequence[str]],
    serial: Any,
    marked: Sequence[str] = (),
) -> list[maintenance.Batch]:
    """Say which nodes are worked on at the same time."""
    return maintenance.batches(nodes=nodes, groups=groups, serial=serial, marked=marked)


def cluster_ca_cert_hash(hostvars: Mapping[str, Mapping[str, Any]], control_plane: str) -> str:
    """Return the hash of the cluster's authority."""
    return cluster.cluster_ca_cert_hash(hostvars=hostvars, control_plane=control_plane)


@filter_errors()
def nodes_to_label(
    hostvars: Mapping[str, Mapping[str, Any]], groups: Mapping[str, Sequence[str]], hosts: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Return labels and taints of the nodes that differ."""
    return labels.to_label(hostvars=hostvars, groups=groups, play_hosts=hosts)


def run_summary(
    hostvars: Mapping[str, Mapping[str, Any]],
    hosts: Sequence[str],
    remaining: Sequence[str],
    *,
    results: str,
    inventory: str,
    pod_network: str = "none",
) -> list[str]:
    """Say which hosts failed, or how to go on."""
    messages = {host: hostvars[host].get(results, {}).get("msg", "") for host in hosts}
    facts = {host: hostvars[host].get("ansible_facts", {}).get("bramble") for host in hosts}
    warnings = {
        host: node_warnings(facts=facts[host], pod_network=pod_network) for host in hosts if facts[host]
    }
    found = [hostvars[host].get("kube_packages_result", {}).get("newer") for host in hosts]
    return cluster.run_summary(
        messages=messages,
        remaining=remaining,
        inventory=inventory,
        warnings=warnings,
        newer=next((version for version in found if version), ""),
    )


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name the filters."""
        return {
            "api_endpoint": api_endpoint,
            "cluster_ca_cert_hash": cluster_ca_cert_hash,
            "control_plane_addresses": control_plane_addresses,
            "control_plane_answers": control_plane_answers,
            "failover_problems": failover_problems,
            "hosts_to_join": hosts_to_join,
            "hosts_to_maintain": hosts_to_maintain,
            "initial_control_plane": initial_control_plane,
            "maintenance_batches": maintenance_batches,
            "nodes_to_label": nodes_to_label,
            "run_summary": run_summary,
            "seen_control_plane": seen_control_plane,
        }
