# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work beside a process: its result, its end, and that nobody waits for it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._common.child_process import ChildProcess, WorkError

ROOT = Path(__file__).resolve().parents[5]


def test_gives_the_result() -> None:
    work = ChildProcess(lambda _alive: {"a": ["x" * 200_000, 1.5, None]})
    assert work.result(timeout=10) == {"a": ["x" * 200_000, 1.5, None]}
    work.close()


def test_tells_what_went_wrong() -> None:
    def wrong(_alive: int) -> None:
        raise ValueError("no such thing")

    with pytest.raises(WorkError, match="ValueError: no such thing"):
        ChildProcess(wrong).result(timeout=10)
    with pytest.raises(WorkError, match="was ended"):
        ChildProcess(lambda _alive: os.kill(os.getpid(), signal.SIGKILL)).result(timeout=10)


@pytest.mark.alone
def test_does_not_wait_longer_than_it_is_told_to() -> None:
    work = ChildProcess(lambda _alive: time.sleep(2))
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        work.result(timeout=0.2)
    work.close()
    assert time.monotonic() - began < 1.5


def test_lets_go_of_the_output_and_learns_when_nobody_waits(tmp_path: Path) -> None:
    told = tmp_path / "told"
    code = f"""
import pathlib, select, time
from ansible_collections.bramble.pi.plugins.module_utils._common.child_process import ChildProcess
def work(alive):
    select.select([alive], [], [])
    pathlib.Path({str(told)!r}).touch()
ChildProcess(work)
print("done", flush=True)
time.sleep(60)
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT / ".collections", stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"done\n"
        process.kill()
        assert select.select([process.stdout], [], [], 10)[0]
        assert process.stdout.read() == b"", "whoever reads the output waits for nobody else"
    for _attempt in range(100):
        if told.exists():
            return
        time.sleep(0.05)
    raise AssertionError("it was not told")
