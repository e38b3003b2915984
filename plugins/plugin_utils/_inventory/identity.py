# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who a host of the inventory is, and where it and its runtime are reached: nothing else reads this of them.

A variable that is empty or null counts as left out.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

import jinja2
from ansible_collections.bramble.pi.plugins.module_utils._rack.bootptab import normal_mac
from ansible_collections.bramble.pi.plugins.module_utils._ssh.known_hosts import SSH_PORT

#: Where a host's address may stand in the inventory, for who knows only the address.
ADDRESS_VARIABLES = "os_prep_address, node_network_address or ansible_host"


def _text(variables: Mapping[str, Any], name: str) -> str:
    return str(variables.get(name) or "")


def hostname(host: str, variables: Mapping[str, Any]) -> str:
    """Return the name that a host has or will have, be it from a card, a netboot tree or the role os_prep."""
    return str(_name(host, variables))


def _name(host: str, variables: Mapping[str, Any]) -> Any:
    """Return the name as the inventory has it, be it no text, which the role flash has a word on."""
    return variables.get("os_prep_hostname") or host


def outer_address(host: str, variables: Mapping[str, Any]) -> str:
    """Return where Ansible reaches a host: an address, or a name that stands for it."""
    return _text(variables, "ansible_host") or host


def address(host: str, variables: Mapping[str, Any]) -> str:
    """Return where the other hosts of the rack reach a host: an address, or a name that stands for it."""
    return inner_address(variables) or outer_address(host, variables)


def inner_address(variables: Mapping[str, Any]) -> str:
    """Return the address in the rack that is told apart from Ansible's; empty if none is.

    Where node_network_address is not an address with a prefix, preflight and the role say so.
    """
    # Not read where it does not count: it may be made of facts that this run does not have.
    return _text(variables, "os_prep_address") or _static_address(_text(variables, "node_network_address"))


def _static_address(text: str) -> str:
    try:
        return str(ipaddress.IPv4Interface(text).ip) if "/" in text else ""
    except ValueError:
        return ""


def address_variable(variables: Mapping[str, Any]) -> str:
    """Name the variable, or variables, in which a host's address can be corrected."""
    if _text(variables, "os_prep_address"):
        return "os_prep_address"
    return "node_network_address" if inner_address(variables) else "ansible_host or os_prep_address"


def mac(variables: Mapping[str, Any]) -> str:
    """Return the MAC by which a host is given its address; what is none stays as it is."""
    text = _text(variables, "rack_services_mac")
    return normal_mac(text) or text


def ssh_port(variables: Mapping[str, Any]) -> int:
    """Return the port that a host's sshd listens at."""
    return int(variables.get("ansible_port") or SSH_PORT)


def user(variables: Mapping[str, Any]) -> str:
    """Return the user to log in as by ssh, whose keys the role ssh_access adds; empty if it is not set."""
    return _text(variables, "ssh_access_user") or _text(variables, "ansible_user")


def cri_socket(variables: Mapping[str, Any]) -> str:
    """Return the socket of the container runtime that is set for a host; empty where its version decides."""
    role = "control_plane" if "control_plane" in variables.get("group_names", ()) else "workers"
    value = variables.get(f"{role}_cri_socket")
    # Made of what only the role has, such as its version: as the role's own default, which is that.
    return "" if isinstance(value, jinja2.runtime.Undefined) else str(value or "")


def is_local(variables: Mapping[str, Any]) -> bool:
    """Tell whether a host is this machine itself."""
    return _text(variables, "ansible_connection") == "local"


def summary(host: str, variables: Mapping[str, Any]) -> dict[str, Any]:
    """Return what roles ask for of a host."""
    return {
        "name": _name(host, variables),
        "address": address(host, variables),
        "outer_address": outer_address(host, variables),
        "ssh_port": ssh_port(variables),
        "cri_socket": cri_socket(variables),
    }
