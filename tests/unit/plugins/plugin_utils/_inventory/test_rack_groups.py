# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is what in a rack, by its groups; playbooks and roles ask nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ansible_collections.bramble.pi.plugins.filter.inventory import rack_groups
from ansible_collections.bramble.pi.plugins.plugin_utils._inventory.rack_groups import way_in

ROOT = Path(__file__).resolve().parents[5]
NODES = {"control_plane": ["pi-1", "pi-2"], "workers": ["pi-3"]}
BOTH = {**NODES, "nat_headnode": ["pi-1"]}
APART = {**NODES, "nat_headnode": ["head"]}


@pytest.mark.parametrize(
    ("groups", "heads", "servers", "members"),
    [
        ({}, [], [], []),
        (NODES, [], [], ["pi-1", "pi-2", "pi-3"]),
        (BOTH, ["pi-1"], ["pi-1"], ["pi-1", "pi-2", "pi-3"]),
        (APART, ["head"], ["head"], ["head", "pi-1", "pi-2", "pi-3"]),
        ({**APART, "rack_services": ["nas"]}, ["head"], ["nas"], ["head", "pi-1", "pi-2", "pi-3"]),
        # Nobody gives addresses.
        ({**APART, "rack_services": []}, ["head"], [], ["head", "pi-1", "pi-2", "pi-3"]),
        ({**NODES, "rack_services": ["nas"]}, [], ["nas"], ["pi-1", "pi-2", "pi-3"]),
        ({"control_plane": ["pi-1"], "workers": ["pi-1"]}, [], [], ["pi-1"]),
    ],
)
def test_who_is_what(
    groups: dict[str, list[str]], heads: list[str], servers: list[str], members: list[str]
) -> None:
    found = rack_groups(groups)
    assert (found["heads"], found["servers"], found["members"]) == (heads, servers, members)
    assert found["nodes"] == [host for host in members if host != "head"]
    assert found["control_planes"] == groups.get("control_plane", [])
    assert found["workers"] == groups.get("workers", [])


@pytest.mark.parametrize(
    ("groups", "host", "way"),
    [(NODES, "pi-3", ""), (BOTH, "pi-3", "pi-1"), (BOTH, "pi-1", ""), (APART, "pi-1", "head")],
)
def test_all_but_the_head_are_reached_through_it(groups: dict[str, list[str]], host: str, way: str) -> None:
    assert way_in(groups, host) == way


def test_nobody_else_asks_who_the_head_or_the_servers_are() -> None:
    asks = re.compile(
        r"groups\[?.?['\"](nat_headnode|rack_services)['\"]|groups\.get\(\"(nat_headnode|rack_services)"
    )
    paths = [
        *(path for path in ROOT.glob("plugins/**/*.py") if path.name != "rack_groups.py"),
        *ROOT.glob("playbooks/*.yml"),
        *(path for path in ROOT.glob("roles/*/*/*") if path.suffix in (".yml", ".j2")),
    ]
    assert [path.name for path in paths if asks.search(path.read_text(encoding="utf-8"))] == []
