# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""In which order the role maintenance works on nodes, and what a node that fails does to the others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

#: Answers for any node, and writes down what is asked of it. Its kubelets are heard of all the time.
KUBECTL = """#!/usr/bin/env python3
import json, os, sys, time
folder = os.path.dirname(__file__)
words = [word for word in sys.argv[1:] if not word.startswith(("--kubeconfig", "--request-timeout"))]
words = [word for word in words if word != "--ignore-not-found"]
words = [word for word in words if not word.startswith("/") and word != "60s"]
if os.path.exists(f"{folder}/silent"):
    sys.exit("connection refused")
if words[0] == "version":
    sys.exit(print('{"clientVersion": {"minor": "20"}}'))
if words[1].startswith("--raw"):
    sys.exit(print("ok"))
def note(line):
    with open(f"{folder}/log", "a") as file:
        file.write(line + "\\n")
if os.path.exists(f"{folder}/deleted") and words[2] == "node":
    sys.exit()
name = words[-1] if words[:2] == ["get", "--output=json"] and words[2] == "node" else words[1]
path = f"{folder}/node-{words[2] if words[0] == 'patch' else name}"
boot = open("/proc/sys/kernel/random/boot_id").read().strip()
node = {"metadata": {}, "spec": {}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}
node["status"]["nodeInfo"] = {"bootID": boot}
if os.path.exists(path):
    node = json.load(open(path))
if words[0] == "drain":
    # The first one takes the longest.
    time.sleep({"b": 1.0, "c": 0.7, "d": 0.3}.get(words[1], 0))
    if os.path.exists(f"{folder}/stuck"):
        sys.exit(1)
    if os.path.exists(f"{folder}/lost"):
        # From now on nothing is answered.
        os.rename(f"{folder}/lost", f"{folder}/silent")
        sys.exit("connection refused")
    note(f"drain {words[1]}")
elif words[0] == "patch":
    patch = json.loads(words[-1].partition("=")[2])
    node["metadata"].update(patch["metadata"])
    node["spec"].update(patch.get("spec", {}))
    json.dump(node, open(path, "w"))
    if not node["spec"].get("unschedulable"):
        note(f"back {words[2]}")
elif words[2] == "node":
    print(json.dumps(node))
elif words[2] == "nodes":
    print(json.dumps({"items": [{"metadata": {"name": name}, "spec": {}} for name in "abcdef"]}))
elif words[2] == "lease":
    print(json.dumps({"spec": {"renewTime": str(time.time())}}))
else:
    print(json.dumps({"items": []}))
"""
WORK = """
- ansible.builtin.shell:
    cmd: |
      echo "work {{ inventory_hostname }}" >>"{{ folder }}/log"
      test {{ inventory_hostname }} != "{{ broken }}"
  changed_when: true
"""
PLAY = """
- hosts: control_plane:workers
  gather_facts: false
  tasks:
    - ansible.builtin.include_role:
        name: bramble.pi.maintenance
      vars:
        maintenance_nodes: "{{ nodes }}"
        maintenance_role: "{{ folder }}/work"
        maintenance_tasks: do
        maintenance_drain: "{{ drained }}"
        __maintenance_mark: "{{ folder }}/mark-{{ inventory_hostname }}"
      when: inventory_hostname in nodes
    - ansible.builtin.debug:
        msg: after
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "kubectl").write_text(KUBECTL.replace("/usr/bin/env python3", sys.executable, 1))
    (tmp_path / "kubectl").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    (tmp_path / "work/tasks").mkdir(parents=True)
    (tmp_path / "work/tasks/do.yml").write_text(WORK)
    (tmp_path / "play.yml").write_text(PLAY)
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    groups: dict[str, Any] = {
        "control_plane": {"hosts": {"a": {}, "b": {}}},
        "workers": {"hosts": {"c": {}, "d": {}, "e": {}, "f": {}}},
    }
    (tmp_path / "hosts.yml").write_text(json.dumps({"all": {"vars": local, "children": groups}}))
    (tmp_path / "log").touch()
    return tmp_path


def run(folder: Path, *words: str, **variables: object) -> tuple[int, str, list[str]]:
    given = {
        "folder": str(folder),
        "maintenance_serial": 2,
        "broken": "",
        "drained": True,
        "nodes": list("dcabe"),
        **variables,
    }
    done = subprocess.run(
        [
            Path(sys.executable).with_name("ansible-playbook"),
            *("-i", str(folder / "hosts.yml"), str(folder / "play.yml"), "-e", json.dumps(given), *words),
        ],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "ANSIBLE_FORKS": "10"},
    )
    return done.returncode, done.stdout + done.stderr, (folder / "log").read_text().splitlines()


def whole(*nodes: str) -> set[str]:
    return {f"{step} {node}" for step in ("drain", "work", "back") for node in nodes}


@pytest.mark.long
def test_control_planes_one_by_one_then_workers_some_at_a_time(folder: Path) -> None:
    code, output, log = run(folder)
    assert code == 0, output
    assert log[:6] == ["drain a", "work a", "back a", "drain b", "work b", "back b"]
    assert set(log[6:12]) == whole("c", "d")
    assert log[12:] == ["drain e", "work e", "back e"]
    assert list(folder.glob("mark-*")) == []


@pytest.mark.long
def test_what_fails_ends_the_run_and_the_next_run_goes_on(folder: Path) -> None:
    code, output, log = run(folder, broken="b")
    assert code != 0
    assert log == ["drain a", "work a", "back a", "drain b", "work b"]
    told = "Of the others a had been done before, and d, c, e was not touched"
    assert told in " ".join(output.split())
    # Not even those on which nothing was due.
    assert "after" not in output
    assert [path.name for path in folder.glob("mark-*")] == ["mark-b"]
    # It is drained by now.
    code, output, log = run(folder, nodes=["b"])
    assert code == 0, output
    assert log[5:] == ["work b", "back b"]
    assert list(folder.glob("mark-*")) == []


@pytest.mark.long
def test_what_a_killed_run_has_left_comes_first(folder: Path) -> None:
    (folder / "mark-b").touch()
    (folder / "mark-c").touch()
    code, output, log = run(folder, nodes=["a", "b", "c"])
    assert code == 0, output
    assert log == [f"{step} {node}" for node in "bca" for step in ("drain", "work", "back")]


@pytest.mark.long
def test_what_brings_a_cluster_back_is_done_without_it(folder: Path) -> None:
    kubectl = folder / "kubectl"
    kubectl.write_text("#!/bin/sh\necho connection refused >&2\nexit 1\n")
    code, output, log = run(folder, nodes=["c"])
    assert code == 0, output
    assert log == ["work c"]
    # Once it answers, the next run looks after the node.
    assert [path.name for path in folder.glob("mark-*")] == ["mark-c"]


def test_a_node_that_is_not_drained_stays_in_use(folder: Path) -> None:
    (folder / "stuck").touch()
    code, output, log = run(folder, nodes=["c"])
    assert code != 0
    assert "c was not drained within 300 s, and takes pods again as before" in " ".join(output.split())
    assert log == ["back c"]
    assert list(folder.glob("mark-*")) == []


@pytest.mark.long
def test_a_node_of_which_nobody_knows_is_looked_after_by_the_next_run(folder: Path) -> None:
    """The API server goes away while it is drained."""
    (folder / "lost").touch()
    code, output, log = run(folder, nodes=["c"])
    assert code != 0
    assert json.loads((folder / "node-c").read_text())["spec"] == {"unschedulable": True}
    assert [path.name for path in folder.glob("mark-*")] == ["mark-c"]
    (folder / "silent").unlink()
    code, output, log = run(folder, nodes=["c"])
    assert code == 0, output
    assert log[-2:] == ["work c", "back c"]
    assert list(folder.glob("mark-*")) == []


def test_a_cluster_that_cannot_be_asked_is_not_taken_for_one_that_is_away(folder: Path) -> None:
    kubectl = folder / "kubectl"
    kubectl.write_text("#!/bin/sh\necho 'You must be logged in to the server (Unauthorized)' >&2\nexit 1\n")
    code, output, log = run(folder, nodes=["c"])
    assert code != 0
    assert "the node was not touched, as the cluster may run" in " ".join(output.split())
    assert log == []
    assert list(folder.glob("mark-*")) == []


@pytest.mark.long
def test_where_pods_feel_nothing_nothing_is_drained_and_one_still_comes_after_the_other(folder: Path) -> None:
    code, output, log = run(folder, drained=False, nodes=list("bca"), maintenance_serial=1)
    assert code == 0, output
    # Nothing is cordoned, so that each patch finds it in use.
    assert log == [f"{step} {node}" for node in "bac" for step in ("back", "work", "back")]
    assert list(folder.glob("mark-*")) == []


@pytest.mark.some(1)
@pytest.mark.parametrize(("node", "text"), [("c", ""), ("b", "the cluster has no node b, which somebody")])
def test_a_node_that_somebody_has_deleted(folder: Path, node: str, text: str) -> None:
    """A worker is like one in no cluster; whether etcd can spare a control plane nobody tells."""
    (folder / "deleted").touch()
    code, output, log = run(folder, nodes=[node])
    assert (code == 0) is not bool(text), output
    assert text in " ".join(output.split())
    assert log == ([] if text else [f"work {node}"])
    assert list(folder.glob("mark-*")) == []


def test_check_mode_touches_nothing(folder: Path) -> None:
    code, output, log = run(folder, "--check", nodes=["c"])
    assert code == 0, output
    assert log == []
    assert list(folder.glob("mark-*")) == list(folder.glob("node-*")) == []


LEAVE = """
- hosts: c
  gather_facts: false
  tasks:
    - ansible.builtin.include_role:
        name: bramble.pi.reset
        tasks_from: leave
      vars:
        __reset_staying: [a]
        __reset_state: {state: worker}
        __reset_node_name: c
        __reset_maintenance_mark: "{{ folder }}/mark-c"
"""


@pytest.mark.parametrize(
    ("trouble", "words", "ends", "marks"),
    [
        # What resets it removes the mark.
        ("", [], True, ["mark-c"]),
        ("stuck", [], False, []),
        # As where the run is killed: the next one looks after the node.
        ("lost", [], False, ["mark-c"]),
        ("", ["--check"], True, []),
    ],
)
def test_a_node_that_leaves_is_marked_while_it_is_drained(
    folder: Path, trouble: str, words: list[str], ends: bool, marks: list[str]
) -> None:
    (folder / "play.yml").write_text(LEAVE)
    if trouble:
        (folder / trouble).touch()
    code, output, log = run(folder, *words)
    assert (code == 0) is ends, output
    assert ends or "Nothing was reset" in " ".join(output.split())
    assert [path.name for path in folder.glob("mark-*")] == marks
    assert ("drain c" in log) is (ends and not words)
