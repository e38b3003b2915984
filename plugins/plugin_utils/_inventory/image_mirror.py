# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which host mirrors registries for a rack, and where, from the inventory alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._containers.mirrors import Mirror
from ansible_collections.bramble.pi.plugins.module_utils._image_mirror import refusals


def image_mirror_host(*, hosts: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the host that mirrors registries; empty if there is none."""
    # Before a run has begun, as where its tags are listed, there are no variables.
    told = (str(values.get("image_mirror_host") or "") for values in hosts.values())
    return next(filter(None, told), "")


def mirrors(*, registries: Mapping[str, str], address: str, port: int) -> list[dict[str, str]]:
    """Return the mirrors, as modules take them: each registry has a port of its own, in their order."""
    return [
        dict(Mirror(registry, server, f"https://{address}:{port + number}")._asdict())
        for number, (registry, server) in enumerate(registries.items())
    ]


def problems(
    *, host: str, values: Mapping[str, Any], hosts: Mapping[str, Mapping[str, Any]]
) -> Iterator[str]:
    """Say what keeps a host from mirroring registries; values that are not known yet are None."""
    if host and host not in hosts:
        yield (
            f"image_mirror_host is {host!r}; expected a host of the inventory, or '' for no mirror: set"
            " image_mirror_host in group_vars/all.yml"
        )
    if host:
        yield from refusals.problems(values)
