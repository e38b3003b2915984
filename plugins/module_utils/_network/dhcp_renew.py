# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Have an interface's DHCP client ask for an address again, by whatever manages the interface."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ansible_collections.bramble.pi.plugins.module_utils._common.addresses import without_prefix
from ansible_collections.bramble.pi.plugins.module_utils._network import detect
from ansible_collections.bramble.pi.plugins.module_utils._network.node import Node
from ansible_collections.bramble.pi.plugins.module_utils._network.settings import NetworkError


def interface_of(*, address: str, interfaces: Mapping[str, Collection[str]]) -> str:
    """Return the interface that has the address."""
    for name, addresses in interfaces.items():
        if address in map(without_prefix, addresses):
            return name
    raise NetworkError(f"no interface has the address {address}; expected the one that its lease is for")


def renew_command(*, node: Node, interface: str) -> list[str]:
    """Return the command of what manages the interface."""
    claim = detect.to_renew(node=node, interface=interface)
    return detect.MANAGERS[claim.name].renew(interface=interface, claim=claim)
