# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plugin of pytest: adds to the report of each test when it began and ended, and what CPU it took."""

from __future__ import annotations

import datetime
import resource
import time
from collections.abc import Generator

import pytest

#: CPU seconds of processes that were no children of this one, and have ended.
ELSEWHERE: list[float] = []
_BEGAN = pytest.StashKey[tuple[float, float]]()


def _cpu() -> float:
    """Return the CPU seconds of this process and of all that have ended and worked for it."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages) + sum(ELSEWHERE)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    """Note the beginning, before any fixture of the test."""
    item.stash[_BEGAN] = (time.monotonic(), _cpu())
    return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    """Note the end, after all of its fixtures."""
    try:
        return (yield)
    finally:
        began, cpu = item.stash[_BEGAN]
        item.user_properties += [
            ("began", began),
            ("cpu", round(_cpu() - cpu, 2)),
            ("ended_at", datetime.datetime.now(datetime.timezone.utc).strftime("%F %T")),
        ]
