# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The runner of the tests: which job begins when, what it reads, what it prints, and how it ends."""

from __future__ import annotations

import io
import math
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from scripts import run_tests
from scripts.test_runner.containers import ContainerMeter
from scripts.test_runner.outcome import Case, Outcome, Processes, descendants, read_junit
from scripts.test_runner.parts import JOBS, needs
from scripts.test_runner.schedule import Job, in_a_row, next_job
from scripts.test_runner.summary import Timed, Times, floor, pace, slowest, summary


def nothing(_outcome: Outcome) -> None:
    """Do nothing."""


def job(part: str, *, load: float = 1.0, after: str = "", beside: float = math.inf) -> Job:
    return Job(part, nothing, load=load, after=after, beside=beside)


# The schedule


def begun(waiting: Sequence[Job], running: Sequence[Job] = (), capacity: float = 2.0) -> list[str]:
    """Return which jobs begin, one after the other, before any ends."""
    waiting, running, names = list(waiting), list(running), []
    while found := next_job(waiting=waiting, running=running, capacity=capacity):
        waiting.remove(found)
        running.append(found)
        names.append(found.name)
    return names


def test_jobs_begin_in_their_order_while_there_is_room() -> None:
    assert begun([job("a"), job("b"), job("c")]) == ["a", "b"]
    # One that has no room does not keep a smaller one back.
    assert begun([job("a", load=1.5), job("b"), job("c", load=0.5)]) == ["a", "c"]


def test_a_job_that_is_larger_than_the_machine_runs_by_itself() -> None:
    assert begun([job("a", load=3), job("b")]) == ["a"]
    assert begun([job("a", load=3)], running=[job("b")]) == []


def test_a_job_waits_for_the_one_that_it_goes_on_from() -> None:
    first, second = job("a"), job("b", after="a")
    assert begun([second, first]) == ["a"]
    assert begun([second], running=[first]) == []
    assert begun([second]) == ["b"]


def test_what_measures_time_has_little_or_nothing_beside_it() -> None:
    alone = job("alone", beside=0)
    assert begun([job("a"), alone]) == ["alone"]
    assert begun([job("a")], running=[alone]) == []
    # It is not starved by what could begin before it.
    assert begun([job("a"), alone], running=[job("b")]) == []
    # But it holds nothing back while it waits itself.
    assert begun([job("a"), job("c", after="b", beside=0)], running=[job("b")]) == ["a"]
    quiet = job("quiet", load=0.5, beside=1.0)
    assert begun([job("a"), quiet, job("b", load=0.2)]) == ["quiet", "a"]
    assert begun([job("a", load=1.2), quiet, job("b", load=0.2)]) == ["quiet", "b"]
    assert begun([job("a"), quiet], running=[job("b", load=0.6), job("c", load=0.6)]) == []
    assert begun([job("a", load=0.3), quiet], running=[job("b", load=0.6)]) == ["quiet", "a"]
    assert begun([quiet, job("alone", beside=0)]) == ["quiet"]


def test_output_is_shown_as_it_comes_where_it_cannot_be_mixed_up() -> None:
    assert in_a_row([job("a")])
    assert in_a_row([job("a"), job("b", after="a"), job("c", beside=0)])
    assert not in_a_row([job("a"), job("b")])
    assert not in_a_row([job("a"), job("b", after="not among them")])


def test_table_of_jobs_can_be_run_to_its_end() -> None:
    for capacity in (0.1, 2.0, 100.0):
        waiting, done = list(JOBS), []
        while found := next_job(waiting=waiting, running=[], capacity=capacity):
            waiting.remove(found)
            done.append(found.name)
        assert waiting == []
        assert len(set(done)) == len(JOBS)


def test_table_has_every_scenario_and_every_part_of_the_makefile() -> None:
    root = Path(__file__).parents[3]
    scenarios = {path.parent.name for path in root.glob("molecule/*/molecule.yml")}
    assert {job.piece for job in JOBS if job.part.removesuffix("-long") == "molecule"} == scenarios
    makefile = (root / "Makefile").read_text()
    for part in {job.part for job in JOBS}:
        assert f" {part} " in makefile.replace("\n", " ")
        # A long part needs what the other does, and may need more.
        possible, groups = needs(part.removesuffix("-long"))
        assert needs(part)[0] == possible
        assert {*groups} <= {*needs(part)[1]}


# What is read


def test_report_of_pytest_is_read(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import pytest, time\n"
        "def test_passes(): time.sleep(0.2)\n"
        "def test_fails(): assert False\n"
        "def test_uses_a_processor():\n"
        "    end = time.process_time() + 0.3\n"
        "    while time.process_time() < end: pass\n"
        "@pytest.mark.skip\n"
        "def test_is_skipped(): pass\n"
        "@pytest.fixture\n"
        "def broken(): raise ValueError\n"
        "def test_has_no_fixture(broken): pass\n"
    )
    with (tmp_path / "log").open("a") as log:
        outcome = Outcome(log)
        began = time.monotonic()
        outcome.pytest(str(tmp_path), "--rootdir", str(tmp_path), "-c", os.devnull)
    cases = {case.name.rpartition("::")[2]: case for case in outcome.cases}
    assert {name: case.result for name, case in cases.items()} == {
        "test_passes": "passed",
        "test_fails": "failed",
        "test_uses_a_processor": "passed",
        "test_is_skipped": "skipped",
        "test_has_no_fixture": "failed",
    }
    assert cases["test_passes"].seconds >= 0.2
    assert cases["test_passes"].cpu < 0.2
    assert cases["test_uses_a_processor"].cpu >= 0.3
    assert began < cases["test_passes"].began < cases["test_uses_a_processor"].began < time.monotonic()
    assert outcome.cpu >= 0.3
    assert [name.rpartition("::")[2] for name in outcome.failed] == ["test_fails", "test_has_no_fixture"]
    assert "ValueError" in (tmp_path / "log").read_text()


@pytest.mark.parametrize("may_be_empty", [True, False])
def test_a_run_without_tests_is_a_failure_unless_there_may_be_none(
    tmp_path: Path, may_be_empty: bool
) -> None:
    (tmp_path / "test_it.py").write_text("def test_it(): pass\n")
    with (tmp_path / "log").open("a") as log:
        outcome = Outcome(log)
        outcome.pytest(
            str(tmp_path),
            "-k",
            "other",
            "--rootdir",
            str(tmp_path),
            "-c",
            os.devnull,
            may_be_empty=may_be_empty,
        )
    assert outcome.cases == []
    assert outcome.failed == ([] if may_be_empty else ["pytest ended with code 5 (no test ran)"])


def test_a_report_without_our_properties_is_read() -> None:
    text = '<testsuites><testsuite><testcase classname="a.b" name="c" time="1.5"/></testsuite></testsuites>'
    assert read_junit(text) == [Case("a.b::c", "passed", seconds=1.5)]


def test_cpu_of_containers_is_that_between_two_moments() -> None:
    meter = ContainerMeter()
    for when, used in ((10.0, 1.0), (11.0, 3.0), (12.0, 4.0)):
        meter.add(when, {"e2e-pi-1": used, "demo-pi-1": 100.0})
    # It is started again, and then it is gone.
    meter.add(13.0, {"e2e-pi-1": 0.5})
    meter.add(14.0, {"e2e-pi-2": 2.0})
    assert meter.used("e2e-", 0, 20) == 4.0 + 0.5 + 2.0
    assert meter.used("e2e-", 10.5, 12.5) == 3.0
    assert meter.used("e2e-pi-2", 0, 13.5) == 0.0
    assert meter.used("netboot-", 0, 20) == 0.0


# What is printed


def test_seconds_of_a_part_are_those_in_which_any_of_its_jobs_ran() -> None:
    assert Times().seconds == 0
    assert Times(spans=[(5, 6), (0, 3), (2, 4), (2.5, 3)]).seconds == 5


def test_slowest_tests_come_first() -> None:
    tests = [Timed(Case(f"test {number}", "passed", seconds=number, cpu=1), 2) for number in range(20)]
    lines = list(slowest(tests))
    assert lines[0] == "     19.0     3.0  test 19"
    assert len(lines) == 10
    assert list(slowest([Timed(Case("of unknown time", "passed"), 0)])) == []


def test_summary_names_counts_times_and_failures() -> None:
    good, bad, none = Outcome(io.StringIO()), Outcome(io.StringIO()), Outcome(io.StringIO())
    good.cases = [Case("a", "passed"), Case("b", "skipped")]
    bad.cases, bad.errors = [Case("c", "failed")], ["it broke"]
    none.not_run = "no podman"
    times = {
        "unit": Times([(0, 10)], processes=8, containers=0),
        "e2e": Times([(0, 30)], processes=4, containers=5),
        "boot": Times(),
    }
    lines = list(summary({"unit": good, "e2e": bad, "boot": none}, times))
    assert [line.split() for line in lines] == [
        ["part", "passed", "failed", "skipped", "seconds", "CPU", "in", "containers"],
        ["unit", "1", "0", "1", "10", "8", "0"],
        ["e2e", "0", "2", "0", "30", "9", "5"],
        ["boot", "0", "0", "0", "0", "0", "0", "not", "run:", "no", "podman"],
        ["FAILED", "e2e:", "c"],
        ["FAILED", "e2e:", "it", "broke"],
    ]
    told = floor(times.values(), seconds=600, machine=1800, processors=2)
    assert told.startswith(
        "It took 10.0 min. The parts used 0.3 min of CPU, for which 2 processors need 0.1 min"
    )
    assert re.fullmatch(
        r"An empty loop of 10,000,000 turns in Python takes \d+\.\d\d s of CPU here\.", pace()
    )


# How it runs and ends


def check(name: str, *command: str) -> Job:
    """Return a job that runs one command."""

    def run(outcome: Outcome) -> None:
        outcome.check(name, list(command))

    return Job(name, run)


def test_a_job_that_fails_does_not_stop_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def breaks(_outcome: Outcome) -> None:
        raise OSError("no disk")

    jobs = [
        Job("a", breaks),
        check("b", "sh", "-c", "echo this takes about a year; echo '  │ fatal: [pi-1]: no'; exit 3"),
        check("c", "echo", "fine"),
    ]
    run = run_tests.Run(jobs, tmp_path, ContainerMeter())
    run.finish()
    assert {name: outcome.failed for name, outcome in run.outcomes.items()} == {
        "a": ["a: OSError: no disk"],
        "b": ["b"],
        "c": [],
    }
    assert run.reasons == {"a": ["OSError: no disk"], "b": ["│ fatal: [pi-1]: no"]}
    shown = capsys.readouterr().out
    for name, result in (("a", "FAILED"), ("b", "FAILED"), ("c", "ok")):
        assert f"=== {name} began\n" in shown
        assert f"=== {name} ended: {result}, " in shown
    # The output of each in one piece.
    assert "----- c: its output\n\n--- c: echo fine\nfine\n" in shown


def test_all_that_runs_is_ended(tmp_path: Path) -> None:
    processes = Processes()
    note = tmp_path / "note"
    # A shell that does not end by itself when it is interrupted, and a child in a session of its own.
    script = f"trap 'echo interrupted > {note}' INT; setsid sleep 600 & while :; do sleep 0.1; done"
    with processes.start(["sh", "-c", script]) as process:
        while len(tree := descendants({process.pid})) < 3:
            time.sleep(0.05)
        processes.stop(patience=5)
        assert process.wait(timeout=10) == -9
    assert note.read_text() == "interrupted\n"
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() and not is_zombie(pid) for pid in tree):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_unknown_parts_are_named() -> None:
    command = [sys.executable, "-m", "scripts.run_tests", "lint", "nonsense"]
    done = subprocess.run(command, cwd=run_tests.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("unknown part: nonsense; the parts are: unit lint e2e molecule boot ")


@pytest.mark.parametrize("ci", ["true", "false"])
def test_a_part_that_cannot_run_here_is_named_and_fails_in_ci(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], ci: str
) -> None:
    monkeypatch.setattr(run_tests, "needs", lambda _part: (["sh", "-c", "echo no podman; exit 1"], ["rack"]))
    monkeypatch.setenv("CI", ci)
    assert run_tests.main(["molecule"]) == (1 if ci == "true" else 0)
    shown = capsys.readouterr().out
    assert "not run: no podman" in shown
    assert ("FAILED molecule: molecule was not run, which CI=true does not allow" in shown) == (ci == "true")
    # None of its jobs has begun.
    assert "began" not in shown
