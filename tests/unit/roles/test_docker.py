# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role docker asks of Docker, beside what the user asks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.plays import loaded_once, write_for_each
from tests.unit.preflight_rack import found, problem
from tests.unit.run_module import run_module

ROOT = Path(__file__).parents[3]
DEFAULTS = {"exec-opts": ["native.cgroupdriver=systemd"], "storage-driver": "overlay2"}
JSON_FILE = {"log-driver": "json-file", "log-opts": {"max-size": "100m"}}
ASKED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {**DEFAULTS, **JSON_FILE}),
    ({"log-driver": "journald"}, {**DEFAULTS, "log-driver": "journald"}),
    (
        {"log-driver": "syslog", "log-opts": {"syslog-address": "udp://10.0.0.9:514"}},
        {**DEFAULTS, "log-driver": "syslog", "log-opts": {"syslog-address": "udp://10.0.0.9:514"}},
    ),
    (
        {"log-opts": {"max-file": "3"}},
        {**DEFAULTS, "log-driver": "json-file", "log-opts": {"max-size": "100m", "max-file": "3"}},
    ),
    ({"log-opts": {"max-size": "1g"}}, {**DEFAULTS, **JSON_FILE, "log-opts": {"max-size": "1g"}}),
    ({"storage-driver": "btrfs"}, {**DEFAULTS, **JSON_FILE, "storage-driver": "btrfs"}),
    (
        {"exec-opts": ["native.cgroupdriver=cgroupfs"], "dns": ["9.9.9.9"]},
        {
            **DEFAULTS,
            **JSON_FILE,
            "exec-opts": ["native.cgroupdriver=systemd", "native.cgroupdriver=cgroupfs"],
            "dns": ["9.9.9.9"],
        },
    ),
]


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Have ansible put together what each host asks, with the role's own variables."""
    folder = tmp_path_factory.mktemp("docker")
    hosts = {
        f"pi-{number}": {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "docker_daemon_json": wish,
        }
        for number, (wish, _expected) in enumerate(ASKED)
    }
    (folder / "hosts.yml").write_text(json.dumps({"all": {"hosts": hosts}}))
    play = {
        "hosts": loaded_once("all"),
        "gather_facts": False,
        "vars_files": [str(ROOT / "roles/docker/vars/main.yml")],
        "tasks": [
            {"ansible.builtin.set_fact": {"found": "{{ __docker_daemon_json }}"}},
            write_for_each("found", folder / "found.json"),
        ],
    }
    (folder / "play.yml").write_text(json.dumps([play]))
    ansible = Path(sys.executable).with_name("ansible-playbook")
    done = subprocess.run(
        [ansible, "-i", folder / "hosts.yml", folder / "play.yml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((folder / "found.json").read_text())
    return [found[host] for host in hosts]


@pytest.mark.parametrize("number", range(len(ASKED)))
def test_the_role_s_options_go_with_its_driver(asked: list[dict[str, Any]], number: int) -> None:
    assert asked[number] == ASKED[number][1]


# What dockerd would not start with, and what is said of it.
REFUSED: list[tuple[dict[str, Any], str]] = [
    (
        {"exec-opts": "native.cgroupdriver=systemd"},
        "exec-opts of docker_daemon_json is the text 'native.cgroupdriver=systemd'; expected a list of texts",
    ),
    ({"exec-opts": None}, "exec-opts of docker_daemon_json is null; expected a list"),
    ({"exec-opts": {"native.cgroupdriver": "systemd"}}, "is a mapping; expected a list of texts"),
    ({"storage-opts": ["overlay2.size=1G", 5]}, "has the number 5 as entry 2; expected text"),
    ({"dns": "9.9.9.9"}, "dns of docker_daemon_json is the text '9.9.9.9'; expected a list"),
    ({"registry-mirrors": "http://ada:secret@10.0.0.2"}, "registry-mirrors of docker_daemon_json is text;"),
    ({"log-opts": {"max-file": 3}}, "max-file in log-opts of docker_daemon_json is a number; expected text"),
    ({"log-opts": ["max-size=1m"]}, "log-opts of docker_daemon_json is a list; expected a mapping"),
    ({"log-driver": None}, "log-driver of docker_daemon_json is null; expected text"),
    ({"storage-driver": ["overlay2"]}, "storage-driver of docker_daemon_json is a list; expected text"),
]


@pytest.mark.parametrize(("wish", "message"), REFUSED)
def test_what_dockerd_would_not_start_with(wish: dict[str, Any], message: str) -> None:
    done = run_module("container_runtime", check=True, runtime="containerd", daemon_json=wish)
    assert (done["failed"], done.get("changed", False)) == (True, False)
    assert message in done["msg"]
    assert f"{message.partition(';')[0]};" in problem({"docker_daemon_json": wish})
    assert "secret" not in done["msg"] + problem({"docker_daemon_json": wish})


@pytest.mark.parametrize(("wish", "_result"), ASKED)
def test_what_the_role_puts_together_is_taken(wish: dict[str, Any], _result: dict[str, Any]) -> None:
    assert found({"docker_daemon_json": {**wish, "dns": "{{ later }}", "mtu": 1400}}) == ([], [])
