# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables at the end of a run."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from scripts.test_runner.outcome import Case, Outcome

SLOWEST = 10
#: Turns of a loop that tells how quick a machine is at present.
TURNS = 10_000_000


@dataclass
class Times:
    """When the jobs of a part ran, and what CPU they took, that of containers apart."""

    spans: list[tuple[float, float]] = field(default_factory=list)
    processes: float = 0.0
    containers: float = 0.0

    @property
    def seconds(self) -> float:
        """Return how long at least one of them ran."""
        total, end = 0.0, float("-inf")
        for began, ended in sorted(self.spans):
            total += max(0.0, ended - max(began, end))
            end = max(end, ended)
        return total


@dataclass(frozen=True)
class Timed:
    """A test with the CPU seconds of its containers."""

    case: Case
    containers: float

    @property
    def cpu(self) -> float:
        """Return all of its CPU seconds."""
        return self.case.cpu + self.containers


def slowest(tests: Iterable[Timed]) -> Iterator[str]:
    """Give a table of the slowest tests, none if their times are not known."""
    ordered = sorted((test for test in tests if test.case.seconds), key=lambda test: -test.case.seconds)
    for test in ordered[:SLOWEST]:
        yield f"{test.case.seconds:>9.1f}{test.cpu:>8.1f}  {test.case.name}"


def summary(outcomes: Mapping[str, Outcome], times: Mapping[str, Times]) -> Iterator[str]:
    """Give the table of the parts, what failed, and the count of all."""
    yield f"{'part':<11}{'passed':>8}{'failed':>8}{'skipped':>9}{'seconds':>9}{'CPU':>8}{'in containers':>15}"
    for name, outcome in outcomes.items():
        spent = times[name]
        counts = f"{outcome.count('passed'):>8}{len(outcome.failed):>8}{outcome.count('skipped'):>9}"
        used = f"{spent.seconds:>9.0f}{spent.processes + spent.containers:>8.0f}{spent.containers:>15.0f}"
        yield f"{name:<11}{counts}{used}" + (f"  not run: {outcome.not_run}" if outcome.not_run else "")
    for name, outcome in outcomes.items():
        for failure in outcome.failed:
            yield f"FAILED {name}: {failure}"


def floor(times: Iterable[Times], *, seconds: float, machine: float, processors: int) -> str:
    """Say how long it took, and how long it would have taken if no processor had ever waited."""
    used = sum(each.processes + each.containers for each in times)
    minutes = {"took": seconds, "used": used, "least": used / processors, "machine": machine}
    return (
        "It took {took:.1f} min. The parts used {used:.1f} min of CPU, for which {processors} processors need"
        " {least:.1f} min at least. The whole machine used {machine:.1f} min, builds in containers and other"
        " programs included."
    ).format(processors=processors, **{name: value / 60 for name, value in minutes.items()})


def pace() -> str:
    """Say how quick this machine is at present: runs of other days are compared by it."""
    began = time.process_time()
    for _turn in range(TURNS):
        pass
    return (
        f"An empty loop of {TURNS:,} turns in Python takes {time.process_time() - began:.2f} s of CPU here."
    )


def proved(outcomes: Iterable[Outcome], *, seed: str) -> Iterator[str]:
    """Give a table of what the long run proved and when."""
    yield f"seed {seed}"
    yield f"{'ended (UTC)':<21}{'result':<9}{'seconds':>8}  test"
    for outcome in outcomes:
        for case in outcome.cases:
            yield f"{case.ended_at:<21}{case.result:<9}{case.seconds:>8.0f}  {case.name}"
