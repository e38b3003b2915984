# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of variables that Ansible does not open, compared with what Ansible itself opens."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.vars.manager import VariableManager
from ansible_collections.bramble.pi.plugins.plugin_utils._preflight import sources, variable_files

HOSTS = (
    "all:\n  children:\n    control_plane: {hosts: {pi-1: }}\n    workers: {hosts: {pi-2: , pi-3: }}\n"
    "    nat_headnode: {hosts: {pi-1: }}\n"
)
GROUPS = ["all", "ungrouped", "control_plane", "workers", "nat_headnode"]
#: Files that hold one variable each, and for each that is not read, what is said of it.
CASES: dict[str, tuple[list[str], dict[str, str]]] = {
    "one of each": (["group_vars/all.yml", "group_vars/workers/main.yml", "host_vars/pi-1.yaml"], {}),
    "a file beside a folder": (
        ["group_vars/workers.yml", "group_vars/workers/vault.yml"],
        {
            "group_vars/workers.yml": "as {}/group_vars/workers is read instead; expected one of them: "
            "move it to {}/group_vars/workers/"
        },
    ),
    "three forms": (
        ["group_vars/all", "group_vars/all.yml", "group_vars/all.json"],
        {
            "group_vars/all.yml": "put its variables into {}/group_vars/all",
            "group_vars/all.json": "put its variables into {}/group_vars/all",
        },
    ),
    "of a host": (
        ["host_vars/pi-2.yml", "host_vars/pi-2.yaml"],
        {"host_vars/pi-2.yaml": "as {}/host_vars/pi-2.yml is read instead"},
    ),
    "misspelt": (
        ["group_vars/worker.yml", "group_vars/control-plane.yml", "group_vars/nat_head_node/main.yml"],
        {
            "group_vars/worker.yml": "there is no group worker; expected the name of a group, such as",
            "group_vars/control-plane.yml": "such as control_plane.yml: rename it, or remove it",
            "group_vars/nat_head_node": "such as nat_headnode: rename it",
        },
    ),
    # A group of another inventory, a host that is away today, and what editors and people leave.
    "others": (
        ["group_vars/lab.yml", "host_vars/pi-4.yml", "group_vars/README.md", "group_vars/workers.yml~"],
        {},
    ),
    # Not the place for it, but the group has its own.
    "beside the right one": (["group_vars/workers.yml", "group_vars/workers2.yml"], {}),
}


def write(folder: Path, names: list[str]) -> None:
    (folder / "hosts.yml").write_text(HOSTS, encoding="utf-8")
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f'{{"from_{number}": "{name}"}}', encoding="utf-8")


def read_by_ansible(folder: Path) -> set[str]:
    """Return the files whose variable a host has."""
    loader = DataLoader()
    inventory = InventoryManager(loader=loader, sources=[str(folder)])
    variables = VariableManager(loader=loader, inventory=inventory)
    return {
        str(value)
        for host in inventory.get_hosts()
        for name, value in variables.get_vars(host=host).items()
        if name.startswith("from_")
    }


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("source", ["", "hosts.yml"])
def test_what_is_not_read_is_named(case: str, source: str, tmp_path: Path) -> None:
    names, expected = CASES[case]
    write(tmp_path, names)
    found = sorted(variable_files.problems(tmp_path / source, GROUPS))
    assert len(found) == len(expected)
    for name, text in expected.items():
        (problem,) = [problem for problem in found if problem.startswith(f"{tmp_path / name} is not read")]
        assert text.replace("{}", str(tmp_path)) in problem


@pytest.mark.parametrize("case", CASES)
def test_ansible_agrees(case: str, tmp_path: Path) -> None:
    names, expected = CASES[case]
    write(tmp_path, names)
    lost = {name for name in names if any(name == path or name.startswith(f"{path}/") for path in expected)}
    unknown = {name for name in names if case == "others" or name.endswith("workers2.yml")}
    assert read_by_ansible(tmp_path) == {*names} - lost - unknown


def test_two_sources_of_one_folder_are_told_once(tmp_path: Path) -> None:
    write(tmp_path, ["group_vars/worker.yml"])
    (tmp_path / "more.yml").write_text(HOSTS, encoding="utf-8")
    paths = [str(tmp_path / "hosts.yml"), str(tmp_path / "more.yml")]
    assert len(sources.problems(paths, groups=GROUPS, optional=False)) == 1
