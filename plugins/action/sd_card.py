# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the module ``bramble.pi.sd_card`` and show how far it is."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import yaml
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.bramble.pi.plugins.module_utils._sd_card.progress import Lines, bars

_COLLECTION = Path(__file__).resolve().parents[2]
_LOOK_SECONDS = 0.25
_UP = "\x1b[{}A"
_CLEAR_TO_END_OF_LINE = "\x1b[K"


def _terminal_width() -> int:
    """Return how wide the terminal is, 0 if there is none.

    Tasks run in processes that are cut off from the terminal. What starts them loads this file before, and
    can tell.
    """
    if multiprocessing.parent_process() or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        return 0
    return os.get_terminal_size(sys.stderr.fileno()).columns


_WIDTH = _terminal_width()

display = Display()


def _collection_version() -> str:
    """Read the version of this collection, as it is installed or in a checkout."""
    manifest = _COLLECTION / "MANIFEST.json"
    if manifest.exists():
        return str(json.loads(manifest.read_text(encoding="utf-8"))["collection_info"]["version"])
    return str(yaml.safe_load((_COLLECTION / "galaxy.yml").read_text(encoding="utf-8"))["version"])


class _Show:
    """Shows what the module writes to a file, until it is told to end."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._position = 0
        self._lines = Lines()
        self._drawn = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> _Show:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._end.wait(_LOOK_SECONDS):
            self._show()
        self._show()

    def _show(self) -> None:
        with open(self._path, encoding="utf-8") as file:
            file.seek(self._position)
            text = file.read()
        complete = text[: text.rfind("\n") + 1]
        self._position += len(complete)
        if not complete:
            return
        cards = json.loads(complete.splitlines()[-1])
        if _WIDTH:
            self._draw(cards)
            return
        for line in self._lines.due(cards=cards, now=time.monotonic()):
            display.display(line, stderr=True)

    def _draw(self, cards: list[dict[str, Any]]) -> None:
        up = _UP.format(self._drawn) if self._drawn else ""
        lines = [f"{line}{_CLEAR_TO_END_OF_LINE}" for line in bars(cards=cards, width=_WIDTH - 1)]
        display.display(up + "\n".join(lines), stderr=True, screen_only=True)
        self._drawn = len(lines)


class ActionModule(ActionBase):
    """Passes everything on to the module, and tells of each card also where that refused to begin."""

    def run(self, tmp: None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the module; where it runs on this machine, show its progress."""
        super().run(tmp, task_vars)
        result = self._write(task_vars)
        if result.get("failed") and "cards" not in result:
            result["cards"] = [
                {"node": card["node"], "device": card["device"], "state": "failed", "error": result["msg"]}
                for card in self._task.args.get("cards") or []
            ]
        return result

    def _write(self, task_vars: dict[str, Any] | None) -> dict[str, Any]:
        arguments = {"collection_version": _collection_version(), **self._task.args}
        if self._connection.transport != "local" or "progress_path" in arguments:
            return dict(self._execute_module(module_args=arguments, task_vars=task_vars))
        with tempfile.NamedTemporaryFile(prefix="bramble-progress-") as file, _Show(file.name):
            arguments["progress_path"] = file.name
            return dict(self._execute_module(module_args=arguments, task_vars=task_vars))
