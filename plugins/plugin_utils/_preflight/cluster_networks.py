# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of the networks of pods and services."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from ansible_collections.bramble.pi.plugins.plugin_utils._inventory.addresses import (
    parse_interface,
    parse_network,
)
from ansible_collections.bramble.pi.plugins.plugin_utils._preflight.rack import ALL, UNKNOWN, Finding, Rack

if TYPE_CHECKING:
    import netaddr

#: What kube-controller-manager cuts from the pod CIDR for each node.
NODE_PREFIX = 24
#: Docker's bridge, unless daemon.json says otherwise.
DOCKER_BRIDGE = "172.17.0.1/16"


def check_networks(rack: Rack) -> Iterator[Finding]:
    """Check the CIDRs by themselves, and that none of them overlaps another."""
    networks: dict[str, netaddr.IPNetwork] = {}
    told = {
        name: rack.cluster_value(name) for name in ("control_plane_pod_cidr", "control_plane_service_cidr")
    }
    for name, text in {**told, "preflight_node_network": rack.node_network or None}.items():
        if text is None:
            continue
        try:
            networks[name] = parse_network(text)
        except ValueError as error:
            yield Finding(f"{name} is {text!r}, which {error}; set it {ALL}")
    for name, value in told.items():
        for host in rack.nodes:
            own = rack.hosts[host].get(name)
            if own not in (None, UNKNOWN, value) and value is not None:
                yield Finding(
                    f"{name} is {own!r}, and {value!r} on the control plane: set it once, {ALL}", host
                )
    for (name, network), (other_name, other) in itertools.combinations(networks.items(), 2):
        if network in other or other in network:
            yield Finding(
                f"{name} {network} overlaps {other_name} {other}: set one of them {ALL} to a free network"
            )
    yield from _check_sizes(rack, networks)
    yield from _check_docker_bridge(rack, networks)


def _check_sizes(rack: Rack, networks: Mapping[str, netaddr.IPNetwork]) -> Iterator[Finding]:
    pods = networks.get("control_plane_pod_cidr")
    if pods is not None:
        room = 2 ** (NODE_PREFIX - pods.prefixlen) if pods.prefixlen <= NODE_PREFIX else 0
        if room < len(rack.nodes):
            needed = NODE_PREFIX - (len(rack.nodes) - 1).bit_length()
            yield Finding(
                f"control_plane_pod_cidr {pods} has room for {room} nodes (each takes a /{NODE_PREFIX}), and "
                f"there are {len(rack.nodes)}: set one of /{needed} or larger {ALL}"
            )
    services = networks.get("control_plane_service_cidr")
    # kube-apiserver takes no more than 20 bits, and kubeadm wants ten addresses.
    if services is not None and not 12 <= services.prefixlen <= 28:
        yield Finding(f"control_plane_service_cidr {services} has to be between /12 and /28: set it {ALL}")


def _check_docker_bridge(rack: Rack, networks: Mapping[str, netaddr.IPNetwork]) -> Iterator[Finding]:
    for host in rack.nodes:
        daemon_json = rack.value(host, "docker_daemon_json")
        bip = (daemon_json or {}).get("bip", DOCKER_BRIDGE)
        try:
            bridge = parse_interface(bip).cidr
        except ValueError as error:
            yield Finding(f"bip in docker_daemon_json is {bip!r}, which {error}", host)
            continue
        for name in ("control_plane_pod_cidr", "control_plane_service_cidr"):
            if name in networks and (networks[name] in bridge or bridge in networks[name]):
                yield Finding(
                    f"{name} {networks[name]} overlaps {bridge}, the network of Docker's own bridge: set "
                    f"another {ALL}, or move the bridge by bip in docker_daemon_json",
                    host,
                )
