# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which nodes are worked on some at a time, and which together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import state
from ansible_collections.bramble.pi.plugins.plugin_utils._inventory import maintenance
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).parents[5]
NEEDED = {"reboot_required": True}


@pytest.mark.parametrize(
    ("facts", "results", "due"),
    [
        ({"state": "worker"}, {"settings": NEEDED}, True),
        ({"state": "control_plane"}, {"settings": NEEDED}, True),
        ({"state": "worker"}, {"settings": {"restart_required": True}}, True),
        ({"state": "worker"}, {"cmdline": NEEDED, "settings": {"reboot_required": False}}, True),
        ({"state": "worker"}, {"settings": {"update_required": True}}, True),
        ({"state": "worker"}, {"settings": {"reboot_required": False}}, False),
        ({"state": "worker"}, {"cmdline": {"skipped": True}}, False),
        ({"state": "worker", "maintenance": True}, {}, True),
        ({"state": "absent"}, {"settings": NEEDED}, False),
        ({"state": "partial"}, {"settings": NEEDED}, False),
        ({"state": "worker", "unfinished": True}, {"settings": NEEDED}, False),
        ({}, {"settings": NEEDED}, False),
        # What a module has found itself needs no facts.
        ({}, {"settings": {"drain_required": True, "in_maintenance": False}}, True),
        ({}, {"settings": {"drain_required": False, "in_maintenance": True}}, True),
        ({"state": "worker"}, {"settings": {"drain_required": False, "in_maintenance": False}}, False),
    ],
)
def test_due(facts: dict[str, Any], results: dict[str, Any], due: bool) -> None:
    hostvars = {"pi-2": {"ansible_facts": {"bramble": {"kubernetes": facts}}, **results}}
    found = maintenance.due(hostvars=hostvars, hosts=["pi-2"], results=["cmdline", "settings"])
    assert found == (["pi-2"] if due else [])


@pytest.mark.parametrize(
    ("value", "of", "number"),
    [
        (1, 9, 1),
        ("2", 9, 2),
        ("25%", 8, 2),
        ("30%", 10, 3),
        ("100%", 7, 7),
        ("10%", 3, 1),
        (9, 2, 9),
        ("1%", 0, 1),
    ],
)
def test_size(value: Any, of: int, number: int) -> None:
    assert maintenance.size(value, of=of) == number


@pytest.mark.parametrize("value", [0, "0", "0%", -1, "101%", "half", "", None, True, 1.5, [1]])
def test_what_is_no_size(value: Any) -> None:
    with pytest.raises(
        maintenance.MaintenanceValueError, match=r"maintenance_serial is .*; expected how many"
    ):
        maintenance.size(value, of=3)


GROUPS = {"control_plane": ["a", "b", "c"], "workers": ["d", "e", "f", "g"]}


def test_batches() -> None:
    found = maintenance.batches(nodes=["g", "b", "d", "a", "e"], groups=GROUPS, serial="50%")
    assert found == [
        {"nodes": ["b"], "before": [], "after": ["a", "g", "d", "e"]},
        {"nodes": ["a"], "before": ["b"], "after": ["g", "d", "e"]},
        {"nodes": ["g", "d"], "before": ["b", "a"], "after": ["e"]},
        {"nodes": ["e"], "before": ["b", "a", "g", "d"], "after": []},
    ]


@pytest.mark.parametrize(
    ("marked", "order"),
    [
        # Each batch of two workers, or one control plane.
        ("", ["a", "b", "de", "f"]),
        ("b", ["b", "a", "de", "f"]),
        # A control plane is refused while a worker is away, and only its turn mends it.
        ("e", ["e", "a", "b", "df"]),
        ("be", ["b", "e", "a", "df"]),
        ("def", ["de", "f", "a", "b"]),
        ("g", ["a", "b", "de", "f"]),
    ],
)
def test_what_a_killed_run_has_left_comes_first(marked: str, order: list[str]) -> None:
    found = maintenance.batches(nodes=list("abdef"), groups=GROUPS, serial=2, marked=list(marked))
    assert ["".join(batch["nodes"]) for batch in found] == order
    assert found[0]["before"] == []
    assert found[0]["after"] == [node for batch in found[1:] for node in batch["nodes"]]


@given(st.lists(st.sampled_from("abcdefg"), unique=True), st.integers(1, 9))
def test_each_node_has_one_turn_and_control_planes_one_by_one(nodes: list[str], serial: int) -> None:
    found = maintenance.batches(nodes=nodes, groups=GROUPS, serial=serial)
    assert sorted(node for batch in found for node in batch["nodes"]) == sorted(nodes)
    for batch in found:
        assert sorted(batch["before"] + batch["nodes"] + batch["after"]) == sorted(nodes)
        assert len(batch["nodes"]) == 1 or not set(batch["nodes"]) & set(GROUPS["control_plane"])


@pytest.mark.parametrize(
    ("role", "variable"),
    [("maintenance", "__maintenance_mark"), ("reset", "__reset_maintenance_mark")],
)
def test_a_role_writes_the_mark_that_the_facts_look_for(role: str, variable: str) -> None:
    variables = yaml.safe_load((ROOT / f"roles/{role}/vars/main.yml").read_text())
    assert variables[variable] == state.MAINTENANCE
