# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The nodes that boot over the network, and what the server gives to each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.bramble.pi.plugins.plugin_utils._inventory import identity

_GROUP = "netboot"


def netboot_clients(
    *, hostvars: Mapping[str, Mapping[str, Any]], groups: Mapping[str, Sequence[str]], folder: str
) -> dict[str, list[dict[str, Any]]]:
    """Return the nodes of the group ``netboot``, and the folders of each with the addresses they are for."""
    nodes = []
    for host in groups.get(_GROUP, ()):
        variables = hostvars[host]
        name = identity.hostname(host, variables)
        nodes.append(
            {
                "name": name,
                # As the role rack_services tags the host in dnsmasq.
                "tag": name.partition(".")[0],
                "address": identity.address(host, variables),
                "mac": identity.mac(variables),
                "serial": str(variables["netboot_tree_serial"]),
            }
        )
    exports = [
        {"path": f"{folder}/{path}", "addresses": [node["address"]]}
        for node in nodes
        for path in (f"nfs/{node['name']}", f"tftp/{node['serial']}")
    ]
    return {"nodes": nodes, "exports": exports}
