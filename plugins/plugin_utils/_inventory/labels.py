# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The labels and taints that an inventory names for its nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import node_labels
from ansible_collections.bramble.pi.plugins.plugin_utils._inventory import hosts, rack_groups

#: Where the role control_plane keeps what the first one saw of all nodes.
_RESULT = "control_plane_initialised"
#: Where the roles keep that a host has joined since.
_JOINED = ("control_plane_joined", "workers_joined")


def _desired(variables: Mapping[str, Any], role: str) -> dict[str, Any]:
    zone = variables.get(f"{role}_zone")
    labels = {**({node_labels.ZONE: zone} if zone else {}), **(variables.get(f"{role}_labels") or {})}
    taints = variables.get(f"{role}_taints") or []
    node_labels.check_labels(labels)
    node_labels.check_taints(taints)
    return {"labels": labels, "taints": taints}


def _has_joined(variables: Mapping[str, Any]) -> bool:
    results = [variables.get(name, {}) for name in _JOINED]
    return any(result and not result.get("skipped") and not result.get("failed") for result in results)


def to_label(
    *,
    hostvars: Mapping[str, Mapping[str, Any]],
    groups: Mapping[str, Sequence[str]],
    play_hosts: Sequence[str],
) -> dict[str, dict[str, Any]]:
    """Return labels and taints of the nodes that differ, by the nodes' names.

    Where this run has not looked at the nodes, it is not known what they still have from the run before. One
    that was not there when it looked has nothing, and is left out unless it has joined since: with
    ``--tags control_plane`` there are no workers yet.
    """
    found = rack_groups.read(groups)
    names = hosts.node_names(hostvars=hostvars, groups=groups)
    seen = next(
        (
            nodes
            for host in found.control_planes
            if (nodes := hostvars[host].get(_RESULT, {}).get("nodes")) is not None
        ),
        None,
    )
    told = {}
    for host in found.nodes:
        if host not in play_hosts:
            continue
        name = names[host]
        if seen is not None and name not in seen and not _has_joined(hostvars[host]):
            continue
        desired = _desired(hostvars[host], "control_plane" if host in found.control_planes else "workers")
        if seen is None or node_labels.plan(
            name=name, seen=seen.get(name, {}), desired=node_labels.parse(desired)
        ):
            told[name] = desired
    return told
