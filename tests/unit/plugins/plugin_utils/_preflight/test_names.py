# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.plugin_utils._preflight.names import REMOVED
from ansible_collections.bramble.pi.plugins.plugin_utils._preflight.rack import UNKNOWN

from tests.unit.preflight_rack import SPECS, check_row, found

ROOT = Path(__file__).resolve().parents[5]


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        (
            {"kube_package_version": "1.36"},
            "variable kube_package_version is not known: did you mean kube_packages_ver",
        ),
        ({"_control_plane_pod_cird": ""}, None),
        ({"ansible_hosts": ""}, None),
        ({"my_own": UNKNOWN}, None),
        ({"os_prep_hostname": "{{ later }}"}, None),
    ],
)
def test_variables_of_all_hosts(variables: dict[str, Any], text: str | None) -> None:
    check_row(variables, text)


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        ({"os_prep_hostname": "pi-1"}, "pi-2: has the host name 'pi-1', as pi-1 has"),
        ({"os_prep_hostname": "Pi_2"}, "pi-2: the host name is 'Pi_2'; expected a-z, 0-9"),
        ({"os_prep_hostname": "192.168.1.102"}, "not digits alone"),
        ({"os_prep_hostname": "a" * 64}, "with at most 64 characters"),
        ({"os_prep_hostname": "-pi"}, "the host name is '-pi'"),
        ({"os_prep_hostname": "pi-2.rack.lan"}, None),
        (
            {"os_prep_hostname": "localhost"},
            "pi-2: the host name is 'localhost', each machine's own name; expec",
        ),
    ],
)
def test_variables_of_one_host(variables: dict[str, Any], text: str | None) -> None:
    check_row(variables, text, host="pi-2")


@pytest.mark.parametrize("name", REMOVED)
def test_removed_variables_are_named_with_those_that_stay(name: str) -> None:
    stays = REMOVED[name]
    assert stays in {option for options in SPECS.values() for option in options}
    problems, warnings = found({name: UNKNOWN}, hosts={"pi-4": {name: UNKNOWN}}, known_variables=[name])
    said = (
        f"all nodes: {name} is set, which no role reads any more; expected {stays}, which means the same: set"
    )
    assert [line for line in problems if line.startswith(said)] == problems
    # The other host is in no group.
    assert [line for line in warnings if name in line] == []


def test_removed_variables_stand_nowhere_else() -> None:
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    pattern = re.compile(rf"\b({'|'.join(REMOVED)})\b")
    here = ("plugins/plugin_utils/_preflight/names.py", "plugins/filter/removed_variables.yml", "changelogs/")
    found_in = {
        path: match[0]
        for path in files.stdout.split("\0")[:-1]
        if not path.startswith(here) and (ROOT / path).is_file()
        if (match := pattern.search((ROOT / path).read_text(encoding="utf-8", errors="replace")))
    }
    assert found_in == {}


GROUPS = [
    ({"workers": []}, "group 'control_plane' is missing: add it"),
    ({"control_plane": ["pi-1"]}, "group 'workers' is missing: add it"),
    (
        {"control_plane": ["pi-1"], "worker": ["pi-2"]},
        "group 'workers' is missing (is it 'worker', misspelt?)",
    ),
    ({"control_plane": [], "workers": ["pi-1"]}, "group 'control_plane' has no hosts"),
    (
        {"control_plane": ["pi-1"], "workers": ["pi-1", "pi-2"]},
        "pi-1: is in both groups control_plane and workers",
    ),
    (
        {"control_plane": ["pi-1"], "workers": ["pi-2"], "nat_headnode": ["pi-1", "pi-3"]},
        "group 'nat_headnode' has 2 hosts (pi-1, pi-3): a rack has one head",
    ),
]


@pytest.mark.parametrize(("groups", "text"), GROUPS, ids=[text for _groups, text in GROUPS])
def test_groups(groups: dict[str, list[str]], text: str) -> None:
    problems, _warnings = found(groups=groups)
    assert [line for line in problems if text in line]


def test_a_host_in_no_group_is_a_warning() -> None:
    problems, warnings = found(
        hosts={"pi-4": {}, "localhost": {}, "builder": {"ansible_connection": "local"}},
    )
    assert problems == []
    assert warnings == ["pi-4: is in none of the groups control_plane and workers: nothing is done on it"]


def test_the_head_need_not_be_a_node() -> None:
    groups = {"control_plane": ["pi-1"], "workers": ["pi-2"], "nat_headnode": ["pi-3"]}
    assert found(groups=groups, node_network="192.168.1.0/24") == ([], [])


def test_unknown_variables_with_a_role_s_prefix_are_a_warning_unless_they_are_known() -> None:
    variables = {"docker_registry_of_mine": "x"}
    problems, warnings = found(variables)
    assert problems == []
    assert "all nodes: variable docker_registry_of_mine begins like one of bramble.pi" in warnings[0]
    assert found(variables, known_variables=["docker_registry_of_mine"]) == ([], [])
