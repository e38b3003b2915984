# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What writes the temperatures for the live page; fixtures/prometheus has answers of a real Prometheus."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from ansible_collections.bramble.pi.plugins.module_utils._monitoring import configuration, day, metrics

from tests.unit.namespace_node import NamespaceNode
from tests.unit.plays import loaded_once

REPOSITORY = Path(__file__).parents[3]
ROLE = REPOSITORY / "roles/live_view"
PROGRAM = ROLE / "files/readings.py"
RECORDED = json.loads((REPOSITORY / "tests/unit/fixtures/prometheus/readings.json").read_text())
MODEL = ROLE / "files/www/model.js"


def program() -> ModuleType:
    spec = importlib.util.spec_from_file_location("readings", PROGRAM)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("name", "found"),
    [
        (
            "undervoltage",
            {
                "pi-1": {"temperature": 52.8, "throttled": []},
                "pi-2": {"temperature": 43.7, "throttled": ["throttled", "undervoltage"]},
            },
        ),
        (
            "hot",
            {
                "pi-1": {"temperature": 83.4, "throttled": ["soft_temperature_limit", "throttled"]},
                "pi-2": {"temperature": 40.1, "throttled": []},
            },
        ),
        # The collector of pi-1 is frozen, and its last figures stand still.
        ("frozen", {"pi-2": {"temperature": 36.8, "throttled": []}}),
    ],
)
def test_recorded_answers(name: str, found: dict[str, Any]) -> None:
    assert program().readings(json.dumps(RECORDED[name]).encode()) == found


def test_the_rack_has_one_set_of_names() -> None:
    query = program().QUERY
    assert {word for word in metrics.METRICS if word in query} == {
        "bramble_temperature_celsius",
        "bramble_throttled",
    }
    assert f'alertname="{day.NOT_EXAMINED}"' in query
    (block,) = re.findall(r"const REASONS = \{(.*?)\}", MODEL.read_text(), re.DOTALL)
    assert re.findall(r"(\w+): \"", block) == list(metrics.THROTTLED)


@pytest.mark.parametrize("tasks", ["live_view/tasks/present.yml", "report/tasks/main.yml"])
def test_who_looks_for_prometheus_finds_what_the_monitoring_writes(tasks: str) -> None:
    assert f"path: {configuration.PROMETHEUS}\n" in (REPOSITORY / "roles" / tasks).read_text()


class Server:
    """What answers as Prometheus, or not at all."""

    def __init__(self) -> None:
        self.body = b""
        self.code = 200
        self.asked: list[str] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                owner.asked.append(self.path)
                self.send_response(owner.code)
                self.end_headers()
                self.wfile.write(owner.body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def prometheus() -> Iterator[Server]:
    server = Server()
    yield server
    server.server.shutdown()
    server.server.server_close()


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def wait_until_asked(prometheus: Server, times: int) -> None:
    """Wait until it is asked so many times more."""
    asked = len(prometheus.asked) + times
    wait_for(lambda: len(prometheus.asked) >= asked)


def test_the_program(prometheus: Server, tmp_path: Path) -> None:
    prometheus.body = json.dumps(RECORDED["hot"]).encode()
    path, said = tmp_path / "boards.json", tmp_path / "said"
    # As it is, but for its pause.
    quick = (
        "import runpy, sys, time; wait = time.sleep; time.sleep = lambda _seconds: wait(0.1);"
        " sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    with said.open("w") as log:
        command = [sys.executable, "-IS", "-c", quick, str(PROGRAM), prometheus.url, str(path)]
        process = subprocess.Popen(command, stderr=log)
    try:
        wait_for(path.exists)
        assert json.loads(path.read_text())["pi-1"]["temperature"] == 83.4
        # Whoever serves the page is another user.
        assert path.stat().st_mode & 0o777 == 0o644
        for code, body in ((503, b"busy"), (200, b"<html>"), (200, b'{"status": "error"}'), (200, b"")):
            prometheus.code, prometheus.body = code, body
            # An answer of before may still be under way.
            wait_until_asked(prometheus, 2)
            before = path.stat().st_mtime_ns
            wait_until_asked(prometheus, 3)
            assert path.stat().st_mtime_ns == before, body
        prometheus.code, prometheus.body = 200, json.dumps(RECORDED["undervoltage"]).encode()
        wait_for(lambda: "52.8" in path.read_text())
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()
    # Once for each thing that is other than before, not for each time.
    lines = said.read_text().splitlines()
    assert len(lines) == 6, lines
    assert lines[0] == lines[-1] == f"Prometheus at {prometheus.url} answers"
    assert "503" in lines[1]
    # It asks for nothing else, whatever it is told.
    asked_for = {urllib.parse.unquote_plus(each) for each in prometheus.asked}
    assert asked_for == {f"/api/v1/query?query={program().QUERY}"}


def play(name: str, tasks: str, *, check: bool) -> dict[str, Any]:
    """Run one of the role's files of tasks."""
    return {
        "name": name,
        "hosts": loaded_once("localhost"),
        "gather_facts": False,
        "check_mode": check,
        "vars_files": [
            str(folder / "main.yml")
            for folder in (REPOSITORY / "roles/cluster_defaults/defaults", ROLE / "defaults", ROLE / "vars")
        ],
        "tasks": [{"ansible.builtin.include_tasks": str(ROLE / f"tasks/{tasks}.yml")}],
    }


@pytest.mark.long
@pytest.mark.skipif(os.getuid() != 0, reason="needs root")
def test_they_come_and_go_with_the_monitoring(tmp_path: Path) -> None:
    node = NamespaceNode(tmp_path, folders=["/etc/systemd/system", "/usr/local/sbin", "/usr/local/share"])
    node.systemd()
    for folder in ("files", "templates"):
        (tmp_path / folder).symlink_to(ROLE / folder)
    plays = [
        play(f"{tasks}, {step}", tasks, check=step.startswith("check"))
        for tasks in ("readings", "no_readings")
        for step in ("check", "apply", "check again", "apply again")
    ]
    (tmp_path / "play.yml").write_text(yaml.safe_dump(plays))
    environment = (
        f"ANSIBLE_COLLECTIONS_PATH={REPOSITORY}/.collections ANSIBLE_PYTHON_INTERPRETER={sys.executable}"
    )
    command = f"{environment} {Path(sys.executable).with_name('ansible-playbook')} -i localhost, -c local"
    files = "ls -d /usr/local/sbin/* /etc/systemd/system/* /usr/local/share/bramble-live-view/*"
    outputs = node.run(
        # As the role has made it before.
        "mkdir /usr/local/share/bramble-live-view",
        f"{command} -e monitoring_address=10.0.0.1 {tmp_path}/play.yml 2>&1",
        f"{files} 2>/dev/null",
        "cat /run/systemctl",
    )
    changed = {
        name: len(re.findall(r"^changed:", text, re.MULTILINE))
        for name, text in re.findall(
            r"^PLAY \[(.*?)\].*?\n(.*?)(?=^PLAY )", outputs[1], re.MULTILINE | re.DOTALL
        )
    }
    assert "failed=0" in outputs[1], outputs[1]
    assert changed == {
        "readings, check": 4,
        "readings, apply": 4,
        "readings, check again": 0,
        "readings, apply again": 0,
        "no_readings, check": 4,
        "no_readings, apply": 4,
        "no_readings, check again": 0,
        "no_readings, apply again": 0,
    }, outputs[1]
    assert outputs[2] == ""
    unit = "bramble-live-view-readings.service"
    # To start it again, it is stopped first.
    started = [each for each in outputs[3].splitlines() if each.startswith(("start ", "stop "))]
    assert started == [f"stop {unit}", f"start {unit}", f"stop {unit}"]
