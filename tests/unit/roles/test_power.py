# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is switched off when, and what a node that stays on, or does not come back, does to the others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
#: Runs commands of a node that is on here, and does not reach others.
SSH = """#!/usr/bin/env python3
import os, sys
if "-O" in sys.argv:
    sys.exit(0)
folder, host, command = os.path.dirname(__file__), *sys.argv[-2:]
if not os.path.exists(f"{folder}/ssh-{host}"):
    sys.exit(print("connect to host: No route to host", file=sys.stderr) or 255)
os.environ["NODE"] = host
os.execvp("sh", ["sh", "-c", command])
"""
#: Its services end before its kernel does.
SYSTEMD_RUN = """#!/bin/sh
folder=$(dirname "$0")
echo "off $NODE" >>"$folder/log"
[ -e "$folder/stays-$NODE" ] ||
  (sleep 1; rm "$folder/ssh-$NODE"; sleep 2; rm "$folder/kernel-$NODE"; echo "is off $NODE" >>"$folder/log"
  ) >/dev/null 2>&1 &
"""
PING = """#!/bin/sh
for address; do :; done
test -e "$(dirname "$0")/kernel-$address"
"""
PLAY = """
- hosts: all
  gather_facts: false
  roles:
    - role: bramble.pi.ROLE
"""


class Rack:
    """Three nodes that are this machine, as far as they are on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name, text in {"ssh": SSH, "systemd-run": SYSTEMD_RUN, "ping": PING}.items():
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)
        for kind in ("ssh", "kernel"):
            for host in ("10.0.0.1", "10.0.0.2", "10.0.0.3"):
                (folder / f"{kind}-{host}").touch()
        hosts = {f"pi-{number}": {"ansible_host": f"10.0.0.{number}"} for number in (1, 2, 3)}
        inventory = {
            "all": {
                "vars": {
                    "ansible_ssh_executable": str(folder / "ssh"),
                    "ansible_python_interpreter": sys.executable,
                }
            },
            "control_plane": {"hosts": {"pi-1": hosts["pi-1"]}},
            "workers": {"hosts": {"pi-2": hosts["pi-2"], "pi-3": hosts["pi-3"]}},
        }
        (folder / "hosts.json").write_text(json.dumps(inventory))

    def run(self, role: str, *arguments: str) -> tuple[int, str]:
        """Run the role on all of them."""
        play = self.folder / "play.yml"
        play.write_text(PLAY.replace("ROLE", role))
        done = subprocess.run(
            [
                Path(sys.executable).parent / "ansible-playbook",
                "-i",
                self.folder / "hosts.json",
                play,
                # It would not switch itself off.
                *("-e", "__power_off_machine_id=another", *arguments),
            ],
            cwd=ROOT,
            env={
                **os.environ,
                "PATH": f"{self.folder}:{os.environ['PATH']}",
                "ANSIBLE_FORCE_COLOR": "0",
                "ANSIBLE_SSH_RETRIES": "0",
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.returncode, " ".join(done.stdout.split())

    def log(self) -> list[str]:
        """Return what was switched off."""
        path = self.folder / "log"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def rack(tmp_path: Path) -> Rack:
    return Rack(tmp_path)


def test_each_kind_is_off_before_the_next(rack: Rack) -> None:
    code, output = rack.run("power_off", "-e", "power_off_confirm=yes")
    assert code == 0, output
    first, second = ({f"{what} 10.0.0.{number}" for number in (2, 3)} for what in ("off", "is off"))
    log = rack.log()
    assert (set(log[:2]), set(log[2:4]), log[4:5]) == (first, second, ["off 10.0.0.1"])
    assert "pi-2, pi-3, pi-1 switched off" in output


@pytest.mark.long
def test_nobody_goes_after_a_node_that_stays_on(rack: Rack) -> None:
    (rack.folder / "stays-10.0.0.3").touch()
    code, output = rack.run("power_off", "-e", "power_off_confirm=yes", "-e", "power_off_timeout=6")
    assert code == 2
    assert "pi-3 is still on after 6 s" in output
    assert "off 10.0.0.1" not in rack.log()
    # Repaired, and run again: who is off already is none to wait for.
    (rack.folder / "stays-10.0.0.3").unlink()
    code, output = rack.run("power_off", "-e", "power_off_confirm=yes")
    assert code == 0, output
    assert "pi-2 does not answer, and counts as off" in output
    assert rack.log()[-3:-1] == ["is off 10.0.0.3", "off 10.0.0.1"] or rack.log()[-1] == "off 10.0.0.1"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        pytest.param(["--check"], 0, "1. off: pi-2, pi-3 (workers)", id="check"),
        pytest.param(
            [], 2, "power_off_confirm is ''; expected yes. Nothing was switched off", id="no answer"
        ),
        pytest.param(["--limit", "pi-2"], 2, "pi-1, pi-3 is left out by --limit", id="limit"),
    ],
)
def test_nobody_is_switched_off(rack: Rack, arguments: list[str], code: int, said: str) -> None:
    found, output = rack.run("power_off", *arguments)
    assert (found, said in output, rack.log()) == (code, True, []), output


@pytest.mark.long
def test_who_does_not_come_back_is_named(rack: Rack) -> None:
    (rack.folder / "ssh-10.0.0.3").unlink()
    code, output = rack.run("power_on", "-e", "power_on_timeout=3")
    assert code == 2
    assert "pi-3 did not answer at 10.0.0.3 by ssh within 3 s: look at its power supply" in output
    assert "pi-2 did not" not in output
    (rack.folder / "ssh-10.0.0.3").touch()
    code, output = rack.run("power_on", "-e", "power_on_timeout=60")
    assert code == 0, output
