# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose addresses are already, as far as the inventory tells."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from ansible_collections.bramble.pi.plugins.module_utils._rack.services import RackServicesError, parse_range
from ansible_collections.bramble.pi.plugins.plugin_utils._inventory.addresses import parse_network
from ansible_collections.bramble.pi.plugins.plugin_utils._preflight.rack import Rack
from ansible_collections.bramble.pi.plugins.plugin_utils._preflight.rack_network import read_leases

_Address = ipaddress.IPv4Address


def owners(rack: Rack, first: _Address, last: _Address) -> Iterator[str]:
    """Say whose the addresses from the first to the last are already, as far as the inventory tells."""

    def within(text: str) -> bool:
        try:
            return first <= _Address(text) <= last
        except ValueError:
            return False  # A name.

    several = first != last
    for host in rack.hosts:
        for text in dict.fromkeys((rack.address(host), rack.outer_address(host))):
            if within(text):
                yield f"with {text}, the address of {host}" if several else f"the address of {host}"
    for name in ("control_plane_pod_cidr", "control_plane_service_cidr"):
        try:
            network = ipaddress.IPv4Network(str(parse_network(rack.cluster_value(name))))
        except ValueError:
            continue  # check_networks reports it.
        if first <= network.broadcast_address and network.network_address <= last:
            yield f"in {name} {network}"
    for server in rack.servers:
        for lease in read_leases(rack, server)[0]:
            if within(lease.address) and lease.name not in rack.hosts:
                which = f"with {lease.address}, " if several else ""
                yield f"{which}the address of {lease.name} in rack_services_bootptab"
        given = rack.value(server, "rack_services_dhcp_range")
        try:
            start, end = parse_range(text=given) if given else (None, None)
        except RackServicesError:
            continue  # check_services reports it.
        if start is not None and end is not None and first <= end and start <= last:
            yield f"in rack_services_dhcp_range {given}"
