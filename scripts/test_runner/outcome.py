# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What came of tests: run commands, measure them, and read the reports of pytest."""

from __future__ import annotations

import datetime
import os
import signal
import subprocess
import tempfile
import threading
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[2]
VENV_BIN = ROOT / ".venv" / "bin"
ENVIRONMENT = {
    **os.environ,
    "PATH": f"{VENV_BIN}{os.pathsep}{os.environ['PATH']}",
    # Ansible refuses to start without a UTF-8 locale.
    "LC_ALL": "C.UTF-8",
    "ANSIBLE_FORCE_COLOR": "0",
    "NO_COLOR": "1",
    # Python compiles each file once, not in each process.
    "PYTHONDONTWRITEBYTECODE": "",
}
#: pytest's exit code where no test was selected.
NO_TESTS = 5


@dataclass(frozen=True)
class Case:
    """One test: "passed", "failed" or "skipped", when it began (monotonic clock), what it took."""

    name: str
    result: str
    began: float = 0.0
    seconds: float = 0.0
    #: CPU seconds of its processes, without those of containers.
    cpu: float = 0.0
    ended_at: str = ""


class Stopped(Exception):  # noqa: N818 - not an error
    """The whole run is to end."""


class Processes:
    """The commands that run, so that all of them can be ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[int] = set()
        self._stopping = False

    @contextmanager
    def start(self, command: list[str], **options: object) -> Iterator[subprocess.Popen[str]]:
        """Start a command in a group of its own, which a Ctrl-C at the terminal does not reach by itself."""
        with self._lock:
            if self._stopping:
                raise Stopped
            process: subprocess.Popen[str] = subprocess.Popen(  # type: ignore[call-overload] # options are Popen's
                command, stdin=subprocess.DEVNULL, text=True, start_new_session=True, **options
            )
            self._running.add(process.pid)
        try:
            yield process
        finally:
            with self._lock:
                self._running.discard(process.pid)

    def stop(self, patience: float = 60) -> None:
        """Interrupt all commands, so that they can remove what they made; kill what then still runs."""
        with self._lock:
            self._stopping = True
            groups = set(self._running)
        tree = descendants(groups)
        for group in groups:
            _signal_group(group, signal.SIGINT)
        deadline = time.monotonic() + patience
        while self._running and time.monotonic() < deadline:
            time.sleep(0.2)
        for pid in tree | descendants(groups):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


def _signal_group(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return


def descendants(roots: set[int]) -> set[int]:
    """Return these processes that run and all that they started, whatever group those are in."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name, in parentheses, may contain anything.
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = {pid for pid in roots if pid in parents}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


PROCESSES = Processes()


@dataclass
class Outcome:
    """What came of one job or one part: its tests, failures by name, why it was not run."""

    #: Where its output goes.
    log: IO[str] = field(repr=False)
    cases: list[Case] = field(default_factory=list)
    #: What failed and is not a test.
    errors: list[str] = field(default_factory=list)
    not_run: str = ""
    #: CPU seconds of its processes.
    cpu: float = 0.0

    @property
    def failed(self) -> list[str]:
        """Name what failed."""
        return [case.name for case in self.cases if case.result == "failed"] + self.errors

    def count(self, result: str) -> int:
        """Count the tests with that result."""
        return sum(case.result == result for case in self.cases)

    def say(self, line: str) -> None:
        """Write a line into the log."""
        print(line, file=self.log, flush=True)

    def run(
        self, command: list[str], *, cwd: Path = ROOT, environment: dict[str, str] | None = None
    ) -> tuple[int, float]:
        """Run a command; return its exit code, and the CPU seconds of it and all that it waited for."""
        options = {"cwd": cwd, "env": {**ENVIRONMENT, **(environment or {})}}
        with PROCESSES.start(command, stdout=self.log, stderr=self.log, **options) as process:
            return self.wait(process)

    def wait(self, process: subprocess.Popen[str]) -> tuple[int, float]:
        """Wait for a process, as run() does."""
        _pid, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        used = usage.ru_utime + usage.ru_stime
        self.cpu += used
        return process.returncode, used

    def check(self, name: str, command: list[str]) -> bool:
        """Run one command as one test; its exit code decides."""
        self.say(f"\n--- {name}: {' '.join(command)}")
        began = time.monotonic()
        code, cpu = self.run(command)
        seconds = time.monotonic() - began
        result = "passed" if code == 0 else "failed"
        self.say(f"--- {name}: {'ok' if code == 0 else 'FAILED'} after {seconds:.0f} s")
        self.cases.append(Case(name, result, began, seconds, cpu, now()))
        return code == 0

    def pytest(
        self, *arguments: str, environment: dict[str, str] | None = None, may_be_empty: bool = False
    ) -> None:
        """Run pytest and take its tests over."""
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder) / "report.xml"
            command = ["pytest", "-p", "tests.timing", f"--junitxml={report}", *arguments]
            self.say(f"\n--- {' '.join(command)}")
            code, _cpu = self.run(command, environment={"PYTHONPATH": str(ROOT), **(environment or {})})
            cases = read_junit(report.read_text()) if report.exists() else []
        self.cases += cases
        if code == NO_TESTS and may_be_empty:
            return
        if code != 0 and not any(case.result == "failed" for case in cases):
            self.errors.append(
                f"pytest ended with code {code} ({'no test ran' if not cases else 'see above'})"
            )


def now() -> str:
    """Return the time of day in UTC."""
    return datetime.datetime.now(datetime.timezone.utc).strftime("%F %T")


def read_junit(text: str) -> list[Case]:
    """Read the report of pytest; its properties are those that tests/timing.py adds."""
    cases = []
    # S314 warns of hostile XML; this report is pytest's own.
    for case in ET.fromstring(text).iter("testcase"):  # noqa: S314
        properties = {each.get("name"): each.get("value", "") for each in case.iter("property")}
        if case.find("failure") is not None or case.find("error") is not None:
            result = "failed"
        else:
            result = "skipped" if case.find("skipped") is not None else "passed"
        cases.append(
            Case(
                name=f"{case.get('classname')}::{case.get('name')}",
                result=result,
                began=float(properties.get("began", 0)),
                seconds=float(case.get("time", 0)),
                cpu=float(properties.get("cpu", 0)),
                ended_at=properties.get("ended_at", ""),
            )
        )
    return cases
