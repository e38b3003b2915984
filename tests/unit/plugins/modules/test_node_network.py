# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module on a node of its own: its namespaces, with file systems that can be full."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.namespace_node import NamespaceNode

TRIAL = "/var/lib/bramble/network-trial"
# So long that what is removed first makes no room for it.
BEFORE = "auto lo\niface lo inet loopback\n\nallow-hotplug eth0\niface eth0 inet dhcp\n" + "# long\n" * 4000
NEW = "192.168.7.11/24"


@pytest.fixture
def node(tmp_path: Path) -> NamespaceNode:
    node = NamespaceNode(tmp_path, size="256k", folders=["/etc/network", "/etc/systemd", "/var/lib/bramble"])
    node.write("/etc/network/interfaces", BEFORE + "source interfaces.d/*\n")
    node.write("/run/network/ifstate", "eth0=eth0\n")
    node.program("systemctl", "exit 3")
    # What a unit of systemd would do goes on beside the module.
    node.program(
        "systemd-run",
        'while [ "${1#-}" != "$1" ]; do shift; done\n"$@" </dev/null >/dev/null 2>&1 &',
    )
    node.program("ifdown", "ip -4 address flush dev eth0")
    node.program(
        "ifup",
        "for file in /etc/network/interfaces /etc/network/interfaces.d/eth0; do\n"
        "  address=$(sed -n 's/^ *address //p' $file 2>/dev/null)\n"
        '  [ -z "$address" ] || ip address add "$address/24" dev eth0\ndone',
    )
    return node


FILL = "dd if=/dev/zero of=/etc/network/full bs=1k >/dev/null 2>&1; "
WAIT = f"while [ -e {TRIAL}/pending ] && [ ! -e {TRIAL}/applied ]; do sleep 0.1; done"
GONE = f"for i in $(seq 100); do [ -e {TRIAL}/files ] || break; sleep 0.1; done"


def change(node: NamespaceNode, *then: str, timeout: int = 1) -> list[str]:
    """Try a change, and run further commands on the node; return the outputs of both."""
    step = node.module("node_network", interface="eth0", address=NEW, confirm_timeout=timeout)
    return node.run(step, *then)


def test_a_disk_that_is_full_when_a_change_is_taken_back(node: NamespaceNode) -> None:
    report = node.module("node_network", address=NEW, step="report", trial="@TRIAL@")
    trial, _waited, _filled, _gone, text, left, address, reported = change(
        node,
        WAIT,
        FILL,
        GONE,
        "cat /etc/network/interfaces",
        "ls -A /etc/network /etc/network/interfaces.d /etc/systemd/system",
        "ip -brief -4 address show dev eth0",
        report,
        timeout=4,
    )
    assert node.result(trial)["trial"]
    assert text == BEFORE + "source interfaces.d/*\n"
    assert "bramble" not in left
    assert "eth0\n" not in left.partition("interfaces.d:")[2]
    assert "192.168.7.11" not in address
    assert node.result(reported)["state"] == "taken_back"


def test_a_disk_that_is_full_before_anything_is_changed(node: NamespaceNode) -> None:
    trial, text, left = node.run(
        FILL,
        node.module("node_network", interface="eth0", address=NEW),
        "cat /etc/network/interfaces",
        f"find /etc/network /etc/systemd {TRIAL}* -name '*bramble*' -o -name 'network-trial*'",
    )[1:]
    assert "expected is room for it" in node.result(trial)["msg"]
    assert text == BEFORE + "source interfaces.d/*\n"
    assert left == ""


def test_what_was_confirmed_is_known_when_the_answer_was_lost(node: NamespaceNode) -> None:
    confirm = node.module("node_network", address=NEW, step="confirm", trial="@TRIAL@")
    report = node.module("node_network", address=NEW, step="report", trial="@TRIAL@")
    other = node.module("node_network", address=NEW, step="report", trial="0123456789abcdef")
    outputs = change(node, WAIT, confirm, confirm, report, other, "ls -A /etc/network", timeout=60)
    assert [node.result(output)["state"] for output in outputs[2:6]] == [
        "confirmed",
        "confirmed",
        "confirmed",
        # One of which nothing is known is not confirmed.
        "unknown",
    ]
    assert "bramble" not in outputs[6]
