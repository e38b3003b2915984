# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which nodes of a running cluster something is due on, and in which order they are worked on."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, TypedDict

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.plugin_utils._inventory import cluster

#: By what a module says that something is due which is done to one node at a time.
_DUE = ("reboot_required", "restart_required", "update_required")
#: By what one says so that has looked itself whether the node runs pods, or is cordoned by a killed run.
_DUE_IN_CLUSTER = ("drain_required", "in_maintenance")


class MaintenanceValueError(BrambleError):
    """A value of maintenance_serial that says no number of nodes."""


class Batch(TypedDict):
    """Nodes that are worked on at the same time, and those before and after them."""

    nodes: list[str]
    before: list[str]
    after: list[str]


def due(
    *, hostvars: Mapping[str, Mapping[str, Any]], hosts: Sequence[str], results: Sequence[str]
) -> list[str]:
    """Return those of a cluster that need something, or that a run which was killed has left cordoned."""
    return [host for host in hosts if _is_due(hostvars[host], results)]


def _is_due(variables: Mapping[str, Any], results: Sequence[str]) -> bool:
    found = [variables.get(name) or {} for name in results]
    if any(result.get(key) for result in found for key in _DUE_IN_CLUSTER):
        return True
    facts = cluster.kubernetes(variables)
    if facts.get("state") not in (cluster.WORKER, cluster.CONTROL_PLANE) or facts.get("unfinished"):
        return False
    needed = any(result.get(key) for result in found for key in _DUE)
    return bool(needed or facts.get("maintenance"))


def size(value: Any, *, of: int) -> int:
    """Return how many of some nodes ``maintenance_serial`` means: a number or a share, and at least one."""
    text = str(value).strip()
    found = re.fullmatch(r"(\d{1,4})(%?)", text)
    if isinstance(value, bool) or found is None or int(found[1]) == 0 or (found[2] and int(found[1]) > 100):
        raise MaintenanceValueError(
            f"maintenance_serial is {value!r}; expected how many workers at a time: a number such as 1, or a "
            "share of them such as 25%"
        )
    number = int(found[1])
    return max(1, of * number // 100) if found[2] else number


def batches(
    *,
    nodes: Sequence[str],
    groups: Mapping[str, Sequence[str]],
    serial: Any,
    marked: Collection[str] = (),
) -> list[Batch]:
    """Return who is worked on together: control planes one by one, then workers, some at a time.

    Those ``marked``, which a run that was killed has left out of use, come before all others, workers too:
    while one is away the others are refused, be it for etcd's majority, and its own turn is what repairs it.
    """
    number = size(serial, of=len(groups.get("workers", ())))
    together: list[list[str]] = []
    for first in (True, False):
        some = [node for node in nodes if (node in marked) is first]
        control_planes = [node for node in some if node in groups.get("control_plane", ())]
        together += [[node] for node in control_planes]
        together += _slices([node for node in some if node not in control_planes], number)
    return [
        {
            "nodes": some,
            "before": list(chain.from_iterable(together[:place])),
            "after": list(chain.from_iterable(together[place + 1 :])),
        }
        for place, some in enumerate(together)
    ]


def _slices(nodes: Sequence[str], number: int) -> Iterator[list[str]]:
    for begin in range(0, len(nodes), number):
        yield list(nodes[begin : begin + number])
