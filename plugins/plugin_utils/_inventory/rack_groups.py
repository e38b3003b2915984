# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which hosts of the inventory are what in the rack, by its groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class RackGroups(NamedTuple):
    """The hosts of a rack by what they are; each stands once in a list."""

    #: All of the inventory, also those that are nothing of the rack.
    hosts: list[str]
    control_planes: list[str]
    workers: list[str]
    #: Control planes and workers.
    nodes: list[str]
    #: The default gateway of the others; one at most, as preflight checks.
    heads: list[str]
    #: Who serves DHCP, DNS and time: those of rack_services if it is there, be it empty, else the head.
    servers: list[str]
    #: The heads and the nodes.
    members: list[str]


def read(groups: Mapping[str, Sequence[str]]) -> RackGroups:
    """Read the groups of the inventory."""
    control_planes, workers, heads = (
        list(groups.get(group, ())) for group in ("control_plane", "workers", "nat_headnode")
    )
    nodes = list(dict.fromkeys(control_planes + workers))
    return RackGroups(
        hosts=list(groups.get("all", ())),
        control_planes=control_planes,
        workers=workers,
        nodes=nodes,
        heads=heads,
        servers=list(groups.get("rack_services", heads)),
        members=list(dict.fromkeys(heads + nodes)),
    )


def way_in(groups: Mapping[str, Sequence[str]], host: str) -> str:
    """Return the host through which another one is reached; empty if it is reached directly."""
    return next((head for head in read(groups).heads if head != host), "")
