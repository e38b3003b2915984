# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who watches a rack, and whom it asks, from the inventory alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._monitoring import refusals
from ansible_collections.bramble.pi.plugins.plugin_utils._inventory import identity, rack_groups

Hosts = Mapping[str, Mapping[str, Any]]
Groups = Mapping[str, Sequence[str]]


def monitoring_host(*, hosts: Hosts, groups: Groups) -> str:
    """Return the host that watches the others: the one that is set, else the head, else a control plane."""
    found = rack_groups.read(groups)
    # Before a run has begun, as where its tags are listed, there are no variables.
    told = (str(hosts.get(host, {}).get("monitoring_host") or "") for host in found.members)
    return next((name for name in [*told, *found.heads, *found.control_planes] if name), "")


def targets(*, hosts: Hosts, groups: Groups) -> list[dict[str, Any]]:
    """Return the hosts that are asked, as the module monitoring_server takes them."""
    found = rack_groups.read(groups)
    return [
        {
            "name": host,
            "address": identity.address(host, hosts[host]),
            "control_plane": host in found.control_planes,
            "worker": host in found.workers,
        }
        for host in found.members
    ]


def problems(*, host: str, values: Mapping[str, Any], hosts: Hosts) -> Iterator[str]:
    """Say what keeps a rack from being watched; values that are not known yet are None."""
    if host not in hosts:
        yield (
            f"monitoring_host is {host!r}; expected a host of the inventory: set monitoring_host in"
            " group_vars/all.yml"
        )
    yield from refusals.problems(values)
