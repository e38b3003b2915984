# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of control_plane_vip: one address of the nodes' network, and nobody else's."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import vip
from ansible_collections.bramble.pi.plugins.module_utils._rack.services import RackServicesError, parse_range
from ansible_collections.bramble.pi.plugins.plugin_utils._inventory.addresses import parse_network
from ansible_collections.bramble.pi.plugins.plugin_utils._preflight.rack import ALL, Finding, Rack
from ansible_collections.bramble.pi.plugins.plugin_utils._preflight.rack_network import read_leases


def check_vip(rack: Rack) -> Iterator[Finding]:
    """Check that the control planes can have the address together."""
    text = rack.cluster_value("control_plane_vip")
    if not text:
        return
    try:
        address = vip.parse_address(text)
        if rack.network is not None:
            network = ipaddress.IPv4Network(str(rack.network))
            vip.check_network(text, network, name="preflight_node_network")
    except vip.VipError as error:
        yield Finding(str(error))
        return
    for owner in _owners(rack, address):
        yield Finding(
            f"control_plane_vip is {text}, {owner}; expected an address that nobody else has or is given: "
            f"set control_plane_vip {ALL}"
        )
    yield from _check_endpoint(rack, text)


def _owners(rack: Rack, address: ipaddress.IPv4Address) -> Iterator[str]:
    """Say whose the address is already, as far as the inventory tells."""
    text = str(address)
    for host in rack.hosts:
        if text in (rack.address(host), rack.outer_address(host)):
            yield f"the address of {host}"
    for name in ("control_plane_pod_cidr", "control_plane_service_cidr"):
        try:
            network = parse_network(rack.cluster_value(name))
        except ValueError:
            continue  # check_networks reports it.
        if address in ipaddress.IPv4Network(str(network)):
            yield f"in {name} {network}"
    for server in rack.servers:
        for lease in read_leases(rack, server)[0]:
            if lease.address == text and lease.name not in rack.hosts:
                yield f"the address of {lease.name} in rack_services_bootptab"
        given = rack.value(server, "rack_services_dhcp_range")
        try:
            first, last = parse_range(text=given) if given else ("", "")
        except RackServicesError:
            continue  # check_services reports it.
        if given and ipaddress.IPv4Address(str(first)) <= address <= ipaddress.IPv4Address(str(last)):
            yield f"in rack_services_dhcp_range {given}"


def _check_endpoint(rack: Rack, text: str) -> Iterator[Finding]:
    """Refuse an endpoint beside it that is another address, or another port than that of the API servers."""
    endpoint = rack.cluster_value("control_plane_endpoint")
    name, _colon, port = str(endpoint or "").partition(":")
    try:
        ipaddress.IPv4Address(name)
    except ValueError:
        return  # None, or a name, which may be the address's.
    if (name, port or str(vip.PORT)) != (text, str(vip.PORT)):
        yield Finding(
            f"control_plane_endpoint is {endpoint!r}, and control_plane_vip is {text}; expected the same "
            f"address with port {vip.PORT}, or a name of it: set control_plane_endpoint to an empty text "
            f"{ALL}"
        )
