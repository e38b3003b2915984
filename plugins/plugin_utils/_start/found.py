# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the controller knows of itself: its routes, networks that are free, its time zone and country."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network
from typing import Any, NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._rack.discovery import MOST_ADDRESSES

#: Docker's own bridge, unless daemon.json says otherwise.
DOCKER_BRIDGE = IPv4Network("172.17.0.0/16")
_TIMEZONE = re.compile(r"/zoneinfo/(?:posix/|right/)?(.+)$")


class Routes(NamedTuple):
    """How the controller reaches others."""

    #: All networks that it has a route to.
    networks: tuple[IPv4Network, ...] = ()
    #: The one that its default gateway is in, if there is one.
    own: IPv4Network | None = None
    gateway: IPv4Address | None = None
    #: Its own addresses.
    addresses: tuple[IPv4Address, ...] = ()


def routes(*, ip_json: str) -> Routes:
    """Read the routes, from C(ip -json -4 route show)."""
    entries: list[dict[str, Any]] = json.loads(ip_json or "[]")
    linked = [(IPv4Network(entry["dst"]), entry) for entry in entries if entry.get("dst") != "default"]
    defaults = [entry for entry in entries if entry.get("dst") == "default" and "gateway" in entry]
    defaults.sort(key=lambda entry: entry.get("metric", 0))
    gateway = IPv4Address(defaults[0]["gateway"]) if defaults else None
    own = [network for network, entry in linked if "gateway" not in entry and gateway and gateway in network]
    return Routes(
        networks=tuple(network for network, _entry in linked),
        own=max(own, key=lambda network: network.prefixlen, default=None),
        gateway=gateway,
        addresses=tuple(IPv4Address(entry["prefsrc"]) for entry in entries if "prefsrc" in entry),
    )


def searched(network: IPv4Network | None) -> str:
    """Return the network if it is small enough to be searched, as a text; empty if not."""
    return str(network) if network is not None and network.num_addresses <= MOST_ADDRESSES else ""


def free_network(
    *, taken: Iterable[IPv4Network], prefix: int, first: Sequence[str] = ()
) -> IPv4Network | None:
    """Find a private network that overlaps none of the taken ones, preferably one of the first."""
    used = [*taken, DOCKER_BRIDGE]
    for block in [*first, "10.0.0.0/8", "192.168.0.0/16", "172.16.0.0/12"]:
        whole = IPv4Network(block)
        length = whole.prefixlen if block in first else max(prefix, whole.prefixlen)
        size, value = 1 << 32 - length, int(whole.network_address)
        while value < int(whole.broadcast_address):
            candidate = IPv4Network((value, length))
            taken_there = [other for other in used if candidate.overlaps(other)]
            if not taken_there:
                return candidate
            # On behind what is taken, at the next place where such a network can begin.
            end = max(int(other.broadcast_address) for other in [candidate, *taken_there])
            value = -(-(end + 1) // size) * size
    return None


def timezone(*, localtime: str, text: str) -> str:
    """Name the time zone, by where the link /etc/localtime leads or by the text of /etc/timezone."""
    match = _TIMEZONE.search(localtime)
    return match.group(1) if match else text.strip()


def country(*, zone: str, table: str) -> str:
    """Return the country of a time zone, by the table zone.tab; empty if it has none."""
    for line in table.splitlines():
        columns = line.split("\t")
        if not line.startswith("#") and len(columns) > 2 and columns[2] == zone:
            return columns[0]
    return ""
