# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""By which host, and through what, a cluster is reached from outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.bramble.pi.plugins.plugin_utils._inventory import identity, rack_groups


class Ways(NamedTuple):
    """What a host does for those outside."""

    #: The control plane that signs certificates and gives rights.
    first: str
    #: Who is reached from outside: the head, or the control plane itself.
    door: str
    #: The address of the control plane in the rack.
    inside: str
    #: Whether this host sends on what comes to the API server's port.
    forwards: bool
    #: Whether it serves the API without a kubeconfig.
    proxies: bool
    #: Whether it lets in some networks alone.
    restricts: bool

    @property
    def filters(self) -> bool:
        """Whether it has rules for packets at all."""
        return self.forwards or self.proxies or self.restricts


def ways(
    *,
    hostvars: Mapping[str, Mapping[str, Any]],
    groups: Mapping[str, Sequence[str]],
    host: str,
    proxy: bool,
    networks: Sequence[str],
    play_hosts: Sequence[str] = (),
) -> Ways:
    """Return what a host of the rack does.

    Where the first control plane is left out of the run, as a dead one is, the next one takes its place.
    """
    control_planes = groups["control_plane"]
    first = next((host for host in control_planes if host in play_hosts), control_planes[0])
    door = [*rack_groups.read(groups).heads, first][0]
    return Ways(
        first=first,
        door=door,
        inside=identity.address(first, hostvars[first]),
        # A door that is itself a control plane listens there, and has nobody to forward to.
        forwards=host == door and host not in control_planes,
        proxies=host == first and proxy,
        restricts=host == door and len(networks) > 0,
    )
