# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses, names and time for the rack's own network: configuration of dnsmasq and chrony, and leases."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._common.files import MANAGED

DNSMASQ = "/etc/dnsmasq.d/bramble.conf"
DNSMASQ_UNIT = "/etc/systemd/system/dnsmasq.service.d/bramble.conf"
CHRONY = "/etc/chrony/conf.d/bramble.conf"
LEASES = "/var/lib/misc/dnsmasq.leases"
_LEASE_TIME = re.compile(r"[0-9]+[smhdwSMHDW]?|infinite")

#: Debian's unit makes the node ask its own dnsmasq, at an interface where this one does not listen.
UNIT_SETTINGS = f"""{MANAGED}[Service]
ExecStartPost=
ExecStop=
"""


class RackServicesError(BrambleError):
    """Values that do not work together."""


class Host(NamedTuple):
    """A host of the rack; without a MAC it has a name, but gets no lease."""

    name: str
    address: str
    mac: str = ""
    bootfile: str = ""
    expected: bool = False


class Services(NamedTuple):
    """What is given to the rack, and where."""

    interface: str
    address: str
    network: str
    domain: str
    hosts: Sequence[Host]
    reverse_zones: Sequence[str]
    dhcp_range: str
    lease_time: str
    router: str
    resolvers: Sequence[str]
    dnsmasq_options: Sequence[str]
    ntp_servers: Sequence[str]
    ipv6: bool

    @property
    def leases(self) -> list[Host]:
        """The hosts that get an address by their MAC."""
        return [host for host in self.hosts if host.mac]

    @property
    def serves_dhcp(self) -> bool:
        """Whether there is any address to give."""
        return bool(self.leases or self.dhcp_range)


def parse_range(*, text: str) -> tuple[ipaddress.IPv4Address, ipaddress.IPv4Address]:
    """Read a range of addresses, such as C(10.0.0.100-10.0.0.199)."""
    first, dash, last = (part.strip() for part in text.partition("-"))
    try:
        start, end = ipaddress.IPv4Address(first), ipaddress.IPv4Address(last)
    except ipaddress.AddressValueError:
        dash = ""
    if not dash or start > end:
        raise RackServicesError(
            f"dhcp_range is {text!r}; expected two addresses, the smaller one first, such as "
            "'10.0.0.100-10.0.0.199': set rack_services_dhcp_range"
        )
    return start, end


def check_address(*, address: str, network: str) -> None:
    """Refuse an address that is not in the network that is served."""
    if ipaddress.IPv4Address(address) not in ipaddress.IPv4Network(network):
        raise RackServicesError(
            f"the address of the rack's services is {address}, which is not in the network {network}; "
            "expected the rack's own network: set preflight_node_network in group_vars/all.yml, or "
            "rack_services_address"
        )


def check_lease_time(*, text: str) -> None:
    """Refuse what dnsmasq does not take for a time."""
    if not _LEASE_TIME.fullmatch(text):
        raise RackServicesError(
            f"the time of a lease is {text!r}; expected one as dnsmasq writes it, such as '45m', '12h' or "
            "'infinite': set rack_services_lease_time"
        )


def check(services: Services, *, addresses: Mapping[str, Sequence[str]]) -> None:
    """Refuse what would not work on this node; ``addresses`` are those of its interfaces.

    What the inventory alone tells has been checked on the controller before.
    """
    if services.interface not in addresses:
        raise RackServicesError(
            f"interface is {services.interface!r}, and the node has no such interface; expected one of "
            f"{', '.join(sorted(set(addresses) - {'lo'}))}: set rack_services_interface"
        )
    own = addresses[services.interface]
    if services.address not in [address.partition("/")[0] for address in own]:
        raise RackServicesError(
            f"address is {services.address}, and {services.interface} has {', '.join(own) or 'none'}; "
            "expected the address that the rack knows this node by: set it on the interface "
            "(node_network_address), or name the right one in os_prep_address or rack_services_address"
        )
    check_address(address=services.address, network=services.network)
    check_lease_time(text=services.lease_time)


def dnsmasq_configuration(services: Services) -> str:
    """Write dnsmasq's part of the configuration."""
    # Not at lo, where systemd-resolved or another resolver may be; and not at whatever else there is.
    lines = [
        f"interface={services.interface}",
        "except-interface=lo",
        "bind-dynamic",
        "",
        # The node's own /etc/hosts names it by addresses that nobody else can use.
        "no-hosts",
        f"domain={services.domain}",
        f"local=/{services.domain}/",
        *(f"local=/{zone}/" for zone in services.reverse_zones),
        "domain-needed",
        "bogus-priv",
    ]
    if services.resolvers:
        lines += ["no-resolv", *(f"server={resolver}" for resolver in services.resolvers)]
    lines.append("")
    lines += [
        f"host-record={_full_name(host.name, services.domain)},{host.name},{host.address}"
        for host in services.hosts
    ]
    if services.serves_dhcp:
        lines += ["", *_dhcp(services)]
    if services.ipv6:
        lines += ["", "enable-ra", f"dhcp-range=::,constructor:{services.interface},ra-stateless"]
    if services.dnsmasq_options:
        lines += ["", *services.dnsmasq_options]
    return MANAGED + "\n".join(lines) + "\n"


def _full_name(name: str, domain: str) -> str:
    return name if name.endswith(f".{domain}") else f"{name}.{domain}"


def _dhcp(services: Services) -> list[str]:
    network = ipaddress.IPv4Network(services.network)
    if services.dhcp_range:
        first, last = parse_range(text=services.dhcp_range)
        addresses = f"{first},{last}"
    else:
        addresses = f"{network.network_address},static"
    lines = [
        "dhcp-authoritative",
        f"dhcp-range={addresses},{network.netmask},{services.lease_time}",
        # Without a value the option is not sent at all; left out it would be this node.
        f"dhcp-option=option:router{',' if services.router else ''}{services.router}",
        f"dhcp-option=option:dns-server,{services.address}",
        f"dhcp-option=option:ntp-server,{services.address}",
        f"dhcp-option=option:domain-search,{services.domain}",
    ]
    for host in services.leases:
        label = host.name.partition(".")[0]
        lines.append(f"dhcp-host={host.mac},set:{label},{host.address},{label}")
        if host.bootfile:
            lines.append(f"dhcp-boot=tag:{label},{host.bootfile}")
    return lines


def chrony_configuration(services: Services) -> str:
    """Write chrony's part of the configuration.

    The rack agrees on a time though the outside cannot be reached: stratum 10 gives way to any better source.
    """
    lines = [
        f"allow {services.network}",
        f"bindaddress {services.address}",
        "local stratum 10",
        *(f"server {server} iburst" for server in services.ntp_servers),
    ]
    return MANAGED + "\n".join(lines) + "\n"


class Move(NamedTuple):
    """A host that has a lease of another address than the one it is to have."""

    name: str
    old: str
    new: str


def stale_leases(*, text: str, hosts: Sequence[Host]) -> tuple[str, list[Move]]:
    """Return the leases without those that stand against the fixed ones, and whose hosts have to move.

    A lease is stale whose MAC has a static address that is another one, or whose address belongs to another
    MAC. Each line of dnsmasq's file has expiry, MAC, address, name and client identifier.
    """
    fixed = {host.mac: host for host in hosts if host.mac}
    taken = {host.address: mac for mac, host in fixed.items()}
    kept: list[str] = []
    moves: list[Move] = []
    for line in text.splitlines():
        fields = line.split()
        # Leases of IPv6 follow after a line with the server's DUID, and begin alike.
        if len(fields) != 5 or ":" in fields[2]:
            kept.append(line)
            continue
        mac, address = fields[1].lower(), fields[2]
        host = fixed.get(mac)
        if host is not None and host.address != address:
            moves.append(Move(host.name, address, host.address))
        elif taken.get(address, mac) == mac:
            kept.append(line)
    return "".join(f"{line}\n" for line in kept), moves


def leased_addresses(*, text: str) -> dict[str, str]:
    """Return the address of each MAC that has a lease of IPv4."""
    rows = (line.split() for line in text.splitlines())
    return {row[1].lower(): row[2] for row in rows if len(row) == 5 and ":" not in row[2]}
