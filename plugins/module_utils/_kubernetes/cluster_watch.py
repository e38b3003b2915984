# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Watches a cluster from one of its nodes: objects of its API, a node's kubelet, a service."""

from __future__ import annotations

import contextlib
import http.client
import json
import queue
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

_KUBELET_PORT = 10250
_PAUSE = 0.25
_PATIENCE = 1.0

#: What is seen: when, of what, and the event of the API's watch or whether it answered.
Seen = tuple[float, str, Any]


class Watch:
    """Runs one thread for each thing that is watched; iterating gives what they see, as it comes."""

    def __init__(self, *, kubeconfig: str) -> None:
        self._kubeconfig = kubeconfig
        self._seen: queue.Queue[Seen] = queue.Queue()
        self._ended = threading.Event()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        for process in list(self._processes.values()):
            process.terminate()
        for thread in self._threads:
            thread.join()

    def _start(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        self._threads.append(thread)

    def follow(self, what: str, path: str) -> None:
        """Follow objects of the API by their path, from those that are there already."""
        self._start(lambda: self._follow(what, path))

    def _follow(self, what: str, path: str) -> None:
        url = f"{path}{'&' if '?' in path else '?'}watch=true"
        while not self._ended.is_set():
            command = ["kubectl", f"--kubeconfig={self._kubeconfig}", "get", f"--raw={url}"]
            with subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            ) as process:
                self._processes[what] = process
                if self._ended.is_set():
                    process.terminate()
                for line in process.stdout or ():
                    with contextlib.suppress(ValueError):
                        self._seen.put((time.monotonic(), what, json.loads(line)))
            # The server ends a watch after a while, and is away for a moment when it is changed.
            self._ended.wait(_PAUSE)

    def ask_node(self, what: str, address: str) -> None:
        """Ask again and again whether a node's kubelet can be reached."""
        self._start(lambda: self._ask(what, lambda: _reachable(address)))

    def ask_service(self, what: str, address: str, port: int, path: str) -> None:
        """Ask a service again and again, each time by a connection of its own."""
        self._start(lambda: self._ask(what, lambda: _served(address, port, path)))

    def _ask(self, what: str, answers: Callable[[], bool]) -> None:
        while not self._ended.is_set():
            began = time.monotonic()
            self._seen.put((began, what, answers()))
            self._ended.wait(_PAUSE)

    def until(self, deadline: float) -> Iterator[Seen | None]:
        """Yield what is seen, and None when there is nothing for a moment."""
        while time.monotonic() < deadline:
            try:
                yield self._seen.get(timeout=_PAUSE)
            except queue.Empty:
                yield None


def _reachable(address: str) -> bool:
    try:
        socket.create_connection((address, _KUBELET_PORT), timeout=_PATIENCE).close()
    except OSError:
        return False
    return True


def _served(address: str, port: int, path: str) -> bool:
    connection = http.client.HTTPConnection(address, port, timeout=_PATIENCE)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
