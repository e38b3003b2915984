# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module on a node of its own: its namespaces, with the interface C(eth0) and a cable to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.namespace_node import NamespaceNode

NETWORK = "; ".join(
    (
        "ip address add 192.168.7.9/24 dev eth0",
        "ip address add 2001:db8::9/64 dev eth0 nodad",
        "ip address add fe80::9/64 dev eth0 nodad",
        "ip address add 10.0.0.1/24 dev peer",
        "ip address add 2001:db8:1::1/64 dev peer nodad",
    )
)


@pytest.fixture
def node(tmp_path: Path) -> NamespaceNode:
    node = NamespaceNode(tmp_path, folders=["/etc/systemd/network"])
    node.program("networkctl", 'echo "networkctl $*" >>/run/log')
    return node


def configure(node: NamespaceNode, **options: Any) -> str:
    return node.module("uplink", interface="eth0", manager="networkd", **options)


@pytest.mark.parametrize(
    ("connection", "refused"),
    [
        ("192.168.7.2 50000 192.168.7.9 22", True),
        ("192.168.7.2 50000 192.168.7.9 2222", True),
        ("2001:db8::2 50000 2001:db8::9 22", True),
        ("2001:0DB8::2 50000 2001:db8:0::9 2222", True),
        ("::ffff:192.168.7.2 50000 ::ffff:192.168.7.9 22", True),
        ("fe80::2%eth0 50000 fe80::9%eth0 22", True),
        # To an address of another interface, by this one.
        ("192.168.7.2 50000 10.0.0.1 22", True),
        ("10.0.0.2 50000 10.0.0.1 22", False),
        ("2001:db8:1::2 50000 2001:db8:1::1 22", False),
        ("fe80::2%peer 50000 fe80::9%peer 22", False),
        ("", False),
    ],
)
def test_the_interface_that_the_session_comes_by(
    node: NamespaceNode, connection: str, refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSH_CONNECTION", connection)
    result = node.result(node.run(NETWORK, configure(node, check=True))[1])
    assert result.get("failed", False) is refused
    if refused:
        assert "eth0 would change" in result["msg"]
        assert "consent by nat_headnode_uplink_force=true" in result["msg"]


def test_a_port_of_the_bridge_that_the_session_comes_by(
    node: NamespaceNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSH_CONNECTION", "192.168.9.2 50000 192.168.9.9 22")
    bridge = (
        "ip link add br0 type bridge; ip link set eth0 master br0; ip link set br0 up; "
        "ip address add 192.168.9.9/24 dev br0"
    )
    assert "eth0 would change" in node.result(node.run(bridge, configure(node, check=True))[1])["msg"]
