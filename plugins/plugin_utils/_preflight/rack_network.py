# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of the rack's own network: its head, static addresses and leases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ansible_collections.bramble.pi.plugins.module_utils._network.settings import NetworkError, settings
from ansible_collections.bramble.pi.plugins.module_utils._rack.bootptab import (
    BootptabError,
    Entry,
    parse_bootptab,
)
from ansible_collections.bramble.pi.plugins.module_utils._rack.services import RackServicesError, parse_range
from ansible_collections.bramble.pi.plugins.plugin_utils._inventory import identity, leases
from ansible_collections.bramble.pi.plugins.plugin_utils._inventory.addresses import (
    parse_address,
    parse_interface,
    parse_network,
)
from ansible_collections.bramble.pi.plugins.plugin_utils._preflight.rack import (
    ALL,
    FIXED_GROUP,
    Finding,
    Rack,
)

if TYPE_CHECKING:
    import netaddr

#: From this prefix on a network has no address of its own, nor one for broadcast.
POINT_TO_POINT = 31


def check_head(rack: Rack) -> Iterator[Finding]:
    """Check that the head node has two sides, in two networks."""
    for host in rack.heads:
        for name in ("control_plane_pod_cidr", "control_plane_service_cidr"):
            try:
                if parse_address(rack.outer_address(host)) in parse_network(rack.cluster_value(name)):
                    yield Finding(
                        f"{name} {rack.cluster_value(name)} takes in the head's address "
                        f"{rack.outer_address(host)}: set another network {ALL}",
                        host,
                    )
            except ValueError:
                continue  # A name, or check_networks has a word on it.
        # With only one address told, nothing is known of the other side.
        inside = rack.network
        if inside is None:
            continue
        try:
            sides = {parse_address(rack.address(host)), parse_address(rack.outer_address(host))}
        except ValueError:
            continue
        if len(sides) == 2 and all(side in inside for side in sides):
            yield Finding(
                f"has both its addresses, {' and '.join(map(str, sorted(sides)))}, in the rack's own network "
                f"{inside}: a rack behind NAT needs another network than the one outside; set "
                f"preflight_node_network {ALL} and the nodes' addresses to one of its own",
                host,
            )


def check_static_addresses(rack: Rack) -> Iterator[Finding]:
    """Check the address and gateway that an interface is to have: the mistake that cuts a node off."""
    fixed = rack.groups.get(FIXED_GROUP, ())
    for host in rack.hosts:
        text = rack.value(host, "node_network_address")
        if not text:
            if host in fixed and not rack.is_unknown(host, "node_network_address"):
                yield Finding(
                    f"is in the group {FIXED_GROUP} and has no node_network_address: set it, such as "
                    "'192.168.1.11/24', or take the host out of the group",
                    host,
                )
            continue
        try:
            interface = parse_interface(text)
            parse_address(str(interface.ip))
        except ValueError as error:
            yield Finding(
                f"node_network_address is {text!r}, which {error}; it has to be like '192.168.1.11/24'", host
            )
            continue
        found = list(_check_interface(rack, host, interface))
        yield from found or _check_settings(rack, host)


def _check_settings(rack: Rack, host: str) -> Iterator[Finding]:
    """Check a node's settings as the role will, all but the interface, which only the node knows."""
    names = ("address", "gateway", "resolvers", "search")
    values = {name: rack.value(host, f"node_network_{name}") for name in names}
    # What cannot be known yet.
    if None in values.values():
        return
    try:
        settings(interface="eth0", existing=["eth0"], **values)
    except NetworkError as error:
        yield Finding(str(error), host)


def _check_interface(rack: Rack, host: str, interface: netaddr.IPNetwork) -> Iterator[Finding]:
    if interface.prefixlen < POINT_TO_POINT and interface.ip in (interface.network, interface.broadcast):
        yield Finding(
            f"node_network_address is '{interface}', the network's own or its broadcast address: set one "
            "between them",
            host,
        )
    network = rack.network
    # The address that the card of a head is given for the outside.
    outside = (
        host in rack.heads
        and host not in rack.groups.get(FIXED_GROUP, ())
        and rack.value(host, "node_network_interface") == rack.value(host, "nat_headnode_outer_interface")
    )
    if network is not None and not outside and interface.cidr != network:
        yield Finding(
            f"node_network_address is '{interface}', in {interface.cidr}, and preflight_node_network is "
            f"{network}: set the address with the prefix /{network.prefixlen}, or the network {ALL}",
            host,
        )
    gateway = rack.value(host, "node_network_gateway")
    if not gateway:
        return
    try:
        address = parse_address(gateway)
    except ValueError as error:
        yield Finding(f"node_network_gateway is {gateway!r}, which {error}", host)
        return
    if address not in interface.cidr:
        yield Finding(
            f"node_network_gateway is {address}, which is not reached from {interface} without another "
            f"gateway: set one in {interface.cidr}",
            host,
        )
    elif address == interface.ip:
        yield Finding(f"node_network_gateway is {address}, the node's own address: set the router's", host)


def read_leases(rack: Rack, server: str) -> tuple[list[leases.Host], list[Finding]]:
    """Read who gets which address of the rack's server, and what is wrong with that."""
    entries: Sequence[Entry] = []
    found = []
    path = rack.value(server, "rack_services_bootptab")
    if path and path not in rack.files:
        found.append(
            Finding(
                f"rack_services_bootptab is {path!r}, and there is no such file on the controller: set "
                'it to the file\'s whole path, such as "{{ inventory_dir }}/bootptab"',
                server,
            )
        )
    elif path:
        try:
            entries = parse_bootptab(text=rack.files[path])
        except BootptabError as error:
            found.append(Finding(f"rack_services_bootptab {path}: {error}", server))
    inventory = leases.inventory_hosts(
        hostvars={host: rack.told(host) for host in rack.hosts}, groups=rack.groups
    )
    hosts, problems = leases.merge(inventory=inventory, bootptab=entries)
    return hosts, [*found, *map(Finding, problems)]


def check_services(rack: Rack) -> Iterator[Finding]:
    """Check who gets which address, and that nobody else is given it."""
    for server in rack.servers:
        hosts, found = read_leases(rack, server)
        yield from found
        if rack.network is not None:
            yield from _check_leases(rack, server, rack.network, hosts)
        elif rack.node_network == "":
            yield Finding(
                f"gives the rack its addresses, and preflight_node_network is not set: set it {ALL} to "
                "the rack's own network, such as 10.0.0.0/24"
            )


def _is_of_a_host(address: netaddr.IPAddress, network: netaddr.IPNetwork) -> bool:
    """Tell whether an address is in a network, and neither the network's own nor its broadcast address."""
    return address in network and (
        network.prefixlen >= POINT_TO_POINT or address not in (network.network, network.broadcast)
    )


def _check_leases(
    rack: Rack, server: str, network: netaddr.IPNetwork, hosts: Sequence[leases.Host]
) -> Iterator[Finding]:
    for host in hosts:
        if host.mac and not _is_of_a_host(parse_address(host.address), network):
            yield Finding(
                f"{host.name}: has the address {host.address}, which no host can have in the rack's network "
                f"{network}: set {identity.ADDRESS_VARIABLES}, or correct rack_services_bootptab"
            )
    text = rack.value(server, "rack_services_dhcp_range")
    if not text:
        return
    try:
        first, last = (parse_address(str(address)) for address in parse_range(text=text))
    except (RackServicesError, ValueError) as error:
        yield Finding(f"rack_services_dhcp_range: {error}", server)
        return
    if not (_is_of_a_host(first, network) and _is_of_a_host(last, network)):
        yield Finding(
            f"rack_services_dhcp_range is {text!r}, with an address that no host can have in the rack's "
            f"network {network}: set one between its first and its last",
            server,
        )
    taken = [host for host in hosts if first <= parse_address(host.address) <= last]
    if taken:
        names = ", ".join(f"{host.name} ({host.address})" for host in taken)
        yield Finding(
            f"rack_services_dhcp_range is {text!r}, which takes in static addresses: {names}; set a "
            "range apart from them",
            server,
        )
