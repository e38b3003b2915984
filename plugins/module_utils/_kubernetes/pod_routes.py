# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node needs so that pods reach each other over plain routes, decided from the table of nodes."""

from __future__ import annotations

import ipaddress
import json
from dataclasses import dataclass

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError

#: Marks our routes among all others, so that those of nodes that left are found again. Free in
#: https://github.com/iproute2/iproute2/blob/main/etc/iproute2/rt_protos
ROUTE_PROTOCOL = "177"
FORWARD_CHAIN = "BRAMBLE-FORWARD"
MASQUERADE_CHAIN = "BRAMBLE-MASQUERADE"

NETWORK_NAME = "bramble"
BRIDGE = "cni0"
CONFLIST = "/etc/cni/net.d/10-bramble.conflist"
SCRIPT = "/usr/local/sbin/bramble-pod-network"
UNIT_NAME = "bramble-pod-network.service"
UNIT = f"/etc/systemd/system/{UNIT_NAME}"


class PodNetworkError(BrambleError):
    """The table of nodes cannot be turned into routes."""


@dataclass(frozen=True)
class Node:
    """A node of the cluster: what the others have to know to reach its pods."""

    name: str
    pod_cidr: str
    address: str


@dataclass(frozen=True)
class Plan:
    """What one node has to have."""

    own: Node
    cluster_cidr: str
    #: {pod CIDR: address of the node that has it}, without the node itself.
    routes: dict[str, str]


def parse_table(text: str) -> list[dict[str, str]]:
    """Read lines of ``name pod-CIDR address``, as kubectl's jsonpath prints them; a missing CIDR is ''."""
    nodes = []
    for line in text.splitlines():
        if not line.strip():
            continue
        words = line.split()
        if len(words) == 2:
            words.insert(1, "")
        if len(words) != 3:
            raise PodNetworkError(f"seen the line {line!r}; expected name, pod CIDR and address of a node")
        nodes.append(dict(zip(("name", "pod_cidr", "address"), words)))
    return nodes


def _network(*, text: str, what: str) -> ipaddress.IPv4Network:
    try:
        return ipaddress.IPv4Network(text)
    except ValueError as error:
        raise PodNetworkError(
            f"{what} is {text!r}; expected an IPv4 network such as 10.244.0.0/16"
        ) from error


def make_plan(*, node: str, nodes: list[Node], cluster_cidr: str) -> Plan:
    """Check the table of nodes and find out what the named one needs."""
    whole = _network(text=cluster_cidr, what="cluster_cidr")
    seen: dict[ipaddress.IPv4Network, str] = {}
    for other in nodes:
        if not other.pod_cidr:
            raise PodNetworkError(
                f"the node {other.name} has no pod CIDR: the cluster was initialised without one. Set "
                "control_plane_pod_cidr, reset the cluster and bring it up again"
            )
        part = _network(text=other.pod_cidr, what=f"the pod CIDR of {other.name}")
        if not part.subnet_of(whole):
            raise PodNetworkError(
                f"the pod CIDR of {other.name} is {part}, which is not within {whole}: "
                "set control_plane_pod_cidr to what the cluster was initialised with"
            )
        for network, name in seen.items():
            if part.overlaps(network):
                raise PodNetworkError(
                    f"the pod CIDRs of {name} ({network}) and {other.name} ({part}) overlap"
                )
        seen[part] = other.name
        try:
            ipaddress.IPv4Address(other.address)
        except ValueError as error:
            raise PodNetworkError(
                f"the address of {other.name} is {other.address!r}; expected an IPv4 address"
            ) from error
    own = next((other for other in nodes if other.name == node), None)
    if own is None:
        names = ", ".join(other.name for other in nodes) or "none"
        raise PodNetworkError(f"the node {node} is not in the cluster, which has: {names}. Join it first")
    routes = {other.pod_cidr: other.address for other in nodes if other.name != node}
    return Plan(own=own, cluster_cidr=cluster_cidr, routes=routes)


def conflist(plan: Plan) -> str:
    """Return the CNI configuration: a bridge that holds the node's share of the pod network."""
    network = {
        # The oldest version that has plugin lists, because dockershim's CNI library is old.
        "cniVersion": "0.3.1",
        "name": NETWORK_NAME,
        "plugins": [
            {
                "type": "bridge",
                "bridge": BRIDGE,
                "isGateway": True,
                "ipMasq": False,
                "hairpinMode": True,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": plan.own.pod_cidr}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }
    return json.dumps(network, indent=2) + "\n"


def rules(plan: Plan) -> dict[str, dict[str, list[str]]]:
    """Return {table: {chain: rules}}, the rules in the form in which ``iptables -S`` prints them."""
    return {
        "filter": {
            FORWARD_CHAIN: [
                f"-A {FORWARD_CHAIN} -s {plan.cluster_cidr} -j ACCEPT",
                f"-A {FORWARD_CHAIN} -d {plan.cluster_cidr} -j ACCEPT",
            ]
        },
        "nat": {
            MASQUERADE_CHAIN: [
                f"-A {MASQUERADE_CHAIN} -s {plan.own.pod_cidr} ! -d {plan.cluster_cidr} -j MASQUERADE"
            ]
        },
    }


#: {table: (built-in chain, our chain that it jumps to)}
JUMPS = {"filter": ("FORWARD", FORWARD_CHAIN), "nat": ("POSTROUTING", MASQUERADE_CHAIN)}


def script(plan: Plan) -> str:
    """Return the program that puts routes and rules in place, at boot and whenever they change."""
    lines = [
        "#!/bin/sh",
        "# Routes to the pods of the other nodes, and the rules that let them through.",
        "# Written by bramble.pi.pod_routes; run by " + UNIT_NAME + ".",
        "set -eu",
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "",
        'if [ "${1:-start}" = stop ]; then',
        f"    ip -4 route flush proto {ROUTE_PROTOCOL}",
    ]
    for table, (hook, chain) in JUMPS.items():
        lines += [
            f"    iptables -w -t {table} -D {hook} -j {chain} 2>/dev/null || true",
            f"    iptables -w -t {table} -F {chain} 2>/dev/null || true",
            f"    iptables -w -t {table} -X {chain} 2>/dev/null || true",
        ]
    lines += [
        "    exit 0",
        "fi",
        "",
        # In the tables of iptables, because an accept in a table of our own would not outweigh Docker's
        # policy to drop what is forwarded.
        "# Naming a chain here empties it, so that this can be run again.",
        "iptables-restore -w --noflush <<'RULES'",
    ]
    for table, chains in rules(plan).items():
        lines.append(f"*{table}")
        for chain, entries in chains.items():
            lines += [f":{chain} - [0:0]", *entries]
        lines.append("COMMIT")
    lines.append("RULES")
    lines += [
        f"iptables -w -t {table} -C {hook} -j {chain} 2>/dev/null ||"
        f" iptables -w -t {table} -I {hook} -j {chain}"
        for table, (hook, chain) in JUMPS.items()
    ]
    lines += ["", f"ip -4 route flush proto {ROUTE_PROTOCOL}"]
    lines += [
        f"ip -4 route replace {cidr} via {address} proto {ROUTE_PROTOCOL}"
        for cidr, address in sorted(plan.routes.items())
    ]
    return "\n".join(lines) + "\n"


def unit() -> str:
    """Return the systemd unit that runs the script at boot."""
    return f"""\
[Unit]
Description=Routes to the pods of the other nodes
Wants=network-online.target
After=network-online.target docker.service
# The network of a Pi can come up late; a route needs it.
StartLimitIntervalSec=0

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={SCRIPT} start
ExecStop={SCRIPT} stop
Restart=on-failure
RestartSec=3

[Install]
WantedBy=multi-user.target
"""


def parse_routes(text: str) -> dict[str, str]:
    """Read ``ip -4 route show proto …``: {destination: gateway}."""
    routes = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 3 and words[1] == "via":
            # A network of one address is printed without its length.
            destination = words[0] if "/" in words[0] else f"{words[0]}/32"
            routes[destination] = words[2]
    return routes


def missing_rules(*, plan: Plan, printed: dict[tuple[str, str], str]) -> list[str]:
    """Compare what ``iptables -S`` printed, by table and chain, with what has to be there."""
    missing = []
    for table, chains in rules(plan).items():
        hook, chain = JUMPS[table]
        jump = f"-A {hook} -j {chain}"
        if jump not in printed.get((table, hook), "").splitlines():
            missing.append(f"{table}: {jump}")
        for name, entries in chains.items():
            present = [line for line in printed.get((table, name), "").splitlines() if line.startswith("-A ")]
            if present != entries:
                missing += [f"{table}: {entry}" for entry in entries]
    return missing
