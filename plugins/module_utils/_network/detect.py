# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The managers that there are, and which of them an interface belongs to."""

from __future__ import annotations

from collections.abc import Sequence

from ansible_collections.bramble.pi.plugins.module_utils._network.dhcpcd import Dhcpcd
from ansible_collections.bramble.pi.plugins.module_utils._network.ifupdown import Ifupdown
from ansible_collections.bramble.pi.plugins.module_utils._network.manager import (
    DHCPCD,
    IFUPDOWN,
    NETPLAN,
    NETWORKD,
    NETWORKMANAGER,
    Claim,
    Manager,
)
from ansible_collections.bramble.pi.plugins.module_utils._network.netplan import Netplan
from ansible_collections.bramble.pi.plugins.module_utils._network.networkd import Networkd
from ansible_collections.bramble.pi.plugins.module_utils._network.networkmanager import NetworkManager
from ansible_collections.bramble.pi.plugins.module_utils._network.node import Node
from ansible_collections.bramble.pi.plugins.module_utils._network.settings import NetworkError

MANAGERS: dict[str, Manager] = {
    manager.name: manager for manager in (Ifupdown(), Netplan(), NetworkManager(), Dhcpcd(), Networkd())
}

#: Who is asked first where several could connect a head to the outside, or renew a lease.
_UPLINK_ORDER = (NETWORKMANAGER, NETPLAN, DHCPCD, IFUPDOWN, NETWORKD)
_RENEW_ORDER = (NETWORKD, NETWORKMANAGER, DHCPCD, IFUPDOWN)


def find(*, node: Node, interface: str) -> list[Claim]:
    """Find what configures the interface, by what runs."""
    found = (manager.detect(node=node, interface=interface) for manager in MANAGERS.values())
    return [claim for claim in found if claim]


def choose(*, interface: str, manager: str, found: Sequence[Claim]) -> tuple[Claim, list[str]]:
    """Choose the manager in charge, if it is to be found; name the others that claim the interface."""
    if manager == "auto":
        if len(found) == 1:
            return found[0], []
        if found:
            claims = "; ".join(f"{claim.name} ({claim.why})" for claim in found)
            raise NetworkError(
                f"{interface} is claimed by {claims}; expected one: switch the other off on the node "
                "(systemctl disable --now, or take the interface out of its files), or set "
                "node_network_manager to the one that is to keep it"
            )
        raise NetworkError(
            f"nothing that configures {interface} was found running; looked for {', '.join(MANAGERS)}: is it "
            "plugged in? Set node_network_manager to the one that is to configure it"
        )
    others = [
        f"{claim.name} configures {interface} too ({claim.why}); node_network_manager is {manager}: "
        f"switch {claim.name} off on the node"
        for claim in found
        if claim.name != manager
    ]
    for claim in found:
        if claim.name == manager:
            return claim, others
    return Claim(manager, MANAGERS[manager].backend, "node_network_manager says so"), others


def for_uplink(*, node: Node, interface: str) -> Manager:
    """Return the manager that an interface to the outside belongs to, or would if it were configured."""
    # Profiles that NetworkManager has from netplan, and ours beside them, are all the same to it.
    names = {
        claim.backend if claim.backend == NETWORKMANAGER else claim.name
        for claim in find(node=node, interface=interface)
    }
    for name in _UPLINK_ORDER:
        if name in names or (not names and MANAGERS[name].is_available(node=node)):
            return MANAGERS[name]
    raise NetworkError(
        "no network manager was found; expected NetworkManager, netplan, dhcpcd, ifupdown or "
        "systemd-networkd: install one of them, or configure the interface to the outside by hand "
        "(nat_headnode_uplink: keep)"
    )


def to_renew(*, node: Node, interface: str) -> Claim:
    """Return the manager that can renew the interface's lease."""
    claims = {claim.backend: claim for claim in find(node=node, interface=interface)}
    for backend in _RENEW_ORDER:
        if backend in claims:
            return claims[backend]
    raise NetworkError(
        f"nothing known manages {interface}; expected systemd-networkd, NetworkManager, dhcpcd or "
        "ifupdown: restart the node, and it asks for its address again"
    )
