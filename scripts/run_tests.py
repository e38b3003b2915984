# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run parts of the tests, those that mostly wait beside each other, and close with one summary.

usage: python -m scripts.run_tests PART...      PART: lint, unit, sanity, cards, boot, molecule, e2e,
                                                unit-long, cards-long, boot-long, molecule-long, e2e-long

A part that this machine cannot run is named with the reason. With CI=true that is a failure,
so that a green run never means "not run".
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO

from scripts.test_runner.containers import ContainerMeter, machine_seconds
from scripts.test_runner.outcome import ENVIRONMENT, PROCESSES, ROOT, Outcome
from scripts.test_runner.parts import JOBS, needs
from scripts.test_runner.schedule import Job, in_a_row, next_job
from scripts.test_runner.summary import Timed, Times, floor, pace, proved, slowest, summary

#: All chance in tests comes from it; see tests/seed.py.
SEED = "BRAMBLE_TEST_SEED"
#: What is told at once of the output of a job, as it explains a long silence.
NOTE = re.compile(r"takes about")
#: The lines in the output of a job that failed that say why, whatever molecule draws before them.
REASON = re.compile(
    r"^(?:\x1b\[[0-9;]*m|[\s│])*(?:E {3}|fatal: |failed: |\[ERROR\]|FAILED |ERROR |\S*Error: )"
)
REASONS = 8
#: Seconds after which is said what still runs.
SILENCE = 120


@dataclass
class Running:
    """A job that runs, and the part of its output that was not shown yet."""

    job: Job
    outcome: Outcome
    output: IO[str]
    thread: threading.Thread
    began: float

    def show(self, *, all_of_it: bool) -> None:
        """Show the new lines of its output, or only those that explain why it takes long."""
        for line in self.output.readlines():
            if all_of_it:
                print(line, end="", flush=True)
            elif NOTE.search(line):
                # Without the line that Ansible draws behind the name of a task.
                print(f"[{self.job.name}]", line.rstrip("*\n"), flush=True)


class Run:
    """Jobs on their way to their outcomes."""

    def __init__(self, jobs: Sequence[Job], folder: Path, meter: ContainerMeter) -> None:
        self.meter = meter
        self.spans: dict[str, tuple[float, float]] = {}
        self.outcomes: dict[str, Outcome] = {}
        self.reasons: dict[str, list[str]] = {}
        self._waiting = list(jobs)
        self._running: list[Running] = []
        self._folder = folder
        # Their output is shown as it comes if it cannot be mixed up.
        self._live = in_a_row(jobs)
        self._told = time.monotonic()

    def finish(self) -> None:
        """Run all jobs."""
        while self._waiting or self._running:
            job = next_job(waiting=self._waiting, running=[each.job for each in self._running])
            if job:
                self._waiting.remove(job)
                self._running.append(self._start(job))
                continue
            for each in list(self._running):
                each.show(all_of_it=self._live)
                if not each.thread.is_alive():
                    self._running.remove(each)
                    self._end(each)
            if not self._live and time.monotonic() - self._told > SILENCE:
                since = [f"{one.job.name} ({time.monotonic() - one.began:.0f} s)" for one in self._running]
                self._tell(f"still running: {', '.join(since)}")
            time.sleep(0.2)

    def _tell(self, line: str) -> None:
        self._told = time.monotonic()
        print(f"=== {line}", flush=True)

    def _start(self, job: Job) -> Running:
        path = self._folder / job.name.replace("/", "-")
        # The commands write to the same file, each at its end.
        outcome = Outcome(path.open("a"))
        thread = threading.Thread(target=work, args=(job, outcome), daemon=True)
        self._tell(f"{job.name} began")
        thread.start()
        return Running(job, outcome, path.open(errors="replace"), thread, time.monotonic())

    def _end(self, ended: Running) -> None:
        name, now = ended.job.name, time.monotonic()
        self.outcomes[name] = ended.outcome
        self.spans[name] = (ended.began, now)
        if not self._live:
            print(f"\n----- {name}: its output", flush=True)
            ended.output.seek(0)
        ended.show(all_of_it=True)
        if not self._live:
            print(f"----- {name}: end of its output\n", flush=True)
        result = "ok"
        if ended.outcome.failed:
            result = "FAILED"
            ended.output.seek(0)
            self.reasons[name] = [line.strip()[:300] for line in ended.output if REASON.match(line)][
                -REASONS:
            ]
        cpu = ended.outcome.cpu + self.contained(ended.job, ended.began, now)
        self._tell(f"{name} ended: {result}, {now - ended.began:.0f} s, {cpu:.0f} s of CPU")
        ended.output.close()
        ended.outcome.log.close()

    def contained(self, job: Job, began: float, ended: float) -> float:
        """Return the CPU seconds that the containers of a job have used between two moments."""
        return self.meter.used(job.containers, began, ended) if job.containers else 0.0


def work(job: Job, outcome: Outcome) -> None:
    """Run a job; what goes wrong with it is its own failure."""
    try:
        job.run(outcome)
    except Exception as error:
        outcome.say(traceback.format_exc())
        outcome.errors.append(f"{job.name}: {type(error).__name__}: {error}")


def prepare(part: str) -> Outcome:
    """Find out whether a part can be run here, and install its packages, before anything runs beside it."""
    outcome = Outcome(sys.stdout)
    question, groups = needs(part)
    if question:
        possible = subprocess.run(question, cwd=ROOT, capture_output=True, text=True, check=False)
        if possible.returncode != 0:
            outcome.not_run = possible.stdout.strip() or possible.stderr.strip()
            if os.environ.get("CI") == "true":
                outcome.errors.append(f"{part} was not run, which CI=true does not allow")
            return outcome
    if (
        groups
        and not outcome.check(f"tools for {' and '.join(groups)}", ["scripts/setup.sh", *groups])
        and question
    ):
        outcome.not_run = "its tools could not be installed"
    return outcome


def report(names: Sequence[str], outcomes: dict[str, Outcome], run: Run) -> dict[str, Times]:
    """Add the outcomes of the jobs to those of their parts, and print the slowest tests of each part."""
    times = {name: Times() for name in names}
    tests: dict[str, list[Timed]] = {name: [] for name in names}
    for job in JOBS:
        if job.name not in run.outcomes:
            continue
        outcome, span = run.outcomes[job.name], run.spans[job.name]
        outcomes[job.part].cases += outcome.cases
        outcomes[job.part].errors += outcome.errors
        times[job.part].spans.append(span)
        times[job.part].processes += outcome.cpu
        times[job.part].containers += run.contained(job, *span)
        tests[job.part] += [
            Timed(case, run.contained(job, case.began, case.began + case.seconds)) for case in outcome.cases
        ]
    for name in names:
        if lines := list(slowest(tests[name])):
            print(f"\nThe slowest of {name}\n\n  seconds     CPU  test")
            print("\n".join(lines))
    return times


def seed(names: Sequence[str]) -> int:
    """Return the commit's own seed, so that a change is not red by chance; in the long run a random one."""
    if any(name.endswith("-long") for name in names):
        return random.SystemRandom().randrange(10**9)
    command = ["git", "rev-parse", "HEAD"]
    commit = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout
    return int(commit[:7] or "0", 16)


def run_parts(names: Sequence[str]) -> int:
    """Run the parts named, print the summary, return the exit code."""
    ENVIRONMENT.setdefault(SEED, str(seed(names)))
    outcomes = {name: prepare(name) for name in names}
    jobs = [job for job in JOBS if job.part in names and not outcomes[job.part].not_run]
    began, machine = time.monotonic(), machine_seconds()
    meter = ContainerMeter()
    meter.start()
    with tempfile.TemporaryDirectory() as folder:
        run = Run(jobs, Path(folder), meter)
        run.finish()
    times = report(names, outcomes, run)
    if any(name.endswith("-long") for name in names):
        print("\n=== Proved\n")
        print("\n".join(proved(run.outcomes.values(), seed=ENVIRONMENT[SEED])))
    print("\n=== Summary\n")
    print("\n".join(summary(outcomes, times)))
    for name, reasons in run.reasons.items():
        print("\n".join([f"\nFrom the output of {name}", *reasons]))
    seconds, machine = time.monotonic() - began, machine_seconds() - machine
    print(f"\n{floor(times.values(), seconds=seconds, machine=machine, processors=os.cpu_count() or 1)}")
    print(pace())
    passed, skipped = (sum(each.count(what) for each in outcomes.values()) for what in ("passed", "skipped"))
    failed = sum(len(outcome.failed) for outcome in outcomes.values())
    print(f"\n{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""), flush=True)
    return 1 if failed else 0


def main(names: Sequence[str]) -> int:
    """Run the parts named; end all that runs if that is asked for."""
    parts = list(dict.fromkeys(job.part for job in JOBS))
    unknown = [name for name in names if name not in parts]
    if unknown or not names:
        print(f"unknown part: {' '.join(unknown)}; the parts are: {' '.join(parts)}", file=sys.stderr)
        return 2
    try:
        return run_parts(names)
    except KeyboardInterrupt:
        print("\n=== interrupted: ending what runs, which may take a minute", flush=True)
        PROCESSES.stop()
        return 130


def interrupt(_number: int, _frame: FrameType | None) -> None:
    """End as Ctrl-C does."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, interrupt)
    sys.exit(main(sys.argv[1:]))
