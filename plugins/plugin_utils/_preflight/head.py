# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of the interfaces, of the head's Wi-Fi and of what the rack's services are told of themselves."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.bramble.pi.plugins.module_utils._network import interface_names, nat, wifi
from ansible_collections.bramble.pi.plugins.module_utils._rack import services
from ansible_collections.bramble.pi.plugins.plugin_utils._inventory.addresses import (
    AddressError,
    parse_address,
    parse_network,
)
from ansible_collections.bramble.pi.plugins.plugin_utils._preflight.rack import HEAD_GROUP, Finding, Rack

#: What the names of the Wi-Fi's variables begin with.
_WIFI = f"{HEAD_GROUP}_wifi"


def check_interfaces(rack: Rack) -> Iterator[Finding]:
    """Check that interfaces have names that they can have, and that the head has two."""
    for name, option in rack.options.items():
        if not name.endswith("_interface") or option.get("type") != "str":
            continue
        for host in rack.hosts:
            value = rack.value(host, name)
            problem = interface_names.problem(value, variable=name) if value is not None else None
            if problem:
                yield Finding(problem, host)
    for host in rack.heads:
        inner, outer = (rack.value(host, f"nat_headnode_{side}_interface") for side in ("inner", "outer"))
        # One that is not a name has been reported.
        if inner is not None and inner == outer:
            try:
                nat.check_names(inner=inner, outer=outer)
            except nat.NatError as error:
                yield Finding(str(error), host)


def check_wifi(rack: Rack) -> Iterator[Finding]:
    """Check the Wi-Fi that a head is to join."""
    for host in rack.heads:
        names = [f"{_WIFI}_{field}" for field in wifi.Wifi._fields]
        if rack.value(host, "nat_headnode_uplink") != "wifi" or any(
            rack.is_unknown(host, name) for name in names
        ):
            continue
        network = wifi.Wifi(*(rack.value(host, name) for name in names))
        if not network.ssid:
            yield Finding(
                f"nat_headnode_uplink is 'wifi', and {_WIFI}_ssid is not set: set it to the name "
                f"of the network in group_vars/{HEAD_GROUP}.yml, or nat_headnode_uplink to keep",
                host,
            )
        else:
            yield from (Finding(problem, host) for problem in wifi.problems(network, variables=_WIFI))


def check_own_services(rack: Rack) -> Iterator[Finding]:
    """Check where the rack's services are, and how long their leases last."""
    for host in rack.servers:
        text = rack.value(host, "rack_services_lease_time")
        try:
            if text is not None:
                services.check_lease_time(text=text)
        except services.RackServicesError as error:
            yield Finding(str(error), host)
        yield from _check_own_address(rack, host)


def _check_own_address(rack: Rack, host: str) -> Iterator[Finding]:
    own = rack.value(host, "rack_services_address")
    names = ("rack_services_address", "node_network_address", "os_prep_address", "ansible_host")
    if any(rack.is_unknown(host, name) for name in names):
        return
    address = own or rack.address(host)
    try:
        network = parse_network(str(rack.network or ""))
    except AddressError:
        return  # check_services reports it.
    if own is None and host in rack.nodes and network == rack.network:
        return  # check_host_addresses reports it.
    try:
        services.check_address(address=str(parse_address(address)), network=str(network))
    except services.RackServicesError as error:
        yield Finding(str(error), host)
    except AddressError as error:
        if own is not None or host not in [*rack.nodes, *rack.heads]:
            yield Finding(
                f"the address of the rack's services is {address!r}, which {error}: set "
                "rack_services_address",
                host,
            )
