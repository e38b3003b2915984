# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom the roles ask where the first control plane is switched off, in a run that has read no facts of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
# Nothing listens at port 1.
HOSTS = """\
all:
  vars:
    ansible_python_interpreter: {python}
control_plane:
  hosts:
    pi-1: {{ansible_host: 127.0.0.1, ansible_port: 1}}
    pi-2: {{ansible_connection: local}}
workers:
  hosts:
    pi-[3:4]: {{ansible_connection: local}}
"""
PLAYBOOK = """\
- hosts: workers
  gather_facts: false
  tasks:
    - name: Find a control plane that answers
      ansible.builtin.include_role:
        name: bramble.pi.control_plane
        tasks_from: find
      when: not hostvars | bramble.pi.seen_control_plane(groups)
      run_once: true
    - name: Load the variables of the roles
      ansible.builtin.include_vars: "{roles}/{{{{ item }}}}/vars/main.yml"
      loop: [workers, pod_network, verify]
    - name: Show who is asked
      ansible.builtin.debug:
        msg: >-
          asked: {{{{ __workers_control_plane }}}} {{{{ __pod_network_control_plane }}}}
          {{{{ __verify_control_plane }}}}
"""


def run(folder: Path, *, code: int) -> str:
    (folder / "hosts.yml").write_text(HOSTS.format(python=sys.executable))
    (folder / "play.yml").write_text(PLAYBOOK.format(roles=REPOSITORY / "roles"))
    kubectl = folder / "kubectl"
    kubectl.write_text(f"#!/bin/sh\necho 'pi-2:6443 was refused' >&2\nexit {code}\n")
    kubectl.chmod(0o755)
    return subprocess.run(
        [Path(sys.executable).parent / "ansible-playbook", "-i", "hosts.yml", "play.yml"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "PATH": f"{folder}:{os.environ['PATH']}",
            "ANSIBLE_COLLECTIONS_PATH": str(REPOSITORY / ".collections"),
            "ANSIBLE_NOCOLOR": "1",
        },
    ).stdout


def test_the_one_that_answers_is_asked(tmp_path: Path) -> None:
    output = run(tmp_path, code=0)
    assert "pi-2 is asked instead" in output
    assert "pi-1: Failed to connect to the host via ssh" in output
    assert output.count("asked: pi-2 pi-2 pi-2") == 2


@pytest.mark.parametrize(
    "reason", ["pi-1: Failed to connect to the host via ssh", "pi-2: pi-2:6443 was refused"]
)
def test_where_none_answers_each_reason_is_told(tmp_path: Path, reason: str) -> None:
    assert reason in run(tmp_path, code=1).rpartition("No control plane answers")[2]
