# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names, addresses and MACs of a rack, out of its inventory and a bootptab file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._rack.bootptab import Entry, normal_mac
from ansible_collections.bramble.pi.plugins.plugin_utils._inventory import identity, rack_groups
from ansible_collections.bramble.pi.plugins.plugin_utils._inventory.addresses import (
    AddressError,
    parse_address,
    require_netaddr,
)


class LeasesError(BrambleError):
    """Inventory and bootptab do not work together, or one of them names something twice."""


class Host(NamedTuple):
    """What is known of a host; ``expected`` are those of the inventory."""

    name: str
    address: str
    mac: str = ""
    bootfile: str = ""
    expected: bool = True


def _is_address(text: str) -> bool:
    try:
        parse_address(text)
    except AddressError:
        return False
    return True


def inventory_hosts(
    *, hostvars: Mapping[str, Mapping[str, Any]], groups: Mapping[str, Sequence[str]]
) -> list[Host]:
    """Return the hosts of the rack's groups, and all others that have a MAC."""
    members = rack_groups.read(groups).members
    return [
        Host(
            name=identity.hostname(host, variables),
            address=identity.address(host, variables),
            mac=identity.mac(variables),
        )
        for host in dict.fromkeys([*members, *hostvars])
        for variables in [hostvars[host]]
        if host in members or identity.mac(variables)
    ]


def rack_leases(
    *,
    hostvars: Mapping[str, Mapping[str, Any]],
    groups: Mapping[str, Sequence[str]],
    bootptab: Sequence[Entry],
) -> list[Host]:
    """Return who gets which address, by inventory and bootptab."""
    require_netaddr()
    found, problems = merge(inventory=inventory_hosts(hostvars=hostvars, groups=groups), bootptab=bootptab)
    if problems:
        raise LeasesError("; ".join(problems))
    return found


def merge(*, inventory: Sequence[Host], bootptab: Sequence[Entry]) -> tuple[list[Host], list[str]]:
    """Join what inventory and bootptab say of the same hosts; return the hosts and what does not agree.

    Hosts without an address that could be given, such as those that the inventory knows by a name alone, are
    left out unless the bootptab has their address.
    """
    problems: list[str] = []
    merged: list[Host] = []
    entries = {entry.name.lower(): entry for entry in bootptab}
    for host in inventory:
        mac = normal_mac(host.mac) if host.mac else ""
        if mac is None:
            problems.append(
                f"{host.name}: rack_services_mac is {host.mac!r}; expected one of a device, like "
                "'b8:27:eb:5b:0d:0f' (in quotes)"
            )
            mac = ""
        entry = entries.pop(host.name.lower(), None)
        joined = host._replace(mac=mac, address=host.address if _is_address(host.address) else "")
        if entry is not None:
            for what, seen in (("address", joined.address), ("mac", joined.mac)):
                told = getattr(entry, what)
                if seen and seen != told:
                    problems.append(
                        f"{host.name}: its {what} is {seen} in the inventory, and {told} in line "
                        f"{entry.line} of rack_services_bootptab: set the right one in both"
                    )
            joined = joined._replace(address=entry.address, mac=entry.mac, bootfile=entry.bootfile)
        # A name that is itself an address is not a name.
        if joined.address and not _is_address(joined.name):
            merged.append(joined)
        elif joined.mac:
            problems.append(
                f"{host.name}: has a MAC, but no address or name of its own to give: set ansible_host to its "
                "address, and os_prep_hostname if the host is called by its address in the inventory"
            )
    merged += [
        Host(entry.name, entry.address, entry.mac, entry.bootfile, expected=False)
        for entry in entries.values()
    ]
    return merged, problems + _duplicates(merged)


def _duplicates(merged: Sequence[Host]) -> list[str]:
    problems = []
    for what, variable in (
        ("name", "os_prep_hostname"),
        ("address", identity.ADDRESS_VARIABLES),
        ("mac", "rack_services_mac"),
    ):
        seen: dict[str, Host] = {}
        for host in merged:
            value = getattr(host, what).lower()
            first = seen.setdefault(value, host)
            if value and first is not host:
                problems.append(
                    f"{host.name}: has the {what} {value}, as {first.name} has: set {variable} for one of "
                    "them, or correct rack_services_bootptab"
                )
    return problems
