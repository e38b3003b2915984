# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A role that removes its namespace removes none that somebody else has made."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.run_module import REPOSITORY

# It has the namespace with somebody's label, and notes what it is asked.
KUBECTL = """#!/bin/sh
echo "$*" >>"$FAKE/asked"
case "$*" in
*" get "*namespace*) echo '{"kind": "Namespace", "metadata": {"name": "team", "labels": {"team": "a"}}}' ;;
esac
"""


@pytest.mark.parametrize(
    ("role", "variables"),
    [
        ("verify", {"verify_namespace": "team", "__verify_report": {"architectures": []}}),
        (
            "failover",
            {
                "failover_namespace": "team",
                "failover_node": "localhost",
                "__failover_expected": {"longest": 1},
            },
        ),
    ],
)
def test_a_namespace_of_others_stays(tmp_path: Path, role: str, variables: dict[str, object]) -> None:
    (tmp_path / "kubectl").write_text(KUBECTL)
    (tmp_path / "kubectl").chmod(0o755)
    tasks = {"verify": "workload", "failover": "show"}[role]
    play = {
        "hosts": "workers",
        "gather_facts": False,
        "vars": {**variables, "__failover_longest": 1},
        "tasks": [
            {
                "name": "Do it",
                "ansible.builtin.include_role": {"name": f"bramble.pi.{role}", "tasks_from": tasks},
            }
        ],
    }
    (tmp_path / "play.yml").write_text(json.dumps([play]))
    localhost: dict[str, Any] = {"hosts": {"localhost": {}}}
    groups = {"control_plane": localhost, "workers": localhost}
    (tmp_path / "hosts.json").write_text(json.dumps({"all": {"children": groups}}))
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("ansible-playbook")),
            *("-i", str(tmp_path / "hosts.json"), "-c", "local", str(tmp_path / "play.yml")),
        ],
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(REPOSITORY / ".collections"),
            "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
            "FAKE": str(tmp_path),
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
        },
    )
    assert done.returncode != 0
    asked = (tmp_path / "asked").read_text()
    assert " delete " not in asked
    assert f"set {role}_namespace to a name that is free" in done.stdout, done.stdout
