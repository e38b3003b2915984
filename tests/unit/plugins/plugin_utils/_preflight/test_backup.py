# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest

from tests.unit.preflight_rack import found, problem

TWO = {"control_plane": ["pi-1", "pi-2"], "workers": ["pi-3"]}


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        ({"backup_copy_to": []}, None),
        ({"backup_copy_to": ["pi-2"]}, None),
        ({"backup_copy_to": ["pi-2", "pi-3"], "backup_copy_folder": "/mnt/disk/copies"}, None),
        ({"backup_copy_to": ["pi-1", "pi-2"]}, None),
        # Nothing is sent there.
        ({"backup_copy_folder": "/mnt/my disk"}, None),
        ({"backup_copy_to": ["pi-2"], "backup_copy_folder": "{{ disk }}/copies"}, None),
        (
            {"backup_copy_to": ["pi-1"]},
            "pi-1: backup_copy_to is ['pi-1'], which is pi-1 itself; expected anoth",
        ),
        ({"backup_copy_to": ["pi-9"]}, "pi-1: backup_copy_to has 'pi-9', which is no host of the inventory"),
        (
            {"backup_copy_to": ["pi-2"], "backup_copy_folder": "copies"},
            "pi-1: backup_copy_folder is 'copies'; ex",
        ),
    ],
)
def test_where_copies_go(variables: dict[str, Any], text: str | None) -> None:
    if text is None:
        assert found(hosts={"pi-1": variables}) == ([], [])
    else:
        assert problem(hosts={"pi-1": variables}).startswith(text)


def test_each_control_plane_has_another_node() -> None:
    hosts: dict[str, dict[str, Any]] = {"pi-1": {}, "pi-2": {}}
    problems, _warnings = found({"backup_copy_to": ["pi-2"]}, hosts=hosts, groups=TWO)
    assert [each for each in problems if "backup" in each] == [
        "pi-2: backup_copy_to is ['pi-2'], which is pi-2 itself; expected another node as well, as its card"
        " takes all on it along: set backup_copy_to in your inventory"
    ]
    problems, _warnings = found({"backup_copy_to": ["pi-1", "pi-2"]}, hosts=hosts, groups=TWO)
    assert [each for each in problems if "backup" in each] == []
