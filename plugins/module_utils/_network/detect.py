# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which program configures an interface, by what is running now."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._network.settings import NetworkError

IFUPDOWN = "ifupdown"
NETPLAN = "netplan"
NETWORKMANAGER = "networkmanager"
DHCPCD = "dhcpcd"
NETWORKD = "networkd"
MANAGERS = (IFUPDOWN, NETPLAN, NETWORKMANAGER, DHCPCD, NETWORKD)

_NETPLAN_NETWORK = "/run/systemd/network/10-netplan-"
_NETPLAN_PROFILE = "/run/NetworkManager/system-connections/netplan-"


class Manager(NamedTuple):
    """A program that configures the interface."""

    name: str
    # "networkd" or "networkmanager" behind netplan, else the same as the name.
    backend: str
    # How it is known.
    why: str
    # The file with the interface's configuration, and NetworkManager's uuid of it.
    file: str = ""
    uuid: str = ""


def ifupdown(*, interface: str, ifstate: str) -> Manager | None:
    """Look at the interfaces that ifup has brought up."""
    for line in ifstate.splitlines():
        physical, equals, logical = line.strip().partition("=")
        if equals and physical == interface:
            return Manager(IFUPDOWN, IFUPDOWN, f"ifup has brought it up as {logical}")
    return None


def _fields(text: str) -> dict[str, str]:
    rows = (line.partition(":") for line in text.splitlines())
    return {key.strip(): value.strip().replace("\\:", ":") for key, colon, value in rows if colon}


def networkmanager(*, device: str, profiles: str) -> Manager | None:
    """Read C(nmcli -t -f GENERAL device show X) and C(nmcli -t -f UUID,FILENAME connection show).

    A device that somebody else has configured is managed as well, and "connected (externally)".
    """
    general = _fields(device)
    state = general.get("GENERAL.STATE", "")
    if general.get("GENERAL.NM-MANAGED", "yes") != "yes" or "unmanaged" in state or "externally" in state:
        return None
    if not state:
        return None
    uuid = general.get("GENERAL.CON-UUID", "")
    file = _fields(profiles).get(uuid, "") if uuid else ""
    name = NETPLAN if file.startswith(_NETPLAN_PROFILE) else NETWORKMANAGER
    profile = general.get("GENERAL.CONNECTION", "") or "no profile"
    return Manager(name, NETWORKMANAGER, f"NetworkManager: {state}, {profile}", file, uuid)


def networkd(*, status: str) -> Manager | None:
    """Read C(networkctl status X)."""
    fields = _fields(status)
    match = re.search(r"\((.*)\)", fields.get("State", ""))
    file = fields.get("Network File", "n/a")
    if match is None or match.group(1) in ("unmanaged", "pending", "initialized") or not file.startswith("/"):
        return None
    name = NETPLAN if file.startswith(_NETPLAN_NETWORK) else NETWORKD
    return Manager(name, NETWORKD, f"systemd-networkd: {match.group(1)} by {file}", file)


def dhcpcd(*, interface: str, configuration: str) -> Manager | None:
    """Read the configuration of the dhcpcd for all interfaces; it takes each that it is not denied."""
    denied = False
    allowed: list[str] = []
    for line in configuration.splitlines():
        words = line.replace(",", " ").split()
        if words[:1] == ["denyinterfaces"]:
            denied |= any(fnmatch.fnmatchcase(interface, pattern) for pattern in words[1:])
        elif words[:1] == ["allowinterfaces"]:
            allowed += words[1:]
    if denied or (allowed and not any(fnmatch.fnmatchcase(interface, pattern) for pattern in allowed)):
        return None
    return Manager(DHCPCD, DHCPCD, "dhcpcd runs for all interfaces that dhcpcd.conf does not deny it")


def choose(
    *, interface: str, wanted: str, found: Sequence[Manager], backends: Mapping[str, str]
) -> tuple[Manager, list[str]]:
    """Choose the manager in charge; name the others that claim the interface."""
    if wanted == "auto":
        if len(found) == 1:
            return found[0], []
        if found:
            claims = "; ".join(f"{manager.name} ({manager.why})" for manager in found)
            raise NetworkError(
                f"{interface} is claimed by {claims}; wanted is one: switch the other off on the node "
                "(systemctl disable --now, or take the interface out of its files), or set "
                "node_network_manager to the one that is to keep it"
            )
        raise NetworkError(
            f"nothing that configures {interface} was found running; looked for {', '.join(MANAGERS)}: is it "
            "plugged in? Set node_network_manager to the one that is to configure it"
        )
    others = [
        f"{manager.name} configures {interface} too ({manager.why}); node_network_manager is {wanted}: "
        f"switch {manager.name} off on the node"
        for manager in found
        if manager.name != wanted
    ]
    for manager in found:
        if manager.name == wanted:
            return manager, others
    return Manager(wanted, backends.get(wanted, wanted), "node_network_manager says so"), others
