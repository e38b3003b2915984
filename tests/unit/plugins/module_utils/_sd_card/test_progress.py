# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is measured of cards that are written, and how that is shown."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._sd_card.progress import Lines, Meter, bars
from hypothesis import given
from hypothesis import strategies as st


def card(
    node: str, phase: str, done: int, *, rate: float | None = None, left: float | None = None
) -> dict[str, Any]:
    return {
        "node": node,
        "device": "/dev/sdb",
        "phase": phase,
        "done": done,
        "total": 1000,
        "rate": rate,
        "left": left,
    }


def test_meter_tells_the_speed_of_the_last_seconds() -> None:
    meter = Meter(total=1000)
    meter.begin("writing")
    assert meter.sample(now=0.0) == {
        "phase": "writing",
        "done": 0,
        "total": 1000,
        "rate": None,
        "left": None,
    }
    meter.add(100)
    assert meter.sample(now=1.0)["rate"] == 100
    meter.add(400)
    sample = meter.sample(now=5.5)
    assert sample["rate"] == pytest.approx(400 / 4.5)
    assert sample["left"] == pytest.approx(500 / (400 / 4.5))
    meter.begin("verifying")
    assert meter.sample(now=6.0)["rate"] is None, "another phase has another speed"
    meter.finish()
    assert meter.sample(now=7.0)["done"] == 1000


@given(st.lists(st.tuples(st.integers(0, 500), st.floats(0.01, 10)), max_size=20))
def test_meter_never_runs_over(steps: list[tuple[int, float]]) -> None:
    meter = Meter(total=1000)
    now = 0.0
    for count, seconds in steps:
        meter.add(count)
        now += seconds
        sample = meter.sample(now=now)
        assert 0 <= sample["done"] <= 1000
        assert sample["left"] is None or sample["left"] >= 0


def test_bars_stand_below_each_other() -> None:
    cards = [
        card("pi-1", "writing", 500, rate=88.4e6, left=125.4),
        card("pi-10", "verifying", 999, rate=180e6, left=3725),
        card("pi-2", "failed", 10, rate=1.0, left=1.0),
    ]
    assert bars(cards=cards, width=200) == [
        "pi-1   /dev/sdb  writing    [############............]  50 %  88 MB/s  2:05 left",
        "pi-10  /dev/sdb  verifying  [#######################.]  99 %  180 MB/s  1:02:05 left",
        "pi-2   /dev/sdb  failed     [........................]   1 %",
    ]
    assert all(len(line) <= 30 for line in bars(cards=cards, width=30))


def test_lines_come_now_and_then() -> None:
    lines = Lines()
    begun = card("pi-1", "writing", 0)
    assert lines.due(cards=[card("pi-1", "wiping", 0)], now=0) == []
    assert lines.due(cards=[begun], now=1) == ["pi-1 (/dev/sdb): writing, 0 %"]
    assert lines.due(cards=[card("pi-1", "writing", 400)], now=10) == [], "too soon"
    assert lines.due(cards=[card("pi-1", "writing", 50)], now=100) == [], "too little"
    assert lines.due(cards=[card("pi-1", "writing", 400, rate=2e7, left=30)], now=101) == [
        "pi-1 (/dev/sdb): writing, 40 %, 20 MB/s, 0:30 left"
    ]
    assert lines.due(cards=[card("pi-1", "finished", 1000)], now=102) == ["pi-1 (/dev/sdb): finished, 100 %"]
    assert lines.due(cards=[card("pi-1", "finished", 1000)], now=500) == []
