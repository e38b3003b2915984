# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The nodes that get copies of a control plane's backups, by backup_copy_to, and where they are reached."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._backup.copies import HOST_NAME
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.plugin_utils._inventory import identity

_SET = "set backup_copy_to in your inventory"


class ReceiverError(BrambleError):
    """A node that cannot get copies; the message says which one, and what fixes it."""


def receivers(
    *, host: str, names: Sequence[str], hosts: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return the nodes that a host sends its backups to, as the modules take them."""
    others = [name for name in dict.fromkeys(names) if name != host]
    if names and not others:
        raise ReceiverError(
            f"backup_copy_to is {list(names)}, which is {host} itself; expected another node as well, as its"
            f" card takes all on it along: {_SET}"
        )
    for name in [host, *others] if others else []:
        if not HOST_NAME.fullmatch(name):
            raise ReceiverError(
                f"a host that sends or gets copies is called {name!r}; expected letters, digits and _.-:"
                " rename it in the inventory"
            )
    return [_receiver(host, name, hosts) for name in others]


def _receiver(host: str, name: str, hosts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    if name not in hosts:
        raise ReceiverError(
            f"backup_copy_to has {name!r}, which is no host of the inventory; expected the name of one:"
            f" {_SET}"
        )
    address = identity.address(name, hosts[name])
    if _is_loopback(address):
        raise ReceiverError(
            f"backup_copy_to has {name!r}, which is reached at {address}; expected an address at which {host}"
            f" reaches it: set {identity.address_variable(hosts[name])} of {name}"
        )
    if host in hosts and address == identity.address(host, hosts[host]):
        raise ReceiverError(
            f"backup_copy_to has {name!r}, which has the address of {host}, {address}; expected another node,"
            f" as the card of {host} takes all on it along: {_SET}"
        )
    return {"name": name, "address": address, "port": identity.ssh_port(hosts[name])}


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"
