# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module on a node of its own: nftables is real, in its namespaces, and units are run line by line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.namespace_node import NamespaceNode

FORWARDING = "cat /proc/sys/net/ipv4/ip_forward"
RULES = "nft list table inet bramble_nat 2>&1"
SYSCTL = "ls /etc/sysctl.d/90-bramble-nat.conf 2>&1"
IPTABLES = 'case "$*" in *--check*) exit 1 ;; esac'


@pytest.fixture
def node(tmp_path: Path) -> NamespaceNode:
    node = NamespaceNode(tmp_path, folders=["/etc/systemd/system", "/etc/sysctl.d", "/etc/bramble"])
    node.systemd()
    for program in ("iptables", "iptables-restore", "ip6tables", "ip6tables-restore"):
        node.program(program, IPTABLES)
    return node


def prepare(node: NamespaceNode) -> tuple[str, str]:
    step = node.module("nat_forwarding", inner_interface="eth0", outer_interface="peer")
    return "echo 0 >/proc/sys/net/ipv4/ip_forward", step


def test_nothing_is_forwarded_where_it_is_not_filtered(node: NamespaceNode) -> None:
    _prepared, step, forwarding, rules, _sysctl = node.run(*prepare(node), FORWARDING, RULES, SYSCTL)
    assert node.result(step)["changed"]
    assert forwarding == "1\n"
    assert "masquerade" in rules


@pytest.mark.parametrize("when", ["tested", "loaded"])
def test_a_filter_that_cannot_be_loaded(node: NamespaceNode, when: str) -> None:
    passes = 'case "$*" in *--test*) exit 0 ;; esac' if when == "loaded" else ":"
    node.program("iptables-restore", f"{passes}\necho no such module >&2; exit 1")
    _prepared, step, forwarding, rules, sysctl = node.run(*prepare(node), FORWARDING, RULES, SYSCTL)
    assert "ended with 1" in node.result(step)["msg"]
    assert forwarding == "0\n"
    assert "No such file" in sysctl
    # What was not seen beforehand leaves the head with what filters.
    assert ('iifname "peer" drop' in rules) is (when == "loaded")
