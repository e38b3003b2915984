# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ssh session that this process belongs to, and the interface that it comes by."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
from typing import NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text
from ansible_collections.bramble.pi.plugins.module_utils._network.node import Node


class Session(NamedTuple):
    """Both ends of a session, empty without one, and the process of its command."""

    address: str
    process: int
    client: str


def ssh_session() -> Session:
    """Find the session of the controller: the address of this node that it came to, and the rest.

    sudo takes the variable away; the shell that called it still has it.
    """
    client, address, process = "", "", os.getpid()
    while True:
        with contextlib.suppress(OSError), open(f"/proc/{process}/environ", "rb") as file:
            for variable in file.read().split(b"\0"):
                if variable.startswith(b"SSH_CONNECTION=") and not address:
                    ends = variable.partition(b"=")[2].decode(errors="replace").split()
                    client, _port, address = ends[:3] if len(ends) == 4 else ("", "", "")
        # The name, in brackets, may have blanks; the parent is the second field after it.
        parent = int((read_text(f"/proc/{process}/stat") or ") ? 0").rpartition(")")[2].split()[1])
        if parent <= 1 or (read_text(f"/proc/{parent}/comm") or "").startswith("sshd"):
            return Session(address, process, client)
        process = parent


def _split(text: str) -> tuple[str, str]:
    """Return an address as the kernel writes it, and the interface that a link-local one names."""
    plain, _percent, scope = text.partition("%")
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(plain)
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        return str(mapped or address), scope
    return plain, scope


def comes_by(*, node: Node, session: Session, interface: str) -> bool:
    """Tell whether a session would end with an interface: by its address, or by the way of the answers."""
    if not session.address:
        return False
    address, scope = _split(session.address)
    client, client_scope = _split(session.client)
    carriers = {scope, client_scope}
    for link in json.loads(node.output("ip", "-json", "address", "show") or "[]"):
        if not scope and any(entry.get("local") == address for entry in link.get("addr_info", ())):
            carriers.add(link["ifname"])
    if not client_scope:
        routes = json.loads(node.output("ip", "-json", "route", "get", client) or "[]")
        carriers |= {route.get("dev", "") for route in routes}
    # A port of a bridge carries what the bridge does, as does the interface that a VLAN is on.
    return any(
        name == interface or node.exists(f"/sys/class/net/{name}/lower_{interface}")
        for name in carriers - {""}
    )
