# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What roles and playbooks do where the first control plane of the inventory is switched off."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.run_module import REPOSITORY

# Nothing listens at port 1.
OFF = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
HOSTS = {
    "control_plane": {"hosts": {"pi-1": OFF, "pi-2": {}}},
    "workers": {"hosts": {"pi-3": {}, "pi-4": {}}},
}
HERE = {
    "ansible_connection": "local",
    "ansible_python_interpreter": sys.executable,
    "ansible_become": False,
}


def tasks_of(path: str, *names: str) -> list[dict[str, Any]]:
    tasks = yaml.safe_load((REPOSITORY / "roles" / path).read_text())
    return [task for task in tasks if task["name"] in names]


class Run:
    """A playbook with commands that only note what they are asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, what: list[dict[str, Any]] | Path, *arguments: str, **variables: Any) -> str:
        for name in ("kubectl", "ctr"):
            (self.folder / name).write_text(
                '#!/bin/sh\necho "$0 $*" >>"$FAKE/asked"\necho "{\\"items\\": []}"\n'
            )
            (self.folder / name).chmod(0o755)
        hosts = self.folder / "hosts.json"
        hosts.write_text(json.dumps({"all": {"vars": {**HERE, **variables}, "children": HOSTS}}))
        playbook = self.folder / "play.json"
        if isinstance(what, Path):
            playbook = what
        else:
            playbook.write_text(json.dumps(what))
        done = subprocess.run(
            [Path(sys.executable).with_name("ansible-playbook"), "-i", hosts, playbook, *arguments],
            capture_output=True,
            text=True,
            check=False,
            env={
                **os.environ,
                "PATH": f"{self.folder}:{os.environ['PATH']}",
                "FAKE": str(self.folder),
                "ANSIBLE_COLLECTIONS_PATH": str(REPOSITORY / ".collections"),
                "ANSIBLE_NOCOLOR": "1",
            },
        )
        return done.stdout + done.stderr


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def test_failover_runs_on_one_that_answers(run: Run) -> None:
    output = run(REPOSITORY / "playbooks" / "failover.yml", failover_node="pi-9")
    assert "pi-2 is asked instead" in output
    assert "[pi-2]: FAILED! =>" in output
    assert "failover_node is 'pi-9'" in output


def test_images_are_fetched_by_one_that_is_reached(run: Run) -> None:
    choice = [
        task
        for task in yaml.safe_load((REPOSITORY / "roles/image_cache/tasks/main.yml").read_text())
        if "source" in str(task) and "block" not in task and "Remove" not in task["name"]
    ]
    defaults = yaml.safe_load((REPOSITORY / "roles/image_cache/defaults/main.yml").read_text())
    ping = {"name": "Reach the nodes", "ansible.builtin.ping": {}}
    show = {
        "name": "Show it",
        "ansible.builtin.debug": {
            "msg": "by {{ __image_cache_source }} says {{ __image_cache_found is defined }}"
        },
    }
    play = {
        "hosts": "control_plane:workers",
        "gather_facts": False,
        "vars": {"image_cache_source": defaults["image_cache_source"]},
        "tasks": [ping, *choice, show],
    }
    output = run([play])
    assert output.count("by pi-2 says") == 3
    assert "pi-2 fetches: pi-1 is not in this run, or has failed in it" in output


def test_failure_detection_is_told_by_one_of_the_run(run: Run) -> None:
    tasks = tasks_of("failure_detection/tasks/main.yml", "Save it in kubeadm's configuration")
    tasks[0]["ansible.builtin.include_tasks"] = str(REPOSITORY / "roles/failure_detection/tasks/remember.yml")
    play = {
        "hosts": "control_plane:workers",
        "gather_facts": False,
        "any_errors_fatal": True,
        "vars_files": [str(REPOSITORY / "roles/failure_detection/vars/main.yml")],
        "tasks": tasks,
    }
    output = run([play], "--limit", "!pi-1")
    assert "failed=0" in output, output
    asked = (run.folder / "asked").read_text().splitlines()
    assert len([line for line in asked if "get configmaps" in line]) == 1


def test_one_that_stays_and_answers_is_told_of_a_node_that_leaves(run: Run) -> None:
    role = {"name": "bramble.pi.reset", "tasks_from": "leave"}
    variables = yaml.safe_load((REPOSITORY / "roles/reset/vars/main.yml").read_text())
    play = {
        "hosts": "workers",
        "gather_facts": False,
        "vars": {**variables, "reset_drain": False, "__reset_state": {"state": "worker"}},
        "tasks": [
            {"ansible.builtin.set_fact": {"__reset_chosen": True}},
            {"name": "Leave", "ansible.builtin.include_role": role},
            {"ansible.builtin.debug": {"msg": "told: {{ __reset_control_plane }}"}},
        ],
    }
    output = run([play], "--limit", "pi-3")
    assert "so the node was not deleted from the cluster" not in output
    assert "told: pi-2" in output


@pytest.mark.parametrize("limit", ["pi-4", "pi-1,pi-4"])
def test_a_node_that_is_off_keeps_no_new_one_out(run: Run, limit: str) -> None:
    """Neither where it is outside of the run, nor where it is the first of it."""
    (task,) = tasks_of("pod_network/tasks/routed.yml", "Connect the nodes outside this play with those in it")
    del task["bramble.pi.pod_routes"]
    task["ansible.builtin.command"] = {"argv": ["sh", "-c", 'echo "$0" >>"$FAKE/connected"', "{{ item }}"]}
    task["changed_when"] = False
    nodes = {name: name for name in ("pi-1", "pi-2", "pi-3", "pi-4")}
    play = {
        "hosts": "control_plane:workers",
        "gather_facts": False,
        "vars": {"__pod_network_names": nodes, "__pod_network_served": list(nodes)},
        "tasks": [
            {"name": "Reach the nodes", "ansible.builtin.ping": {}},
            task,
            {"name": "Go on", "ansible.builtin.debug": {"msg": "went on"}},
        ],
    }
    output = run([play], "--limit", limit)
    assert output.count("went on") == 1, output
    assert sorted((run.folder / "connected").read_text().split()) == ["pi-2", "pi-3"]
