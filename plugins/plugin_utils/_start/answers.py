# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an answer is read as: each function refuses what no rack can have, and says what was expected."""

from __future__ import annotations

import os
import re
import zoneinfo
from collections.abc import Collection, Iterable, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._netboot.system import NetbootTreeError, check_serial
from ansible_collections.bramble.pi.plugins.module_utils._network import wifi
from ansible_collections.bramble.pi.plugins.module_utils._rack.bootptab import normal_mac
from ansible_collections.bramble.pi.plugins.module_utils._rack.discovery import MOST_ADDRESSES
from ansible_collections.bramble.pi.plugins.module_utils._rack.scan import Found
from ansible_collections.bramble.pi.plugins.plugin_utils._cards.node import USER
from ansible_collections.bramble.pi.plugins.plugin_utils._inventory.addresses import (
    AddressError,
    check_host,
    parse_address,
    parse_network,
)

#: What is typed to leave something out, as an empty line takes the default.
NONE = "none"
ROUTER, NAT, NETBOOT = SHAPES = ("router", "nat", "netboot")
#: A rack of one inventory; each node takes a /24 of a /16 for its pods.
MOST_NODES = 200
_BOARD = {"mac", "address", "serial", "hostname"}
_HOST_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


class StartError(BrambleError):
    """An answer that no inventory can be made of."""


def folder(text: str) -> str:
    """Read the path of a folder that is to be made."""
    if not text.strip() or not text.isprintable():
        raise StartError(f"the folder is {text!r}; expected a path such as 'my-rack'")
    return os.path.abspath(os.path.expanduser(text.strip()))


def shape(text: str) -> str:
    """Read how the rack is connected."""
    if text not in SHAPES:
        raise StartError(f"the rack's connection is {text!r}; expected one of {', '.join(SHAPES)}")
    return text


def _any_network(text: str) -> IPv4Network:
    try:
        return IPv4Network(str(parse_network(text)))
    except AddressError as error:
        raise StartError(f"the network is {text!r}, which {error}") from None


def network(text: str) -> IPv4Network:
    """Read the network that the nodes are in."""
    found = _any_network(text)
    try:
        if not 8 <= found.prefixlen <= 30:
            raise AddressError("has a prefix that is not between /8 and /30")
        for address in (found[1], found[-2]):
            parse_address(str(address))
    except AddressError as error:
        raise StartError(f"the network is {found}, which {error}; set one such as '192.168.1.0/24'") from None
    return found


def searched(text: str) -> IPv4Network | None:
    """Read the network that is searched for boards."""
    if text in ("", NONE):
        return None
    found = _any_network(text)
    if found.num_addresses > MOST_ADDRESSES:
        raise StartError(
            f"the network to search is {found} with {found.num_addresses} addresses; expected "
            f"{MOST_ADDRESSES} at the most: the part of it that the Pis are in, or {NONE}"
        )
    return found


def count(text: str) -> int:
    """Read the number of nodes."""
    if re.fullmatch(r"[0-9]{1,3}", text) is None or not 1 <= int(text) <= MOST_NODES:
        raise StartError(f"the number of Pis is {text!r}; expected 1 to {MOST_NODES}")
    return int(text)


def free_addresses(
    *, network: IPv4Network, first: IPv4Address, number: int, taken: Collection[IPv4Address]
) -> list[IPv4Address]:
    """Take so many addresses of a network, from the first one on, that are free."""
    found: list[IPv4Address] = []
    for value in range(int(first), int(network.broadcast_address)):
        address = IPv4Address(value)
        if len(found) == number:
            break
        if address != network.network_address and address not in taken:
            found.append(address)
    if len(found) < number:
        raise StartError(
            f"the network {network} has {len(found)} free addresses from {first} on; expected {number}: take "
            "a lower first address, or a larger network"
        )
    return found


def first_address(text: str, *, network: IPv4Network) -> IPv4Address:
    """Read the address of the first new node."""
    try:
        address = IPv4Address(str(parse_address(text)))
    except AddressError as error:
        raise StartError(f"the first address is {text!r}, which {error}") from None
    if address not in network or address in (network.network_address, network.broadcast_address):
        raise StartError(f"the first address is {address}; expected one that a node can have in {network}")
    return address


def gateway(text: str, *, network: IPv4Network) -> IPv4Address | None:
    """Read the default gateway of new nodes; none leaves their addresses to the router's DHCP server."""
    if text in ("", NONE):
        return None
    try:
        address = IPv4Address(str(parse_address(text)))
    except AddressError as error:
        raise StartError(f"the default gateway is {text!r}, which {error}") from None
    if address not in network or address in (network.network_address, network.broadcast_address):
        raise StartError(f"the default gateway is {address}; expected the router's address in {network}")
    return address


def head(text: str, *, network: IPv4Network) -> str:
    """Read where the head is reached from outside."""
    try:
        check_host(text)
    except AddressError as error:
        raise StartError(f"the head's address is {text!r}, which {error}") from None
    try:
        inside = IPv4Address(text) in network
    except ValueError:
        inside = False
    if inside or not text:
        raise StartError(
            f"the head's address is {text!r}; expected its name or address on the other side, outside of "
            f"{network}"
        )
    return text


def user(text: str) -> str:
    """Read the user that Ansible logs in as."""
    if USER.fullmatch(text) is None or text == "root":
        raise StartError(
            f"the user is {text!r}; expected a letter, then a-z, 0-9 and hyphens, 32 characters at most, not "
            "root"
        )
    return text


def wifi_name(text: str) -> str:
    """Read the name of a Wi-Fi network; empty for none."""
    if text in ("", NONE):
        return ""
    if len(text.encode()) > 32 or not text.isprintable():
        raise StartError(f"the Wi-Fi's name is {text!r}; expected 1 to 32 printable characters, or {NONE}")
    return text


def wifi_country(text: str) -> str:
    """Read the country that the Wi-Fi is in."""
    if re.fullmatch("[A-Z]{2}", text) is None:
        raise StartError(f"the Wi-Fi's country is {text!r}; expected two capital letters, such as 'DE'")
    return text


def wifi_key(text: str, *, name: str, country: str) -> str:
    """Read the key of a Wi-Fi network; empty for an open one. It comes into no message."""
    if text in ("", NONE):
        return ""
    problems = wifi.problems(wifi.Wifi(name, text, country, hidden=False), variables="start_wifi")
    if problems:
        raise StartError("; ".join(problems))
    return text


def timezone(text: str) -> str:
    """Read a time zone; empty for that of the image."""
    if text and text not in zoneinfo.available_timezones():
        raise StartError(f"the time zone is {text!r}; expected one such as 'Europe/Berlin'")
    return text


def image(text: str) -> str:
    """Read the address or the file of an OS image."""
    if not text or not text.isprintable():
        raise StartError(f"the OS image is {text!r}; expected a URL or the path of a file")
    return text


def boards(given: Any) -> list[Found]:
    """Read boards that are known: a list of mappings with the MAC, and what else is known of each."""
    if not isinstance(given, Sequence) or isinstance(given, str):
        raise StartError("start_boards is no list; expected one such as [{mac: 'dc:a6:32:01:36:c2'}]")
    return [_board(number, board) for number, board in enumerate(given, start=1)]


def _board(number: int, board: Any) -> Found:
    if not isinstance(board, Mapping) or not {"mac"} <= set(board) <= _BOARD:
        raise StartError(
            f"board {number} of start_boards is {board!r}; expected a mapping with mac, and perhaps "
            f"{_listed(_BOARD - {'mac'})}"
        )
    values = {key: str(board.get(key, "")) for key in _BOARD}
    mac = normal_mac(values["mac"])
    if mac is None:
        raise StartError(
            f"board {number} of start_boards has the MAC {values['mac']!r}; expected one like "
            "'dc:a6:32:01:36:c2', in quotes"
        )
    try:
        if values["address"]:
            parse_address(values["address"])
        if values["serial"]:
            check_serial(values["serial"])
    except AddressError as error:
        raise StartError(
            f"board {number} of start_boards has the address {values['address']!r}, which {error}"
        ) from None
    except NetbootTreeError as error:
        raise StartError(f"board {number} of start_boards: {error}") from None
    if values["hostname"] and _HOST_NAME.fullmatch(values["hostname"]) is None:
        raise StartError(
            f"board {number} of start_boards has the hostname {values['hostname']!r}; expected a-z, 0-9 "
            "and hyphens"
        )
    return Found(mac, values["address"], values["hostname"], values["serial"], "", [])


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
