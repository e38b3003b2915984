# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A copy that did not come keeps no other control plane from its backup, and fails the run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROLE = Path(__file__).resolve().parents[3] / "roles" / "backup"
PROBLEM = "pi-4 did not take it"


@pytest.mark.parametrize("serial", [1, 3])
def test_a_copy_that_did_not_come(tmp_path: Path, serial: int) -> None:
    last = yaml.safe_load((ROLE / "tasks" / "main.yml").read_text())[-1]
    include = {"ansible.builtin.include_tasks": str(ROLE / "tasks" / "copied.yml"), "when": last["when"]}
    made = {"backup": {"copies": {"pi-4": {"error": PROBLEM}}}}
    play = {"hosts": "all", "gather_facts": False, "vars_files": [str(ROLE / "vars/main.yml")]}
    first = {
        **play,
        "serial": serial,
        "tasks": [
            {"ansible.builtin.set_fact": {"backup_made": made}},
            {"ansible.builtin.debug": {"msg": "made on {{ inventory_hostname }}"}},
            include,
        ],
    }
    _imported, _made, then = yaml.safe_load((ROLE.parents[1] / "playbooks" / "backup.yml").read_text())
    assert then["tasks"][0]["ansible.builtin.import_role"]["tasks_from"] == "copied"
    second = {**play, "tasks": [{"ansible.builtin.import_tasks": str(ROLE / "tasks" / "copied.yml")}]}
    (tmp_path / "play.yml").write_text(yaml.safe_dump([first, second]))
    ansible = Path(sys.executable).parent / "ansible-playbook"
    done = subprocess.run(
        [ansible, "-i", "pi-1,pi-2,pi-3", "-c", "local", tmp_path / "play.yml"],
        capture_output=True,
        text=True,
        check=False,
    )
    for host in ("pi-1", "pi-2", "pi-3"):
        assert f"made on {host}" in done.stdout
    assert done.stdout.count(PROBLEM) >= 3
    assert done.returncode == 2
