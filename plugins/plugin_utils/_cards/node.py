# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node's card is to hold, as the inventory says it, and what is wrong with that."""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._network import interface_names
from ansible_collections.bramble.pi.plugins.module_utils._network.wifi import Wifi
from ansible_collections.bramble.pi.plugins.module_utils._network.wifi import problems as wifi_problems
from ansible_collections.bramble.pi.plugins.module_utils._node.settings import HOST_NAME, HOST_NAME_LENGTH
from ansible_collections.bramble.pi.plugins.module_utils._ssh.keys import authorized_key_problem
from ansible_collections.bramble.pi.plugins.plugin_utils._cards.inputs import boot_problems, truth
from ansible_collections.bramble.pi.plugins.plugin_utils._inventory.addresses import (
    parse_address,
    parse_interface,
)

USER = re.compile(r"[a-z][a-z0-9-]{0,31}")
#: The forms of crypt(5) that a Debian or Ubuntu takes.
_PASSWORD_HASH = re.compile(r"\$(y|gy|7|2[abxy]|6|5)\$[^\s:!*]{8,}")


class HostKey(NamedTuple):
    """A node's SSH host key."""

    private: str
    public: str


@dataclass(frozen=True)
class CardNode:
    """What a node's card is to hold."""

    name: str
    hostname: str
    user: str
    authorized_keys: tuple[str, ...] = ()
    password_hash: str = ""
    timezone: str = ""
    interface: str = "eth0"
    address: str = ""
    gateway: str = ""
    resolvers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    wifi_ssid: str = ""
    wifi_psk: str = ""
    wifi_country: str = ""
    wifi_hidden: bool = False
    user_data: Mapping[str, Any] = field(default_factory=dict)
    user_data_file: str = ""
    config_txt: tuple[Mapping[str, Any], ...] = ()
    cmdline_present: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    image: str = ""
    device: str = ""

    @property
    def interface_is_wifi(self) -> bool:
        """Tell whether the addresses are those of the Wi-Fi interface."""
        return self.interface.startswith("wl")

    @property
    def wifi_interface(self) -> str:
        """Name the Wi-Fi interface."""
        return self.interface if self.interface_is_wifi else "wlan0"

    @property
    def wifi(self) -> Wifi:
        """The Wi-Fi network; without a name there is none."""
        return Wifi(self.wifi_ssid, self.wifi_psk, self.wifi_country, self.wifi_hidden)

    def user_data_text(self) -> str:
        """Read the user's own user-data file."""
        return Path(self.user_data_file).expanduser().read_text(encoding="utf-8")


def plain(value: Any) -> Any:
    """Return data without what Ansible adds to it, so that any library can write it."""
    if isinstance(value, Mapping):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return str.__str__(value) if isinstance(value, str) else value


def card_node(values: Mapping[str, Any]) -> CardNode:
    """Read the inputs of the role flash, each without its prefix, and the name of the node.

    They are of the right types, see :func:`input_problems`.
    """
    read: dict[str, Any] = plain(values)
    for key in ("authorized_keys", "resolvers", "search", "config_txt", "cmdline_present"):
        read[key] = tuple(read.get(key) or ())
    read["wifi_hidden"] = truth(read.get("wifi_hidden", False))
    if not read["authorized_keys"]:
        found = sorted(Path("~/.ssh").expanduser().glob("id_*.pub"))
        read["authorized_keys"] = tuple(path.read_text(encoding="utf-8").strip() for path in found)
    return CardNode(**read)


def together(problems_of: Mapping[str, Iterable[str]]) -> list[str]:
    """Name each problem once, with the nodes that have it."""
    found: dict[str, list[str]] = {}
    for name, node_problems in problems_of.items():
        for problem in node_problems:
            found.setdefault(problem, []).append(name)
    return [f"{', '.join(names)}: {problem}" for problem, names in found.items()]


def problems(nodes: Sequence[CardNode]) -> list[str]:
    """Name all that is wrong with the nodes' inputs: value seen, value expected, and the variable to set."""
    return together({node.name: _node_problems(node) for node in nodes}) + list(_shared(nodes))


def _shared(nodes: Sequence[CardNode]) -> Iterator[str]:
    for key, variable in (("device", "flash_device"), ("hostname", "os_prep_hostname")):
        owners: dict[str, list[str]] = {}
        for node in nodes:
            owners.setdefault(getattr(node, key), []).append(node.name)
        for value, names in owners.items():
            if value and len(names) > 1:
                yield f"{', '.join(names)}: {variable} is {value!r} for each; give each its own"


def _node_problems(node: CardNode) -> Iterator[str]:
    if not node.image:
        yield (
            "flash_image is not set: set it in group_vars/all.yml to the address or the file of an OS image"
        )
    if HOST_NAME.fullmatch(node.hostname) is None or len(node.hostname) > HOST_NAME_LENGTH:
        yield (
            f"os_prep_hostname is {node.hostname!r}; expected a-z, 0-9 and hyphens (RFC 1123), "
            f"{HOST_NAME_LENGTH} characters at most; rename the host, or set os_prep_hostname"
        )
    yield from _user_problems(node)
    yield from _network_problems(node)
    yield from _wifi_problems(node)
    if node.timezone and node.timezone not in zoneinfo.available_timezones():
        yield (
            f"flash_timezone is {node.timezone!r}, which is not a time zone; expected one such as "
            "'Europe/Berlin': set flash_timezone"
        )
    if node.user_data and node.user_data_file:
        yield "flash_user_data and flash_user_data_file are both set: the file is taken whole; set one only"
    elif node.user_data_file:
        try:
            node.user_data_text()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            yield f"flash_user_data_file is {node.user_data_file!r}, which cannot be read: {reason}"
    yield from boot_problems(
        {"cmdline_present": node.cmdline_present, "files": node.files, "config_txt": node.config_txt}
    )


def _user_problems(node: CardNode) -> Iterator[str]:
    if not node.user:
        yield "flash_user is not set, nor is ansible_user: set one in group_vars/all.yml, such as 'pi'"
    elif USER.fullmatch(node.user) is None or node.user == "root":
        yield (
            f"flash_user is {node.user!r}: it has to begin with a letter, followed by a-z, 0-9 and hyphens, "
            "32 characters at most, and not to be root; set ansible_user or flash_user"
        )
    if node.password_hash and _PASSWORD_HASH.fullmatch(node.password_hash) is None:
        # The value is not shown, as it may well be the password.
        yield (
            "flash_password_hash is not the hash of a password, which begins with $y$, $6$ or $5$: make one "
            "with `openssl passwd -6`"
        )
    if not node.authorized_keys and not node.password_hash:
        yield (
            "nobody could log in: flash_authorized_keys is empty, as there is no ~/.ssh/id_*.pub here; make "
            "a key with `ssh-keygen -t ed25519`, or set flash_authorized_keys"
        )
    for number, key in enumerate(node.authorized_keys, start=1):
        problem = authorized_key_problem(key)
        if problem:
            yield (
                f"flash_authorized_keys, entry {number}, {problem}; expected a line of a .pub file, such as "
                "'ssh-ed25519 AAAA… you@laptop'"
            )


def _network_problems(node: CardNode) -> Iterator[str]:
    problem = interface_names.problem(node.interface, variable="node_network_interface")
    if problem:
        yield problem
    if node.interface_is_wifi and not node.wifi_ssid:
        yield (
            f"node_network_interface is {node.interface!r}, and nat_headnode_wifi_ssid is not set; expected "
            "the name of its Wi-Fi network: set nat_headnode_wifi_ssid"
        )
    interface = None
    if node.address:
        try:
            interface = parse_interface(node.address)
        except ValueError:
            yield (
                f"node_network_address is {node.address!r}; expected an address with the length of its "
                "network's prefix, such as '192.168.1.101/24': set node_network_address, or leave it empty "
                "for DHCP"
            )
    if interface is not None and interface.ip in (interface.network, interface.broadcast):
        yield (
            f"node_network_address is {node.address!r}, which no node can have in {interface.cidr}; expected "
            "an address between its first and its last: set node_network_address"
        )
    if node.gateway:
        problem = _address_problem(node.gateway)
        if problem is None and not node.address:
            problem = "and there is no node_network_address: with DHCP the gateway comes from the DHCP server"
        elif problem is None and interface is not None:
            address = parse_address(node.gateway)
            if address not in interface:
                problem = f"which is not in {interface.cidr}, the network of node_network_address"
            elif address == interface.ip:
                problem = "which is the node's own address"
        if problem:
            yield (
                f"node_network_gateway is {node.gateway!r}, {problem}; expected the router's address in the "
                "network of node_network_address: set node_network_gateway"
            )
    for resolver in node.resolvers:
        problem = _address_problem(resolver)
        if problem:
            yield (
                f"node_network_resolvers has {resolver!r}, {problem}; expected addresses: set "
                "node_network_resolvers"
            )
    for domain in node.search:
        if HOST_NAME.fullmatch(domain) is None:
            yield (
                f"node_network_search has {domain!r}; expected domains such as 'lan': set node_network_search"
            )


def _address_problem(text: str) -> str | None:
    try:
        parse_address(text)
    except ValueError as error:
        return f"which {error}"
    return None


def _wifi_problems(node: CardNode) -> Iterator[str]:
    if not node.wifi_ssid:
        if node.wifi_psk:
            yield "nat_headnode_wifi_psk is set, and nat_headnode_wifi_ssid is not: set both, or neither"
        return
    if not node.wifi_ssid.isprintable():
        yield (
            f"nat_headnode_wifi_ssid is {node.wifi_ssid!r}; expected printable characters: set "
            "nat_headnode_wifi_ssid"
        )
    if not node.wifi_psk:
        yield (
            "nat_headnode_wifi_psk is not set; expected the passphrase or the key of nat_headnode_wifi_ssid, "
            "as a card joins no open network: set nat_headnode_wifi_psk, or run flash with "
            "-e nat_headnode_wifi_ssid= for a card without Wi-Fi"
        )
    yield from wifi_problems(node.wifi, variables="nat_headnode_wifi")
