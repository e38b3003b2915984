# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module before a server that answers what a real Prometheus did."""

from __future__ import annotations

import copy
import json
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._monitoring import day

from tests.unit.run_module import run_module

RECORDED = json.loads((Path(__file__).parents[2] / "fixtures/prometheus/day.json").read_text())


def answer(path: str) -> dict[str, Any]:
    """Answer with what was recorded, moved to the day that is asked for."""
    asked = urllib.parse.parse_qs(urllib.parse.urlsplit(path).query)
    answers = {day.QUERIES[name]: found for name, found in RECORDED["answers"].items()}
    recorded: dict[str, Any] = copy.deepcopy(answers[asked["query"][0]])
    moved = int(asked["start"][0]) - day.STEP - RECORDED["start"]
    for series in recorded["data"]["result"]:
        series["values"] = [[moment + moved, text] for moment, text in series["values"]]
    return recorded


@contextmanager
def prometheus(code: int, body: Any) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = body(self.path) if callable(body) else body
            text = found if isinstance(found, bytes) else json.dumps(found).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.parametrize("check", [True, False])
def test_a_day(check: bool) -> None:
    with prometheus(200, answer) as url:
        result = run_module("monitoring_day", check=check, url=url)
    assert result["changed"] is False
    assert result["nodes"]["pi-2"]["away"] == [[244, 246]]
    assert len(result["nodes"]["pi-1"]["temperature"]) == 288
    assert [each["alert"] for each in result["alerts"]] == [
        "BrambleEtcdNoQuorum",
        "BrambleNotExamined",
        "BrambleTemperature",
    ]


@pytest.mark.parametrize(
    ("code", "body", "message"),
    [
        (400, RECORDED["error"], "Prometheus refuses the query: 1:9: parse error"),
        (503, b"Service Unavailable", "the answer begins with 'Service Unavailable'; expected one of"),
    ],
)
def test_what_is_no_day(code: int, body: Any, message: str) -> None:
    with prometheus(code, body) as url:
        result = run_module("monitoring_day", url=url)
    assert result["failed"]
    assert message in result["msg"]


def test_nobody_answers() -> None:
    with prometheus(200, {}) as url:
        pass
    result = run_module("monitoring_day", url=url)
    assert result["failed"]
    assert f"Prometheus at {url} does not answer (" in result["msg"]
    assert "refused" in result["msg"]
    assert "bramble.pi.monitoring" in result["msg"]
