# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which job of the tests begins when: those that mostly wait run beside each other."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from scripts.test_runner.outcome import Outcome

#: Loads that may run beside each other. It is more than there are processors, as a load is a mean.
CAPACITY = 1.25 * (os.cpu_count() or 1)


@dataclass(frozen=True)
class Job:
    """A part of the tests, or a piece of a part, that runs in a row."""

    part: str
    run: Callable[[Outcome], None]
    #: Which piece it is; empty for a part that has only one.
    piece: str = ""
    #: Processors that it keeps busy: its CPU seconds divided by its seconds.
    load: float = 1.0
    #: What has to have ended before it begins.
    after: str = ""
    #: Loads that may run beside it, if it measures time: 0 is nothing.
    beside: float = math.inf

    @property
    def name(self) -> str:
        """Return the name that it is called by."""
        return f"{self.part}/{self.piece}" if self.piece else self.part

    @property
    def containers(self) -> str:
        """Return how the names of its containers begin; empty if it has none."""
        if self.part.removesuffix("-long") == "molecule":
            return f"molecule-{self.piece}-"
        if self.part.removesuffix("-long") == "e2e":
            return f"{os.environ.get('E2E_RACK', 'e2e')}-"
        return "netboot-" if self.name == "boot/netboot" else ""


def next_job(*, waiting: Sequence[Job], running: Collection[Job], capacity: float = CAPACITY) -> Job | None:
    """Return the job that is to begin now, None if none is.

    The first that has room begins. What measures time keeps the others back until it is quiet enough, for
    otherwise it would be the last.
    """
    load = sum(job.load for job in running)
    room = min([capacity - load, *(job.beside - (load - job.load) for job in running)])
    unfinished = {job.name for job in (*waiting, *running)}
    ready = [job for job in waiting if job.after not in unfinished]
    if measuring := next((job for job in ready if job.beside < math.inf), None):
        ready = [measuring] if load <= measuring.beside else []
    # Even a job that is larger than the machine runs, with nothing beside it.
    return next((job for job in ready if job.load <= room or not running), None)


def in_a_row(jobs: Sequence[Job]) -> bool:
    """Tell whether never two of these jobs run beside each other."""
    names = {job.name for job in jobs}
    return sum(job.beside > 0 and job.after not in names for job in jobs) <= 1
