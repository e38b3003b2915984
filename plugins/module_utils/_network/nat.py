# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Forwarding and NAT for a rack behind its head node: the files that hold them."""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Collection, Mapping
from typing import NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._common.files import MANAGED
from ansible_collections.bramble.pi.plugins.module_utils._network import interface_names

RULES = "/etc/bramble/nat.nft"
IPTABLES_RULES = "/etc/bramble/nat.iptables"
SYSCTL = "/etc/sysctl.d/90-bramble-nat.conf"
UNIT = "bramble-nat.service"
UNIT_PATH = f"/etc/systemd/system/{UNIT}"

OFF = "off"
ROUTED = "routed"

TABLE = "bramble_nat"
CHAIN = "BRAMBLE-NAT"


class NatError(BrambleError):
    """Interfaces that cannot be used."""


class Programs(NamedTuple):
    """Paths of the programs that load the rules."""

    nft: str
    iptables: str
    iptables_restore: str
    ip6tables: str
    ip6tables_restore: str


def check_names(*, inner: str, outer: str) -> None:
    """Refuse interfaces that are the same, or none."""
    for option, name in (("inner_interface", inner), ("outer_interface", outer)):
        problem = interface_names.problem(name, variable=f"nat_headnode_{option}")
        if problem:
            raise NatError(problem)
    if inner == outer:
        raise NatError(
            f"nat_headnode_inner_interface and nat_headnode_outer_interface are both {inner!r}; expected "
            "two, the one to the rack and the one to the outside: set nat_headnode_inner_interface and "
            "nat_headnode_outer_interface in group_vars/nat_headnode.yml"
        )


def check_interfaces(*, inner: str, outer: str, existing: Collection[str]) -> None:
    """Refuse interfaces that are the same, or not there."""
    check_names(inner=inner, outer=outer)
    for option, name in (("inner_interface", inner), ("outer_interface", outer)):
        if name not in existing:
            there = ", ".join(sorted(set(existing) - {"lo"})) or "none"
            raise NatError(
                f"{option} is {name!r}, and the node has no such interface; expected one of {there}: set "
                f"nat_headnode_{option}"
            )


def check_networks(
    *,
    inner: str,
    outer: str,
    addresses: Mapping[str, Collection[str]],
    cluster_networks: Collection[str],
) -> None:
    """Refuse sides that overlap each other, or a network of the cluster.

    ``addresses`` are those that the interfaces have now, with their prefixes, by the interface's name.
    """
    sides = {
        side: [ipaddress.IPv4Interface(address) for address in addresses.get(side, ())]
        for side in (inner, outer)
    }
    for inside, outside in itertools.product(sides[inner], sides[outer]):
        if inside.network.overlaps(outside.network):
            raise NatError(
                f"{inner} has the address {inside} and {outer} has {outside}; expected two networks that "
                "do not overlap: give the rack one of its own, by preflight_node_network in "
                "group_vars/all.yml and the addresses of its nodes"
            )
    for text, (side, its_addresses) in itertools.product(cluster_networks, sides.items()):
        network = ipaddress.IPv4Network(text)
        for address in its_addresses:
            if network.overlaps(address.network):
                raise NatError(
                    f"{side} has the address {address}, which overlaps {text}, a network of the cluster; "
                    "expected a free one: set another control_plane_pod_cidr or control_plane_service_cidr "
                    "in group_vars/all.yml"
                )


def nftables_rules(*, inner: str, outer: str, ipv6: str) -> str:
    """Rules in a table of their own; loading them again replaces them."""
    ipv6_out = (
        ""
        if ipv6 == ROUTED
        else f"""        # IPv6 ends here, at once and not by a time-out.
        meta nfproto ipv6 iifname "{inner}" oifname "{outer}" reject
"""
    )
    return f"""{MANAGED}
# Declared first, so that the table can be deleted whether it was there or not.
table inet {TABLE}
delete table inet {TABLE}

table inet {TABLE} {{
    chain postrouting {{
        type nat hook postrouting priority 100; policy accept;
        meta nfproto ipv4 oifname "{outer}" masquerade
    }}

    # What was asked for from here may come back, and what was sent to a port that is forwarded may pass;
    # nothing else that comes in from outside is forwarded, neither to the rack nor to pods on it.
    chain forward {{
        type filter hook forward priority 0; policy accept;
        iifname "{outer}" ct state related,established accept
        iifname "{outer}" ct status dnat accept
        iifname "{outer}" drop
{ipv6_out}    }}

    # The head answers from outside at its address there, and not at the one that the rack knows it by: what
    # listens at that one, such as the rack's name server, is for the rack alone.
    chain input {{
        type filter hook input priority 0; policy accept;
        iifname "{outer}" ct status dnat accept
        iifname "{outer}" fib daddr . iif type != {{ local, broadcast, multicast, anycast }} drop
    }}
}}
"""


def iptables_rules(*, inner: str, outer: str) -> str:
    """Accept the same in iptables, where Docker and firewalls drop whatever nobody accepts.

    An accept in one table does not undo a drop in another, so it has to be accepted in that one.
    Docker puts its own chains before this one when it starts, but leaves it alone.
    """
    return f"""{MANAGED}*filter
:{CHAIN} - [0:0]
-A {CHAIN} -i {inner} -o {outer} -j ACCEPT
-A {CHAIN} -i {outer} -o {inner} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A {CHAIN} -i {outer} -o {inner} -m conntrack --ctstate DNAT -j ACCEPT
-I FORWARD 1 -j {CHAIN}
COMMIT
"""


def kernel_parameters(*, outer: str, ipv6: str) -> dict[str, str]:
    """Return the value of each parameter, by its path below /proc/sys."""
    parameters = {"net/ipv4/ip_forward": "1"}
    if ipv6 == ROUTED:
        parameters["net/ipv6/conf/all/forwarding"] = "1"
        # A router takes no route from another one, unless it is told to: the head's own default route.
        parameters[f"net/ipv6/conf/{outer}/accept_ra"] = "2"
    return parameters


def files(*, inner: str, outer: str, ipv6: str, programs: Programs) -> dict[str, str]:
    """Return the content of each file by its path."""
    parameters = kernel_parameters(outer=outer, ipv6=ipv6)
    return {
        RULES: nftables_rules(inner=inner, outer=outer, ipv6=ipv6),
        IPTABLES_RULES: iptables_rules(inner=inner, outer=outer),
        SYSCTL: MANAGED + "".join(f"{name} = {value}\n" for name, value in parameters.items()),
        UNIT_PATH: unit_text(ipv6=ipv6, programs=programs),
    }


def unit_text(*, ipv6: str, programs: Programs) -> str:
    """Load the rules before any interface is up, and again whenever nftables.service has flushed them."""
    families = [(programs.iptables, programs.iptables_restore)]
    if ipv6 == ROUTED:
        families.append((programs.ip6tables, programs.ip6tables_restore))
    # These filter what is forwarded, and are there before anything else may fail.
    load = [f"{programs.nft} --file {RULES}"]
    unload: list[str] = []
    for iptables, restore in families:
        # Fails where there is nothing to take out yet. --wait takes the word after it for seconds if that is
        # no option, even the name of a file.
        take_out = f"-{iptables} --wait --delete FORWARD --jump {CHAIN}"
        load += [take_out, f"{restore} --wait --noflush {IPTABLES_RULES}"]
        unload += [
            take_out,
            f"-{iptables} --wait --flush {CHAIN}",
            f"-{iptables} --wait --delete-chain {CHAIN}",
        ]
    unload.append(f"-{programs.nft} delete table inet {TABLE}")
    commands = "\n".join(
        f"{key}={command}"
        for key, group in (("ExecStart", load), ("ExecReload", load), ("ExecStop", unload))
        for command in group
    )
    return f"""{MANAGED}[Unit]
Description=Forwarding and NAT for the rack behind this head node
DefaultDependencies=no
Wants=network-pre.target
After=local-fs.target nftables.service
Before=network-pre.target shutdown.target
Conflicts=shutdown.target
PartOf=nftables.service
ReloadPropagatedFrom=nftables.service

[Service]
Type=oneshot
RemainAfterExit=yes
{commands}

[Install]
WantedBy=sysinit.target
"""
