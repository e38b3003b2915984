# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node's static address: what is expected, and what the kernel has."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Collection, Sequence
from typing import NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._network import interface_names

_DOMAIN = re.compile(
    r"(?=.{1,253}\Z)[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9])?)*"
)


class NetworkError(BrambleError):
    """The network cannot be configured as it is to be."""


class Settings(NamedTuple):
    """What an interface is to have."""

    interface: str
    address: ipaddress.IPv4Interface
    gateway: ipaddress.IPv4Address | None
    resolvers: tuple[str, ...]
    search: tuple[str, ...]


class State(NamedTuple):
    """What an interface has."""

    addresses: tuple[str, ...]
    gateways: tuple[str, ...]


def _address(text: str) -> ipaddress.IPv4Interface:
    expected = "expected an address with its prefix, like 192.168.1.11/24: set node_network_address"
    try:
        address = ipaddress.IPv4Interface(text)
    except ValueError:
        raise NetworkError(f"the address is {text!r}; {expected}") from None
    network = address.network
    if "/" not in text or not 8 <= network.prefixlen <= 30:
        raise NetworkError(f"the address {text} has no prefix from /8 to /30; {expected}")
    if address.ip in (network.network_address, network.broadcast_address):
        raise NetworkError(
            f"the address {text} is the network's own or its broadcast address; expected one of "
            f"{network[1]} to {network[-2]}: set node_network_address"
        )
    if address.is_multicast or address.is_loopback or address.is_unspecified or address.is_reserved:
        raise NetworkError(f"{text} cannot be the address of a node; {expected}")
    return address


def _gateway(text: str, address: ipaddress.IPv4Interface) -> ipaddress.IPv4Address | None:
    if not text:
        return None
    network = address.network
    try:
        gateway = ipaddress.IPv4Address(text)
    except ValueError:
        gateway = None
    if (
        gateway is None
        or gateway not in network
        or gateway in (address.ip, network.network_address, network.broadcast_address)
    ):
        raise NetworkError(
            f"the gateway is {text!r}; expected another machine of {network}, the network of {address}: set "
            "node_network_gateway, or the prefix in node_network_address"
        )
    return gateway


def settings(
    *,
    interface: str,
    address: str,
    gateway: str,
    resolvers: Sequence[str],
    search: Sequence[str],
    existing: Collection[str],
) -> Settings:
    """Read what is expected; refuse what no node can have."""
    problem = interface_names.problem(interface, variable="node_network_interface")
    if problem:
        raise NetworkError(problem)
    if interface not in existing:
        there = ", ".join(sorted(set(existing) - {"lo"})) or "none"
        raise NetworkError(
            f"the interface is {interface!r}, and the node has no such interface; expected one of {there}: "
            "set node_network_interface"
        )
    parsed = _address(address)
    for resolver in resolvers:
        try:
            ipaddress.IPv4Address(resolver)
        except ValueError:
            raise NetworkError(
                f"the resolver is {resolver!r}; expected an IPv4 address like 192.168.1.1: set "
                "node_network_resolvers"
            ) from None
    for domain in search:
        if _DOMAIN.fullmatch(domain) is None:
            raise NetworkError(
                f"the search domain is {domain!r}; expected a domain like rack.example.org: set "
                "node_network_search"
            )
    return Settings(interface, parsed, _gateway(gateway, parsed), tuple(resolvers), tuple(search))


def state(*, addresses: str, routes: str) -> State:
    """Read C(ip -j -4 address show dev X) and C(ip -j -4 route show default dev X)."""
    return State(
        tuple(
            f"{entry['local']}/{entry['prefixlen']}"
            for link in json.loads(addresses or "[]")
            for entry in link.get("addr_info", [])
            if entry.get("scope") == "global"
        ),
        tuple(route["gateway"] for route in json.loads(routes or "[]") if "gateway" in route),
    )


def shortcomings(*, settings: Settings, state: State) -> list[str]:
    """Say in which ways an interface has not what is expected."""
    found = []
    name = settings.interface
    if str(settings.address) not in state.addresses:
        found.append(
            f"{name} has {' and '.join(state.addresses) or 'no address'}; expected {settings.address}"
        )
    gateways = (str(settings.gateway),) if settings.gateway else ()
    if set(state.gateways) != set(gateways):
        found.append(
            f"the gateway of {name} is {' and '.join(state.gateways) or 'none'}; expected "
            f"{settings.gateway or 'none'}"
        )
    return found


def check_cluster(*, settings: Settings, state: State, kubernetes: str) -> None:
    """Refuse to move a node of a running cluster."""
    if (
        kubernetes == "absent"
        or not state.addresses
        or str(settings.address.ip) in (address.partition("/")[0] for address in state.addresses)
    ):
        return
    seen = " and ".join(state.addresses)
    problem = (
        f"{settings.interface} has {seen}; expected {settings.address}, and the node is part of a "
        f"Kubernetes cluster ({kubernetes}), whose certificates and etcd hold its address; nothing was "
        "changed. Set node_network_address to the address that it has, or"
    )
    if kubernetes == "worker":
        raise NetworkError(
            f"{problem} take it out with playbooks/reset.yml and --limit, change the address, and join it "
            "again with site.yml"
        )
    raise NetworkError(
        f"{problem} rebuild the control plane: reset the cluster with playbooks/reset.yml, change the "
        "address, and run site.yml"
    )
