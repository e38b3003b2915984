# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""IPv4 networks and addresses as they stand in an inventory, read with netaddr."""

from __future__ import annotations

try:
    import netaddr
except ImportError:
    HAS_NETADDR = False
else:
    HAS_NETADDR = True


def parse_interface(text: object) -> netaddr.IPNetwork:
    """Read an IPv4 address with the prefix of its network; ValueError says what was wanted."""
    try:
        if not isinstance(text, str) or "/" not in text:
            raise ValueError
        return netaddr.IPNetwork(text, version=4)
    except (netaddr.AddrFormatError, ValueError):
        raise ValueError("is not an IPv4 network: it has to be like '10.244.0.0/16'") from None


def parse_network(text: object) -> netaddr.IPNetwork:
    """Read an IPv4 network with its prefix; ValueError says what was wanted."""
    network = parse_interface(text)
    if network.ip != network.network:
        raise ValueError(f"has host bits set: the network is '{network.cidr}'")
    return network


def parse_address(text: object) -> netaddr.IPAddress:
    """Read an IPv4 address that a machine can have; ValueError says what was wanted."""
    try:
        if not isinstance(text, str):
            raise ValueError
        address = netaddr.IPAddress(text, version=4, flags=netaddr.INET_PTON)
    except (netaddr.AddrFormatError, ValueError):
        raise ValueError("is not an IPv4 address: it has to be like '192.168.1.101'") from None
    # 240.0.0.0/4 (class E) holds the broadcast address and nothing that is in use.
    if address.is_loopback() or address.is_multicast() or int(address) >> 28 == 0xF or int(address) == 0:
        raise ValueError("cannot be the address of a node in a network: it has to be like '192.168.1.101'")
    return address


def nth_address(*, cidr: str, n: int) -> str:
    """Take the n-th address of a network; ValueError says what was wrong."""
    try:
        network = netaddr.IPNetwork(cidr)
    except (netaddr.AddrFormatError, TypeError, ValueError):
        raise ValueError(f"{cidr!r} is not a network: it has to be like '10.96.0.0/12'") from None
    try:
        return str(network[n])
    except IndexError:
        raise ValueError(f"{cidr} has {network.size} addresses, and no number {n} among them") from None


def with_prefix(*, address: str, network: str) -> str:
    """Write an address with the prefix of its network; ValueError says what was wrong."""
    try:
        its_network, its_address = parse_network(network), parse_address(address)
    except ValueError as error:
        raise ValueError(f"{address!r} in {network!r}: one of them {error}") from None
    if its_address not in its_network:
        raise ValueError(f"{address} is not in the network {network}")
    return f"{its_address}/{its_network.prefixlen}"


def reverse_name(*, address: str) -> str:
    """Name an address as the domain name system asks for its name; ValueError says what was wrong."""
    try:
        return str(netaddr.IPAddress(address).reverse_dns).rstrip(".")
    except (netaddr.AddrFormatError, TypeError, ValueError):
        raise ValueError(f"{address!r} is not an address: it has to be like '192.168.1.101'") from None


def reverse_zones(*, network: str) -> list[str]:
    """Name the zones that hold the reverse names of a network, which are cut at whole bytes."""
    try:
        parsed = parse_network(network)
    except ValueError as error:
        raise ValueError(f"{network!r} {error}") from None
    # A network within the last byte has no zone of its own, and shares the one around it.
    labels = min(3, max(1, -(-parsed.prefixlen // 8)))
    zones = parsed.subnet(labels * 8) if parsed.prefixlen <= labels * 8 else parsed.supernet(labels * 8)[:1]
    return [".".join(reverse_name(address=str(zone.network)).split(".")[4 - labels :]) for zone in zones]
