# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest

from tests.unit.preflight_rack import NODES, found

BOARD = {"netboot_tree_serial": "6a1b9c04", "rack_services_mac": "b8:27:eb:00:00:02"}


@pytest.mark.parametrize(
    ("values", "groups", "words"),
    [
        ({}, {"netboot_server": []}, ("netboot has pi-2", "netboot_server no host")),
        ({}, {"netboot_server": ["pi-1", "pi-3"]}, ("netboot_server pi-1, pi-3", "one host")),
        ({"netboot_tree_serial": "6A1B9C04"}, {}, ("pi-2: netboot_tree_serial is '6A1B9C04'", "lower case")),
        ({"netboot_tree_serial": "100000006a1b9c04"}, {}, ("last eight digits",)),
        ({"netboot_tree_serial": "44444444"}, {}, ("pi-2: netboot_tree_serial is '44444444'",)),
        # Seven of eight digits, as YAML reads 01234567 as an octal number.
        ({"netboot_tree_serial": 342391}, {}, ("netboot_tree_serial is 342391", "in quotes")),
        ({"netboot_tree_serial": ["6a1b9c04"]}, {}, ("is ['6a1b9c04']; expected a string: set netboot_",)),
        ({"netboot_tree_dir": "/srv/a"}, {}, ("pi-2: netboot_tree_dir is '/srv/a', and '/srv/netboot' on",)),
        ({"rack_services_mac": ""}, {}, ("no rack_services_mac",)),
        ({"ansible_host": "pi-2.lan"}, {}, ("'pi-2.lan'", "ansible_host")),
        ({}, {"node_network": ["pi-2"]}, ("netboot and node_network",)),
        ({}, {"netboot_server": ["pi-2"]}, ("cannot boot from itself",)),
    ],
)
def test_boards_without_cards(
    values: dict[str, Any], groups: dict[str, list[str]], words: tuple[str, ...]
) -> None:
    hosts = {**NODES, "pi-2": {**NODES["pi-2"], **BOARD}}
    all_groups = {
        "control_plane": ["pi-1"],
        "workers": ["pi-2", "pi-3"],
        "netboot": ["pi-2"],
        "netboot_server": ["pi-1"],
    }
    assert not [line for line in found({}, hosts=hosts, groups=all_groups)[0] if "netboot" in line]
    hosts["pi-2"] = {**hosts["pi-2"], **values}
    problems = "\n".join(found({}, hosts=hosts, groups={**all_groups, **groups})[0])
    for word in words:
        assert word in problems


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("netboot_tree_dir", "/srv/my boards", "pi-1: dir is '/srv/my boards'; expected the whole path"),
        ("netboot_tree_dir", "srv/netboot", "pi-1: dir is 'srv/netboot'; expected the whole path"),
        ("netboot_server_interface", "eth0 eth1", "pi-1: netboot_server_interface is 'eth0 eth1'; exp"),
    ],
)
def test_what_the_server_s_unit_cannot_name(variable: str, value: str, words: str) -> None:
    hosts = {**NODES, "pi-1": {**NODES["pi-1"], variable: value}, "pi-2": {**NODES["pi-2"], **BOARD}}
    groups = {
        "control_plane": ["pi-1"],
        "workers": ["pi-2", "pi-3"],
        "netboot": ["pi-2"],
        "netboot_server": ["pi-1"],
    }
    assert any(words in line for line in found({}, hosts=hosts, groups=groups)[0])


def test_two_boards_with_one_serial_number() -> None:
    hosts = {**NODES, "pi-2": {**NODES["pi-2"], **BOARD}, "pi-3": {**NODES["pi-3"], **BOARD}}
    groups = {
        "control_plane": ["pi-1"],
        "workers": ["pi-2"],
        "netboot": ["pi-2", "pi-3"],
        "netboot_server": ["pi-1"],
    }
    assert any("'6a1b9c04', as that of pi-2" in line for line in found({}, hosts=hosts, groups=groups)[0])
