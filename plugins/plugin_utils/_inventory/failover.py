# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which worker can be lost on purpose."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

_WHERE = "set failover_node"


def problems(*, node: str, method: str | None, groups: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Say why a worker cannot be lost, or not by this method, which is None if it is not known."""
    workers = groups.get("workers", ())
    if node not in workers or len(workers) < 2:
        yield (
            f"failover_node is {node!r}, and the workers are {', '.join(workers) or 'none'}; expected one of "
            f"two or more, so that its pods have somewhere to go: {_WHERE}"
        )
    elif method == "network" and node in groups.get("netboot", ()):
        yield (
            f"failover_node is {node!r}, which has its system on the network, and could not bring itself "
            f"back without; expected another worker: {_WHERE}, or failover_method to power or kubelet"
        )
