# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""With --limit a newcomer asks the control planes, which are not in the run, what they run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
#: The facts of a host are in its variable "is"; one without it is off.
ACTIONS = {
    "node_facts": """
from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
class ActionModule(ActionBase):
    def run(self, tmp=None, task_vars=None):
        host = self._task.delegate_to or task_vars["inventory_hostname"]
        with open(task_vars["folder"] + "/log", "a") as file:
            file.write("asked " + host + "\\n")
        found = task_vars["hostvars"][host].get("is")
        if found is None:
            raise AnsibleConnectionFailure("it is off")
        return {"ansible_facts": {"bramble": {"kubernetes": found}}}
""",
    "kube_packages": """
from ansible.plugins.action import ActionBase
class ActionModule(ActionBase):
    def run(self, tmp=None, task_vars=None):
        with open(task_vars["folder"] + "/log", "a") as file:
            file.write("goes with " + self._task.args["cluster_version"] + "\\n")
        return {}
""",
}
PLAY = """
- hosts: control_plane:workers
  gather_facts: false
  roles: [bramble.pi.kube_packages]
"""
RUNS = {"state": "control_plane", "version": "1.36.2"}
OFF, NEWCOMER = None, {"state": "none"}


@pytest.mark.parametrize(
    ("control_planes", "version"),
    [
        ({"a": RUNS}, "1.36.2"),
        ({"a": OFF, "b": RUNS, "c": RUNS}, "1.36.2"),
        ({"a": NEWCOMER, "b": RUNS}, "1.36.2"),
        ({"a": OFF, "b": OFF}, ""),
        ({}, ""),
    ],
)
def test_a_newcomer_goes_with_any_control_plane_that_answers(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    control_planes: dict[str, dict[str, str] | None],
    version: str,
) -> None:
    log = run(tmp_path, monkeypatch, control_planes, "--limit", "w")
    assert log == [*(f"asked {name}" for name in ("w", *control_planes)), f"goes with {version}"]


@pytest.mark.parametrize(("control_plane", "version"), [(NEWCOMER, ""), (RUNS, "1.36.2")])
def test_in_a_run_of_all_hosts_nobody_is_asked_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, control_plane: dict[str, str], version: str
) -> None:
    log = run(tmp_path, monkeypatch, {"a": control_plane})
    assert sorted(log) == sorted(["asked a", "asked w", *[f"goes with {version}"] * 2])


def run(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    control_planes: dict[str, dict[str, str] | None],
    *words: str,
) -> list[str]:
    """Run the role, and return what was asked and said in it."""
    collection = tmp_path / "ansible_collections/bramble/pi"
    (collection / "plugins/action").mkdir(parents=True)
    (collection / "galaxy.yml").symlink_to(ROOT / "galaxy.yml")
    (collection / "roles").symlink_to(ROOT / "roles")
    for path in (ROOT / "plugins").iterdir():
        if path.name != "action":
            (collection / "plugins" / path.name).symlink_to(path)
    for name, text in ACTIONS.items():
        (collection / f"plugins/action/{name}.py").write_text(text)
    monkeypatch.setenv("ANSIBLE_COLLECTIONS_PATH", str(tmp_path))
    hosts = {name: {} if found is None else {"is": found} for name, found in control_planes.items()}
    inventory = {
        "all": {
            "vars": {
                "ansible_connection": "local",
                "ansible_python_interpreter": sys.executable,
                "folder": str(tmp_path),
                "kube_packages_version": "1.36",
            },
            "children": {
                "control_plane": {"hosts": hosts},
                "workers": {"hosts": {"w": {"is": NEWCOMER}}},
            },
        }
    }
    (tmp_path / "hosts.yml").write_text(json.dumps(inventory))
    (tmp_path / "play.yml").write_text(PLAY)
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("ansible-playbook")),
            *("-i", str(tmp_path / "hosts.yml"), str(tmp_path / "play.yml"), *words),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return (tmp_path / "log").read_text().splitlines()
