# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure the frames of the live page with fifty nodes and a thousand pods, of which ten move each second.

usage: python -m tests.bench.live_view [SECONDS]      or: make bench-live

The API is simulated, by a server on loopback that answers lists and watches as the API server does.
"""

from __future__ import annotations

import email.utils
import functools
import itertools
import json
import statistics
import sys
import threading
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

PAGE = Path(__file__).resolve().parents[2] / "roles" / "live_view" / "files" / "www"
CHROMIUM = "/usr/bin/chromium"
# Chromium as root has no sandbox; the rack's addresses are not a proxy's business.
OPTIONS = ["--no-sandbox", "--no-proxy-server"]
APPS = ["shop", "mail", "cache", "hello", "sensor", "queue", "index", "photos"]
NODES = 50
PODS = 1000
MOVES_EACH_SECOND = 10

FRAMES = """
(milliseconds) => new Promise((resolve) => {
  const frames = [], end = performance.now() + milliseconds;
  const step = (last) => requestAnimationFrame((now) => {
    frames.push(now - last);
    if (now < end) step(now); else resolve(frames.slice(1));
  });
  step(performance.now());
})
"""


def node(number: int) -> dict[str, Any]:
    """Return a node as the API server shows it, with what the page reads."""
    return {
        "metadata": {"name": f"pi-{number + 1}", "resourceVersion": "1", "labels": {}},
        "spec": {},
        "status": {
            "addresses": [{"type": "InternalIP", "address": f"10.0.0.{number + 11}"}],
            "conditions": [{"type": "Ready", "status": "True"}],
            "nodeInfo": {"kubeletVersion": "v1.36.0", "architecture": "arm64"},
        },
    }


def pod(number: int, version: int = 1) -> dict[str, Any]:
    """Return a pod; another version of the same number replaces it on another node."""
    app = f"{APPS[number % len(APPS)]}-{number % 16}"
    return {
        "metadata": {
            "name": f"{app}-{number}-{version}",
            "namespace": "default",
            "uid": f"{number}-{version}",
            "resourceVersion": str(version),
            "labels": {"app": app},
        },
        "spec": {"nodeName": f"pi-{(number + version * 7) % NODES + 1}"},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }


@dataclass
class Readings:
    """What stands beside the page of the temperatures of boards."""

    boards: dict[str, Any]
    #: How long ago it was written, in seconds.
    age: float = 0
    asked: int = 0


class Handler(SimpleHTTPRequestHandler):
    """The page, and what it asks of the API."""

    def __init__(self, *arguments: Any, readings: Readings | None, **more: Any) -> None:
        self.readings = readings
        super().__init__(*arguments, **more)

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""

    def do_GET(self) -> None:
        """Answer as `kubectl proxy` does."""
        url = urllib.parse.urlsplit(self.path)
        kind = url.path.rpartition("/")[2]
        if url.path == "/rack.json":
            nodes = [
                {"host": f"board-{number + 1}", "name": f"pi-{number + 1}", "model": "Raspberry Pi 4 Model B"}
                for number in range(NODES)
            ]
            self.answer({"title": "Fifty boards", "monitored": self.readings is not None, "nodes": nodes})
        elif url.path == "/boards.json" and self.readings:
            self.readings.asked += 1
            self.answer(self.readings.boards, written=time.time() - self.readings.age)
        elif not url.path.startswith("/k8s/"):
            super().do_GET()
        elif "watch=1" in url.query:
            self.watch(moving=kind == "pods")
        else:
            items = {"nodes": map(node, range(NODES)), "pods": map(pod, range(PODS))}.get(kind, iter(()))
            self.answer({"metadata": {"resourceVersion": "1"}, "items": list(items)})

    def answer(self, data: dict[str, Any], written: float | None = None) -> None:
        """Send JSON."""
        body = json.dumps(data).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if written is not None:
            self.send_header("Last-Modified", email.utils.formatdate(written, usegmt=True))
        self.end_headers()
        self.wfile.write(body)

    def watch(self, *, moving: bool) -> None:
        """Send changes until the page goes away."""
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        try:
            for step in itertools.count():
                time.sleep(1 / MOVES_EACH_SECOND)
                number, version = step * 37 % PODS, step // PODS + 1
                if moving:
                    self.event("DELETED", pod(number, version))
                    self.event("ADDED", pod(number, version + 1))
        except OSError:
            return

    def event(self, kind: str, item: dict[str, Any]) -> None:
        """Send one change."""
        self.wfile.write(json.dumps({"type": kind, "object": item}).encode() + b"\n")
        self.wfile.flush()


@contextmanager
def simulated(readings: Readings | None = None) -> Iterator[str]:
    """Serve the page with a simulated API, and with temperatures if there are some; yield its address."""
    handler = functools.partial(Handler, directory=str(PAGE), readings=readings)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()


@dataclass
class Frames:
    """How long frames took, in milliseconds, and how many pods stood on the page and were replaced."""

    times: list[float]
    pods: int
    moves: int

    def table(self) -> str:
        """Return the figures for people."""
        hundredths = statistics.quantiles(self.times, n=100)
        late = sum(each > 50 for each in self.times)
        rows = {
            "frames": len(self.times),
            "frames each second": round(1000 * len(self.times) / sum(self.times), 1),
            "median, ms": round(statistics.median(self.times), 1),
            "95 of 100 within, ms": round(hundredths[94], 1),
            "99 of 100 within, ms": round(hundredths[98], 1),
            "longest, ms": round(max(self.times), 1),
            "over 50 ms": late,
            "pods on the page": self.pods,
            "pods that moved": self.moves,
        }
        return "\n".join(f"{name:<24}{value:>8}" for name, value in rows.items())


def measure(browser: Browser, seconds: float, screenshot: str = "") -> Frames:
    """Open the page and measure its frames while pods move."""
    page = browser.new_page(viewport={"width": 1920, "height": 1080}, color_scheme="dark")
    with simulated() as url:
        page.goto(url)
        page.locator(".pod").nth(PODS - 10).wait_for(state="attached", timeout=60000)
        page.wait_for_timeout(2000)
        before = set(page.eval_on_selector_all(".pod", "all => all.map(({dataset}) => dataset.pod)"))
        times = page.evaluate(FRAMES, seconds * 1000)
        after = set(page.eval_on_selector_all(".pod", "all => all.map(({dataset}) => dataset.pod)"))
        if screenshot:
            page.screenshot(path=screenshot)
        page.close()
    return Frames(times, len(after), len(after - before))


def main(arguments: list[str]) -> int:
    """Measure and print."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        print(measure(browser, float(arguments[0]) if arguments else 15, *arguments[1:]).table())
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
