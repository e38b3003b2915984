# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role workers has a node register with: taints, and memory for the system."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.unit.plays import loaded_once, write_for_each
from tests.unit.run_module import REPOSITORY

ARCHITECTURE = {"key": "kubernetes.io/arch", "value": "arm", "effect": "NoSchedule"}
SLOW = {"key": "disk", "value": "slow", "effect": "PreferNoSchedule"}
OWN = {"memory": "400Mi"}


def joined(folder: Path, control_plane: dict[str, Any], **workers: dict[str, Any]) -> dict[str, Any]:
    """Have ansible put together what the role hands to the module on each worker."""
    folder.mkdir()
    role = REPOSITORY / "roles/workers"
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    defaults = yaml.safe_load((role / "defaults/main.yml").read_text())
    inventory = {
        "control_plane": {"hosts": {"cp": {**local, **control_plane}}},
        "workers": {"hosts": {name: {**local, **defaults, **given} for name, given in workers.items()}},
    }
    (folder / "hosts.yml").write_text(json.dumps(inventory))
    tasks = yaml.safe_load((role / "tasks/main.yml").read_text())
    (module,) = (task["bramble.pi.kubeadm_join"] for task in tasks if "bramble.pi.kubeadm_join" in task)
    given = {name: module[name] for name in ("join_configuration", "system_reserved")}
    fact = {"bramble": {"architecture": "armhf"}, "cacheable": True}
    play = {
        "hosts": loaded_once("workers"),
        "gather_facts": False,
        "vars_files": [str(role / "vars/main.yml")],
        "vars": {"given": given},
        "tasks": [
            {"ansible.builtin.set_fact": fact},
            {"ansible.builtin.set_fact": {"found": "{{ given }}"}},
            write_for_each("found", folder / "found.json"),
        ],
    }
    (folder / "play.yml").write_text(json.dumps([play]))
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", folder / "hosts.yml", folder / "play.yml"],
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads((folder / "found.json").read_text())
    return found


def test_taints_and_memory_for_the_system(tmp_path: Path) -> None:
    found = joined(
        tmp_path / "auto",
        {},
        plain={},
        tainted={"workers_taints": [SLOW]},
        both={"workers_taints": [SLOW], "workers_tainted_architectures": ["arm"]},
        own={"workers_system_reserved": OWN},
    )
    taints = {name: told["join_configuration"] for name, told in found.items()}
    assert taints == {
        "plain": {},
        "tainted": {"nodeRegistration": {"taints": [SLOW]}},
        "both": {"nodeRegistration": {"taints": [ARCHITECTURE, SLOW]}},
        "own": {},
    }
    reserved = {name: told["system_reserved"] for name, told in found.items()}
    assert reserved == {"plain": "auto", "tainted": "auto", "both": "auto", "own": OWN}


def test_a_flag_does_not_go_over_what_a_user_says_in_the_kubelet_s_configuration(tmp_path: Path) -> None:
    configuration = {"control_plane_kubelet_configuration": {"kubeReserved": {"memory": "1Gi"}}}
    own = {"workers_system_reserved": OWN}
    found = joined(tmp_path / "kubelet", configuration, plain={}, own=own)
    assert {name: told["system_reserved"] for name, told in found.items()} == {"plain": "none", "own": OWN}
