# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work in a process of its own, which can be left behind.

What waits for a card that hangs cannot be killed, and a process with such a thread never ends: whoever
started it waits for it, and for the pipes that it holds open. So nothing that may hang is done in the
module's own process. Threads for the cards inside one process need less memory than a process for each.
"""

from __future__ import annotations

import json
import os
import select
import signal
import time
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError


class WorkError(BrambleError):
    """The work ended without a result."""


class ChildProcess:
    """A process that does one piece of work beside this one, and ends with it unless it hangs."""

    def __init__(self, work: Callable[[int], Any]) -> None:
        """Start ``work``, which gets a pipe that is at its end when this process is."""
        self._result, result = os.pipe()
        alive, self._alive = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._result)
            os.close(self._alive)
            _work(work, alive, result)
        os.close(alive)
        os.close(result)

    def result(self, *, timeout: float | None = None) -> Any:
        """Wait for the result; TimeoutError if it takes too long."""
        end = None if timeout is None else time.monotonic() + timeout
        text = b""
        while not text.endswith(b"\n"):
            left = None if end is None else max(0.0, end - time.monotonic())
            if not select.select([self._result], [], [], left)[0]:
                raise TimeoutError
            part = os.read(self._result, 1 << 16)
            if not part:
                raise WorkError("the process that works on the cards was ended")
            text += part
        outcome = json.loads(text)
        if "crash" in outcome:
            raise WorkError(outcome["crash"])
        return outcome["result"]

    def close(self) -> None:
        """Have the process end, without waiting for it."""
        os.close(self._alive)
        os.close(self._result)


def _work(work: Callable[[int], Any], alive: int, result: int) -> NoReturn:
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in range(3):
            os.dup2(null, descriptor)
        try:
            outcome = {"result": work(alive)}
        except Exception:
            outcome = {"crash": traceback.format_exc()}
        with os.fdopen(result, "w") as pipe:
            pipe.write(json.dumps(outcome) + "\n")
    finally:
        # What the module does goes on in the other process only.
        os._exit(0)
