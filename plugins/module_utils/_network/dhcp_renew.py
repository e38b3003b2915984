# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Have an interface's DHCP client ask for an address anew, by whatever manages the interface."""

from __future__ import annotations

import json
import re
from typing import Callable

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError

# A command's exit status, which a missing program has as well, and what it wrote.
Runner = Callable[[list[str]], tuple[int, str]]


class DhcpRenewError(BrambleError):
    """The interface or what manages it was not found."""


def interface_of(*, address: str, ip_json: str) -> str:
    """Return the interface that has the address, from the output of C(ip -json address)."""
    for link in json.loads(ip_json):
        if any(entry.get("local") == address for entry in link.get("addr_info", ())):
            return str(link["ifname"])
    raise DhcpRenewError(f"no interface has the address {address}; wanted is the one that its lease is for")


def _networkd(interface: str, run: Runner) -> list[str] | None:
    status, stdout = run(["networkctl", "--no-pager", "status", interface])
    state = re.search(r"^\s*State: .*\((\w+)\)\s*$", stdout, re.MULTILINE)
    if status != 0 or state is None or state.group(1) == "unmanaged":
        return None
    # Not "renew": a refusal is broadcast, and does not reach the socket that a lease is renewed by.
    return ["networkctl", "reconfigure", interface]


def _network_manager(interface: str, run: Runner) -> list[str] | None:
    status, stdout = run(["nmcli", "--get-values", "GENERAL.CON-UUID", "device", "show", interface])
    connection = stdout.strip()
    if status != 0 or not connection:
        return None
    return ["nmcli", "connection", "up", "uuid", connection]


def _dhcpcd(interface: str, run: Runner) -> list[str] | None:
    return ["dhcpcd", "--rebind", interface] if run(["pidof", "dhcpcd"])[0] == 0 else None


def _ifupdown(interface: str, run: Runner) -> list[str] | None:
    if run(["ifquery", "--state", interface])[0] != 0:
        return None
    return ["sh", "-c", f"ifdown {interface}; ifup {interface}"]


def renew_command(*, interface: str, run: Runner) -> list[str]:
    """Return the command of what manages the interface."""
    for manager in (_networkd, _network_manager, _dhcpcd, _ifupdown):
        command = manager(interface, run)
        if command is not None:
            return command
    raise DhcpRenewError(
        f"nothing known manages {interface}; wanted is systemd-networkd, NetworkManager, dhcpcd or ifupdown: "
        "restart the node, and it asks for its address anew"
    )
