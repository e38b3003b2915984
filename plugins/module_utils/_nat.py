# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Forwarding and NAT for a rack behind its head node: the files that hold them."""

from __future__ import annotations

import re
from collections.abc import Collection

MANAGED = "# Written by the collection bramble.pi; changes are overwritten.\n"

RULES = "/etc/bramble/nat.nft"
IPTABLES_RULES = "/etc/bramble/nat.iptables"
SYSCTL = "/etc/sysctl.d/90-bramble-nat.conf"
UNIT = "bramble-nat.service"
UNIT_PATH = f"/etc/systemd/system/{UNIT}"

TABLE = "bramble_nat"
CHAIN = "BRAMBLE-NAT"

# The kernel's limit is 15 characters (IFNAMSIZ); the rest is what no interface is named with, and what the
# rules' syntaxes read as something else: quotes, and a plus at the end as a wildcard.
_INTERFACE = re.compile(r"[A-Za-z0-9_.:@-]{1,15}")


class NatError(ValueError):
    """Interfaces that cannot be used."""


def check_interfaces(*, inner: str, outer: str, existing: Collection[str]) -> None:
    """Refuse interfaces that are the same, or not there."""
    if inner == outer:
        raise NatError(
            f"inner_interface and outer_interface are both {inner}; wanted are two, the one to the rack and "
            "the one to the outside: set nat_headnode_inner_interface and nat_headnode_outer_interface"
        )
    for option, name in (("inner_interface", inner), ("outer_interface", outer)):
        if _INTERFACE.fullmatch(name) is None or name not in existing:
            there = ", ".join(sorted(set(existing) - {"lo"})) or "none"
            raise NatError(
                f"{option} is {name!r}, and the node has no such interface; wanted is one of {there}: set "
                f"nat_headnode_{option}"
            )


def nftables_rules(*, inner: str, outer: str) -> str:
    """Rules in a table of their own; loading them again replaces them."""
    return f"""{MANAGED}
# Declared first, so that the table can be deleted whether it was there or not.
table ip {TABLE}
delete table ip {TABLE}

table ip {TABLE} {{
    chain postrouting {{
        type nat hook postrouting priority 100; policy accept;
        oifname "{outer}" masquerade
    }}

    # What the rack asked for may come back, and what was sent to a port that is forwarded into it;
    # nothing else enters from outside.
    chain forward {{
        type filter hook forward priority 0; policy accept;
        iifname "{outer}" oifname "{inner}" ct state related,established accept
        iifname "{outer}" oifname "{inner}" ct status dnat accept
        iifname "{outer}" oifname "{inner}" drop
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


def files(*, inner: str, outer: str, nft: str, iptables: str, iptables_restore: str) -> dict[str, str]:
    """Return the content of each file by its path."""
    return {
        RULES: nftables_rules(inner=inner, outer=outer),
        IPTABLES_RULES: iptables_rules(inner=inner, outer=outer),
        SYSCTL: f"{MANAGED}net.ipv4.ip_forward = 1\n",
        UNIT_PATH: unit_text(nft=nft, iptables=iptables, iptables_restore=iptables_restore),
    }


def unit_text(*, nft: str, iptables: str, iptables_restore: str) -> str:
    """Load the rules before any interface is up, and again whenever nftables.service has flushed them."""
    # The first one fails where there is nothing to take out yet. --wait takes the word after it for seconds
    # if that is no option, even the name of a file.
    load = (
        f"-{iptables} --wait --delete FORWARD --jump {CHAIN}",
        f"{iptables_restore} --wait --noflush {IPTABLES_RULES}",
        f"{nft} --file {RULES}",
    )
    unload = (
        f"-{iptables} --wait --delete FORWARD --jump {CHAIN}",
        f"-{iptables} --wait --flush {CHAIN}",
        f"-{iptables} --wait --delete-chain {CHAIN}",
        f"-{nft} delete table ip {TABLE}",
    )
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
