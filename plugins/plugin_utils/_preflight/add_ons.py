# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of add-ons: entries, manifests on the controller, and the addresses that MetalLB may give away."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from ansible_collections.bramble.pi.plugins.plugin_utils._add_ons import entries, objects
from ansible_collections.bramble.pi.plugins.plugin_utils._preflight.owners import owners
from ansible_collections.bramble.pi.plugins.plugin_utils._preflight.rack import ALL, Finding, Rack

_Address = ipaddress.IPv4Address
_WISH = "ranges of addresses, such as ['10.0.0.200-10.0.0.220'], or networks, such as ['10.0.0.192/27']"


def check_add_ons(rack: Rack) -> Iterator[Finding]:
    """Check what the role add_ons is told."""
    given = rack.cluster_value("add_ons")
    if not given:
        return
    problems = list(entries.problems(given))
    yield from map(Finding, problems)
    if problems:
        return
    asked = entries.read(given)
    for entry in asked:
        yield from _check_manifests(rack, entry)
        if entry.name == "metallb":
            yield from _check_addresses(rack, entry.values["addresses"])


def _check_manifests(rack: Rack, entry: entries.Entry) -> Iterator[Finding]:
    """Read what is on the controller already; what comes over a network is checked when it is there."""
    paths = {source.url: entries.path_of(source.url) for source in entry.sources}
    missing = [path for path in paths.values() if path is not None and path not in rack.files]
    for path in missing:
        yield Finding(
            f"manifest of {entry.name} in add_ons is {path!r}, and there is no such file on the controller; "
            "expected "
            f'its whole path, such as "{{{{ inventory_dir }}}}/{entry.name}.yml": set add_ons {ALL}'
        )
    if missing or None in paths.values():
        return
    try:
        objects.objects(entry, {url: rack.files[path] for url, path in paths.items() if path is not None})
    except objects.ObjectsError as error:
        yield Finding(str(error))


def _check_addresses(rack: Rack, given: object) -> Iterator[Finding]:
    ranges = [given] if isinstance(given, str) else given
    name = "addresses in values of metallb in add_ons"
    if not isinstance(given, (list, tuple)) or not isinstance(ranges, (list, tuple)):
        yield Finding(f"{name} is {given!r}; expected a list of {_WISH}: set add_ons {ALL}")
        return
    seen: list[tuple[_Address, _Address]] = []
    for text in ranges:
        try:
            first, last = _range(str(text))
        except ValueError:
            yield Finding(f"{name} has {text!r}; expected {_WISH}: set add_ons {ALL}")
            continue
        yield from (
            Finding(f"{name} has {text}, {problem}: set add_ons {ALL}")
            for problem in _problems(rack, first, last)
        )
        if any(first <= end and start <= last for start, end in seen):
            yield Finding(
                f"{name} has {text}, of which a part is listed before; expected each once: set add_ons {ALL}"
            )
        seen.append((first, last))


def _range(text: str) -> tuple[_Address, _Address]:
    start, dash, end = (part.strip() for part in text.partition("-"))
    if not dash:
        network = ipaddress.IPv4Network(start)
        if "/" not in start:
            raise ValueError  # MetalLB takes no address alone.
        return network.network_address, network.broadcast_address
    first, last = _Address(start), _Address(end)
    if first > last:
        raise ValueError
    return first, last


def _problems(rack: Rack, first: _Address, last: _Address) -> Iterator[str]:
    if rack.network is not None:
        network = ipaddress.IPv4Network(str(rack.network))
        if first not in network or last not in network:
            yield f"which is not in preflight_node_network {network}; expected some of the rack's network"
        elif first == network.network_address or last == network.broadcast_address:
            yield f"with an address that no host can have in {network}; expected others"
    free = "expected addresses that nobody else has or is given"
    for owner in owners(rack, first, last):
        yield f"{owner}; {free}"
    for variable in ("control_plane_vip", "node_network_gateway"):
        values = dict.fromkeys(str(rack.value(host, variable) or "") for host in rack.nodes)
        for value in values:
            try:
                if first <= _Address(value) <= last:
                    yield f"with {value}, which is {variable}; {free}"
            except ValueError:
                continue  # Empty, or reported by the check of that variable.
