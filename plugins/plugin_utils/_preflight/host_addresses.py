# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of the hosts' addresses: where Ansible reaches them, and where they reach each other."""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import TYPE_CHECKING

from ansible_collections.bramble.pi.plugins.plugin_utils._inventory.addresses import (
    AddressError,
    check_host,
    parse_address,
    parse_network,
)
from ansible_collections.bramble.pi.plugins.plugin_utils._preflight.rack import (
    ALL,
    Finding,
    Rack,
    is_template,
)

if TYPE_CHECKING:
    import netaddr

WHERE = "in host_vars or for the host in hosts.yml"


def check_host_addresses(rack: Rack) -> Iterator[Finding]:
    """Check where Ansible reaches the hosts and where they reach each other, and that no machine is two."""
    wrong = set()
    for host in dict.fromkeys([*rack.nodes, *rack.heads, *rack.servers]):
        for name in ("ansible_host", "os_prep_address"):
            text = rack.value(host, name)
            if not text or is_template(text) or rack.is_local(host):
                continue
            try:
                check_host(text)
            except AddressError as error:
                wrong.add(host)
                yield Finding(f"{name} is {text!r}, which {error}: set {name} {WHERE}", host)
    yield from _check_ways_in(rack, wrong)
    yield from _check_in_the_rack(rack, wrong)


def _check_ways_in(rack: Rack, wrong: Container[str]) -> Iterator[Finding]:
    seen: dict[tuple[str, int], str] = {}
    for host in dict.fromkeys([*rack.nodes, *rack.heads]):
        text = rack.outer_address(host)
        later = any(rack.is_unknown(host, name) for name in ("ansible_host", "ansible_port"))
        if host in wrong or later or rack.is_local(host):
            continue
        way = (text.lower().rstrip("."), rack.ssh_port(host))
        other = seen.setdefault(way, host)
        # Where the nodes' own addresses are the same too, that is said of these.
        if other != host and rack.address(other) != rack.address(host):
            yield Finding(
                f"ansible_host is {text!r}, as that of {other}; expected one for each: set ansible_host, or "
                f"ansible_port, {WHERE}",
                host,
            )


def _is_static(rack: Rack, host: str) -> bool:
    """Tell whether it is the address of node_network_address, which check_static_addresses looks at."""
    return rack.address_variable(host) == "node_network_address"


def _check_in_the_rack(rack: Rack, wrong: Container[str]) -> Iterator[Finding]:
    seen: dict[str, str] = {}
    for host in dict.fromkeys([*rack.nodes, *rack.heads]):
        text = rack.address(host)
        own = rack.inner_address(host)
        ways = ("os_prep_address",) if own else ("os_prep_address", "node_network_address", "ansible_host")
        if host in wrong or any(rack.is_unknown(host, name) for name in ways):
            continue
        try:
            address = parse_address(text)
        except ValueError as error:
            if _is_static(rack, host):
                continue
            yield Finding(
                f"the node's address is {text!r}, which {error}, as the others have it in /etc/hosts: set "
                f"os_prep_address {WHERE}, or ansible_host",
                host,
            )
            continue
        if not own and host not in rack.nodes:
            continue  # The head's address outside, which check_head looks at.
        other = seen.setdefault(str(address), host)
        if other != host:
            yield Finding(
                f"has the address {address}, as {other} has: set {rack.address_variable(host)} {WHERE}", host
            )
        yield from _check_networks(rack, host, address)


def _check_networks(rack: Rack, host: str, address: netaddr.IPAddress) -> Iterator[Finding]:
    for name in ("control_plane_pod_cidr", "control_plane_service_cidr"):
        try:
            network = parse_network(rack.cluster_value(name))
        except ValueError:
            continue  # check_networks reports it.
        if address in network:
            yield Finding(
                f"{name} {network} takes in the node's address {address}: set another network {ALL}", host
            )
    nodes = rack.network
    if nodes is None or _is_static(rack, host):
        return
    if address not in nodes or address in (nodes.network, nodes.broadcast):
        yield Finding(
            f"has the address {address}, which no node can have in preflight_node_network {nodes}: set "
            f"ansible_host or os_prep_address, or preflight_node_network {ALL}",
            host,
        )
