# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every network manager of this room can do, and what it says of an interface.

Each has a file of its own with the same verbs: ``detect`` whether it configures an interface, ``render`` the
files that it needs, ``apply`` them, and ``renew`` a lease.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import ClassVar, NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._network.node import Node
from ansible_collections.bramble.pi.plugins.module_utils._network.settings import NetworkError, Settings
from ansible_collections.bramble.pi.plugins.module_utils._network.wifi import Wifi

IFUPDOWN = "ifupdown"
NETPLAN = "netplan"
NETWORKMANAGER = "networkmanager"
DHCPCD = "dhcpcd"
NETWORKD = "networkd"

#: The name of what connects a head to the outside, in the files of all managers.
UPLINK = "bramble-uplink"

COMMENTED_OUT = "# bramble.pi: "


class Claim(NamedTuple):
    """A manager that configures an interface."""

    name: str
    # "networkd" or "networkmanager" behind netplan, else the same as the name.
    backend: str
    # How it is known.
    why: str
    # The file with the interface's configuration, and NetworkManager's uuid of it.
    file: str = ""
    uuid: str = ""


class File(NamedTuple):
    """A file as it is to be."""

    path: str
    text: str
    mode: int = 0o644


class Commands(NamedTuple):
    """What makes the files count, in the trial's script."""

    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    restore_after: tuple[str, ...] = ()
    regenerate: tuple[str, ...] = ()


class Manager(ABC):
    """A program that configures interfaces."""

    name: ClassVar[str]
    #: What it is told by, and found by as well.
    program: ClassVar[str]
    #: What stands behind it on a node that has not decided on that yet.
    backend: ClassVar[str]

    @abstractmethod
    def detect(self, *, node: Node, interface: str) -> Claim | None:
        """Tell whether it configures an interface, by what runs."""

    @abstractmethod
    def is_available(self, *, node: Node) -> bool:
        """Tell whether it would configure an interface that nothing configures yet."""

    @abstractmethod
    def render(self, *, node: Node, settings: Settings, claim: Claim) -> list[File]:
        """Return the files by which an interface has its static address."""

    @abstractmethod
    def apply(self, *, node: Node, settings: Settings, claim: Claim) -> Commands:
        """Return the commands of a trial that bring these files into effect, and back the former ones."""

    @abstractmethod
    def render_uplink(self, *, interface: str, wifi: Wifi | None) -> list[File]:
        """Return the files by which an interface takes its address by DHCP, in a Wi-Fi if there is one."""

    @abstractmethod
    def apply_uplink(self, *, interface: str, wifi: Wifi | None) -> list[list[str]]:
        """Return the commands that bring these files into effect."""

    @abstractmethod
    def renew(self, *, interface: str, claim: Claim) -> list[str]:
        """Return the command by which an interface asks for an address again."""

    def check_installed(self, *, node: Node, claim: Claim) -> None:
        """Refuse a manager that the node does not have."""
        if not node.has(self.program):
            raise NetworkError(
                f"{self.program} is not installed, and node_network_manager is {claim.name}; expected a "
                "manager that the node has: set node_network_manager to auto"
            )


def fields(text: str) -> dict[str, str]:
    """Read lines of a name, a colon and a value, as nmcli and networkctl write them."""
    rows = (line.partition(":") for line in text.splitlines())
    return {key.strip(): value.strip().replace("\\:", ":") for key, colon, value in rows if colon}


def block(text: str, lines: Collection[str], *, first: bool = False) -> str:
    """Put lines between marks, in place of what is between them."""
    begin, end = "# BEGIN bramble.pi\n", "# END bramble.pi\n"
    rest = re.sub(rf"^{begin}.*?^{end}", "", text, flags=re.MULTILINE | re.DOTALL)
    if rest and not rest.endswith("\n"):
        rest += "\n"
    marked = "".join([begin, *(f"{line}\n" for line in lines), end])
    return marked + rest if first else rest + marked
