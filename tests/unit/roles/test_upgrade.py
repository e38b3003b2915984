# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whoever leaves an upgrade, by a failure or because he is reached no more, ends it for all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
#: Stands for what other roles do; no module runs on any node.
DO = """
- bramble.pi.note:
    what: "WHAT {{ inventory_hostname }}"
    broken: "{{ broken }}"
    log: "{{ folder }}/log"
"""
#: Both write down who did what. For the second all is due on all nodes, or nothing.
ACTIONS = {
    "note": """
from ansible.plugins.action import ActionBase
class ActionModule(ActionBase):
    def run(self, tmp=None, task_vars=None):
        given = self._task.args
        with open(given["log"], "a") as file:
            file.write(given["what"] + "\\n")
        return {"failed": given["what"] == given["broken"]}
""",
    "kubeadm_upgrade": """
from ansible.plugins.action import ActionBase
class ActionModule(ActionBase):
    def run(self, tmp=None, task_vars=None):
        given = self._task.args
        if not self._task.check_mode:
            with open(task_vars["folder"] + "/log", "a") as file:
                file.write("kubeadm " + given["node_name"] + "\\n")
        action = "node" if task_vars["inventory_hostname"] in task_vars["groups"]["control_plane"] else ""
        due = task_vars["due"]
        running = {"kubelet": "1.20.2", "kubelet_package": task_vars["package"]}
        return {
            **{"version": "1.21.0", "due": due, "kubelet_due": due, "reason": "old", "running": running},
            "action": due and action,
        }
""",
}
STUBS = {
    "backup/tasks/main.yml": "backup",
    "kube_packages/tasks/images.yml": "archives",
    "kube_packages/tasks/upgrade.yml": "packages",
    "image_cache/tasks/main.yml": "images",
    "maintenance/tasks/main.yml": "kubelet",
    "pod_network/tasks/main.yml": "pods",
    "verify/tasks/main.yml": "verify",
}
PLAY = """
- hosts: control_plane:workers
  gather_facts: false
  tasks:
    - ansible.builtin.set_fact:
        bramble: {kubernetes: {maintenance: "{{ inventory_hostname == cordoned }}"}}
        cacheable: true
    - ansible.builtin.include_role:
        name: bramble.pi.upgrade
        tasks_from: version
      loop: ["1.21.0", "1.22.0"]
      loop_control:
        loop_var: __upgrade_version
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    collection = tmp_path / "ansible_collections/bramble/pi"
    (collection / "plugins/modules").mkdir(parents=True)
    (collection / "galaxy.yml").symlink_to(ROOT / "galaxy.yml")
    (collection / "plugins/action").mkdir()
    for path in (ROOT / "plugins").iterdir():
        if path.name not in ("modules", "action"):
            (collection / "plugins" / path.name).symlink_to(path)
    for name, text in ACTIONS.items():
        (collection / f"plugins/action/{name}.py").write_text(text)
    for role, what in STUBS.items():
        path = collection / "roles" / role
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(DO.replace("WHAT", what))
    for role in ("upgrade", "cluster_defaults"):
        (collection / "roles" / role).symlink_to(ROOT / "roles" / role)
    monkeypatch.setenv("ANSIBLE_COLLECTIONS_PATH", str(tmp_path))
    (tmp_path / "play.yml").write_text(PLAY)
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    groups: dict[str, Any] = {
        "control_plane": {"hosts": {name: {} for name in ("a", "b", "c")}},
        "workers": {"hosts": {name: {} for name in ("d", "e")}},
    }
    (tmp_path / "hosts.yml").write_text(json.dumps({"all": {"vars": local, "children": groups}}))
    (tmp_path / "log").touch()
    return tmp_path


def run(
    folder: Path,
    *,
    broken: str = "",
    check: bool = False,
    due: bool = True,
    cordoned: str = "",
    package: str = "",
) -> tuple[int, str, list[str]]:
    given = {
        **{"folder": str(folder), "broken": broken, "due": due, "cordoned": cordoned, "package": package},
        "backup_recipients": ["age1"],
    }
    done = subprocess.run(
        [
            Path(sys.executable).with_name("ansible-playbook"),
            *("-i", folder / "hosts.yml", folder / "play.yml", "-e", json.dumps(given)),
            *(["--check"] if check else []),
        ],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "ANSIBLE_FORKS": "10", "PATH": f"{folder}:{os.environ['PATH']}"},
    )
    return done.returncode, done.stdout + done.stderr, (folder / "log").read_text().splitlines()


def test_control_planes_come_in_the_order_of_the_inventory(folder: Path) -> None:
    code, output, log = run(folder)
    assert code == 0, output
    assert [line for line in log if line.startswith("kubeadm")] == [f"kubeadm {name}" for name in "abcabc"]
    assert log.count("backup a") == 2


@pytest.mark.long
def test_packages_that_alone_are_behind_are_brought_on(folder: Path) -> None:
    """Killed in dpkg, and booted: the kubelet that runs is new, and kubeadm or kubectl is not."""
    code, output, log = run(folder, due=False)
    assert code == 0, output
    assert [log.count(f"packages {name}") for name in "abcde"] == [2] * 5
    assert [line for line in log if line.startswith(("backup", "kubeadm", "kubelet"))] == []
    assert "verify a" in log


@pytest.mark.long
@pytest.mark.parametrize(("package", "first"), [("1.20.2", ["kubelet a"]), ("1.21.0", [])])
def test_a_node_that_was_left_cordoned_is_back_before_kubeadm_runs(
    folder: Path, package: str, first: list[str]
) -> None:
    """But not one that does not run the kubelet that is installed: its turn brings it back."""
    play = folder / "play.yml"
    play.write_text(play.read_text().replace('["1.21.0", "1.22.0"]', '["1.21.0"]'))
    code, output, log = run(folder, cordoned="a", package=package)
    assert code == 0, output
    done = [line for line in log if line.startswith(("kubeadm", "kubelet"))]
    assert done[: done.index("kubeadm a")] == first


@pytest.mark.some(1)
@pytest.mark.parametrize("broken", ["backup a", "images b", "archives d"])
def test_nobody_is_touched_once_somebody_has_failed(folder: Path, broken: str) -> None:
    code, output, log = run(folder, broken=broken)
    assert code != 0
    touched = [line for line in log if line.startswith(("kubeadm", "packages", "kubelet"))]
    assert touched == []
    assert f"without {broken[-1]}" in " ".join(output.split())


@pytest.mark.long
def test_no_further_minor_without_a_node_that_failed_at_the_end(folder: Path) -> None:
    code, _output, log = run(folder, broken="packages e")
    assert code != 0
    assert "verify a" not in log
    assert log.count("backup a") == 1


@pytest.mark.long
def test_check_mode_says_that_no_control_plane_answers(folder: Path) -> None:
    collection = folder / "ansible_collections/bramble/pi"
    for module in ("doctor", "upgrade_info"):
        (collection / "plugins/modules" / f"{module}.py").symlink_to(
            ROOT / "plugins/modules" / f"{module}.py"
        )
    (collection / "roles/control_plane").symlink_to(ROOT / "roles/control_plane")
    (folder / "kubectl").write_text("#!/bin/sh\necho connection refused >&2\nexit 1\n")
    (folder / "kubectl").chmod(0o755)
    (folder / "play.yml").write_text(PLAY.partition("      loop:")[0].replace("version", "plan"))
    code, output, _log = run(folder, check=True)
    assert code == 0, output
    assert "No control plane answers: a: connection refused" in " ".join(output.split())
