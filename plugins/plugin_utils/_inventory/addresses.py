# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""IPv4 networks and addresses as they stand in an inventory, read with netaddr."""

from __future__ import annotations

import ipaddress
import re

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError

try:
    import netaddr
except ImportError:
    HAS_NETADDR = False
else:
    HAS_NETADDR = True


#: More than a host name may have: ssh and resolvers take an underscore.
_REACHED_BY = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?", re.ASCII)


class AddressError(BrambleError):
    """What is given is not an address or network, or not one that is of use here."""


def require_netaddr() -> None:
    """Refuse to go without what reads addresses."""
    if not HAS_NETADDR:
        raise AddressError("netaddr is missing on the controller: run pip install -r requirements.txt")


def parse_interface(text: object) -> netaddr.IPNetwork:
    """Read an IPv4 address with the prefix of its network; AddressError says what was expected."""
    try:
        if not isinstance(text, str) or "/" not in text:
            raise ValueError
        return netaddr.IPNetwork(text, version=4)
    except (netaddr.AddrFormatError, ValueError):
        raise AddressError("is not an IPv4 network; expected one like '10.244.0.0/16'") from None


def parse_network(text: object) -> netaddr.IPNetwork:
    """Read an IPv4 network with its prefix; AddressError says what was expected."""
    network = parse_interface(text)
    if network.ip != network.network:
        raise AddressError(f"has host bits set: the network is '{network.cidr}'")
    return network


def parse_address(text: object) -> netaddr.IPAddress:
    """Read an IPv4 address that a machine can have; AddressError says what was expected."""
    try:
        if not isinstance(text, str):
            raise ValueError
        address = netaddr.IPAddress(text, version=4, flags=netaddr.INET_PTON)
    except (netaddr.AddrFormatError, ValueError):
        raise AddressError("is not an IPv4 address; expected one like '192.168.1.101'") from None
    # 240.0.0.0/4 (class E) holds the broadcast address and nothing that is in use.
    if address.is_loopback() or address.is_multicast() or int(address) >> 28 == 0xF or int(address) == 0:
        raise AddressError("cannot be the address of a node in a network; expected one like '192.168.1.101'")
    return address


def check_host(text: str) -> None:
    """Check what a host is reached by, a name or an address; AddressError says what was expected."""
    if "@" in text:
        raise AddressError("has a user in it: set that in ansible_user")
    if re.fullmatch(r"[^:]+:[0-9]+", text):
        raise AddressError("has a port in it: set that in ansible_port")
    if ":" in text:
        try:
            ipaddress.IPv6Address(text)
        except ValueError:
            raise AddressError("is not an address; expected one like '192.168.1.101'") from None
        return
    labels = text.lower().removesuffix(".").split(".")
    if labels[-1] == "localhost":
        raise AddressError("is each machine's own name; expected one that the others have for it")
    # The last label of a name with several is never a number, so 192.168.1.1O1 is an address misspelt.
    digits = [label[:1].isdigit() for label in labels]
    if len(labels) > 1 and (digits[-1] or (len(labels) == 4 and all(digits[:3]))):
        parse_address(text)
    elif not _REACHED_BY.fullmatch(text):
        raise AddressError("is neither a name nor an IPv4 address; expected one like '192.168.1.101'")


def nth_address(*, cidr: str, n: int) -> str:
    """Take the n-th address of a network; AddressError says what was wrong."""
    require_netaddr()
    try:
        network = netaddr.IPNetwork(cidr)
    except (netaddr.AddrFormatError, TypeError, ValueError):
        raise AddressError(f"{cidr!r} is not a network; expected one like '10.96.0.0/12'") from None
    try:
        return str(network[n])
    except IndexError:
        raise AddressError(f"{cidr} has {network.size} addresses, and no number {n} among them") from None


def reverse_name(*, address: str) -> str:
    """Name an address as the domain name system asks for its name; AddressError says what was wrong."""
    try:
        return str(netaddr.IPAddress(address).reverse_dns).rstrip(".")
    except (netaddr.AddrFormatError, TypeError, ValueError):
        raise AddressError(f"{address!r} is not an address; expected one like '192.168.1.101'") from None


def reverse_zones(*, network: str) -> list[str]:
    """Name the zones that hold the reverse names of a network, which are cut at whole bytes."""
    require_netaddr()
    try:
        parsed = parse_network(network)
    except AddressError as error:
        raise AddressError(f"{network!r} {error}") from None
    # A network within the last byte has no zone of its own, and shares the one around it.
    labels = min(3, max(1, -(-parsed.prefixlen // 8)))
    zones = parsed.subnet(labels * 8) if parsed.prefixlen <= labels * 8 else parsed.supernet(labels * 8)[:1]
    return [".".join(reverse_name(address=str(zone.network)).split(".")[4 - labels :]) for zone in zones]
