# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lines and bands of the last day: all that is drawn is a number within the frame, and gaps stay gaps."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.plugin_utils._report import day, day_chart
from hypothesis import given
from hypothesis import strategies as st

START = 1796000100
STEP = 300
POINT = re.compile(r"(-?[0-9.]+) (-?[0-9.]+)")


def chart(temperature: list[float | None], *events: dict[str, Any], start: float = START) -> dict[str, Any]:
    return day_chart.draw(
        {
            "start": day.moment(start),
            "end": day.moment(start + len(temperature) * STEP),
            "step": STEP,
            "nodes": [{"host": "pi-1", "watched": True, "temperature": temperature}],
            "events": list(events),
        }
    )


def event(first: float, last: float, what: str = "away", **changes: Any) -> dict[str, Any]:
    times = {"from": day.moment(START + first * STEP), "to": day.moment(START + last * STEP)}
    return {"hosts": ["pi-1"], "what": what, "text": what, "severity": "error", **times, **changes}


def points(line: str) -> list[tuple[float, float]]:
    assert re.fullmatch(r"M(?:-?[0-9.]+ -?[0-9.]+)(?:L-?[0-9.]+ -?[0-9.]+)*", line), line
    return [(float(x), float(y)) for x, y in POINT.findall(line)]


@pytest.mark.parametrize(
    ("temperature", "lines"),
    [
        ([], []),
        ([None, None], []),
        # One sample is seen: its line is as long as its step.
        ([45.0], ["M0 80L500 80L1000 80"]),
        ([None, 85.0, None, None], ["M250 16L375 16L500 16"]),
        # A gap is a gap.
        ([45.0, None, 85.0, 85.0], ["M0 80L125 80L250 80", "M500 16L625 16L875 16L1000 16"]),
    ],
)
def test_lines(temperature: list[float | None], lines: list[str]) -> None:
    assert chart(temperature)["rows"][0]["lines"] == lines


@pytest.mark.parametrize(
    ("temperature", "scale"),
    [
        ([], (80, 85)),
        ([44.9, 51.0], (40, 85)),
        ([45.0, 85.0], (45, 85)),
        ([-3.0, 85.1], (-5, 90)),
    ],
)
def test_scale(temperature: list[float | None], scale: tuple[int, int]) -> None:
    drawn = chart(temperature)
    assert (drawn["low"], drawn["high"]) == scale
    assert day_chart.TOP <= float(drawn["limit"]) <= day_chart.BOTTOM


@pytest.mark.parametrize(
    ("events", "bands"),
    [
        ([event(0, 2)], [("away", "0", "500")]),
        # Nothing is too short to be seen, and nothing leaves the frame for it.
        ([event(4, 4)], [("away", "998", "2")]),
        ([event(-9, 99)], [("away", "0", "1000")]),
        ([event(-9, -8)], [("away", "0", "2")]),
        # The worse lies over the other, and what is not known counts as a warning.
        (
            [event(0, 1, "alert"), event(0, 1, "alert", severity="info"), event(0, 1, "alert", severity="x")],
            [("info", "0", "250"), ("warning", "0", "250"), ("error", "0", "250")],
        ),
        ([event(0, 1, hosts=["pi-2"])], []),
    ],
)
def test_bands(events: list[dict[str, Any]], bands: list[tuple[str, str, str]]) -> None:
    drawn = chart([None] * 4, *events)["rows"][-1]["bands"]
    assert [(band["kind"], band["x"], band["width"]) for band in drawn] == bands


def test_what_is_of_no_host_has_a_row_of_its_own() -> None:
    rows = chart([50.0], event(0, 1, "alert", hosts=[]))["rows"]
    assert [(row["host"], len(row["bands"])) for row in rows] == [("", 1), ("pi-1", 0)]
    assert [row["host"] for row in chart([50.0])["rows"]] == ["pi-1"]


def test_hours_are_whole_ones() -> None:
    ticks = chart([50.0] * 288)["ticks"]
    assert [tick["label"] for tick in ticks] == [
        "03:00", "06:00", "09:00", "12:00", "15:00", "18:00", "21:00", "00:00",
    ]  # fmt: skip
    assert ticks[0] == {"share": "8.7", "x": "86.8", "label": "03:00"}


@given(
    st.lists(st.one_of(st.none(), st.floats(-60, 200)), max_size=300),
    st.lists(
        st.tuples(
            st.integers(-50, 400),
            st.integers(0, 400),
            st.sampled_from(["away", "unwatched", "undervoltage", "slowed", "alert"]),
            st.sampled_from(["error", "warning", "info", "", "critical"]),
        )
    ),
    st.integers(0, 2**32),
)
def test_everything_is_within_the_frame(
    temperature: list[float | None], found: list[tuple[int, int, str, str]], start: int
) -> None:
    events = [
        event(first, first + length, what, severity=severity) for first, length, what, severity in found
    ]
    drawn = chart(temperature, *events, start=start)
    row = drawn["rows"][0]
    every = [point for line in row["lines"] for point in points(line)]
    assert all(0 <= x <= 1000 and day_chart.TOP - 0.1 <= y <= day_chart.BOTTOM + 0.1 for x, y in every)
    known = [value for value in temperature if value is not None]
    # A point for each value, and one more at each end of a part.
    assert len(every) == len(known) + 2 * len(row["lines"])
    assert all(
        before <= after
        for line in row["lines"]
        for (before, _y), (after, _z) in zip(points(line), points(line)[1:])
    )
    assert (row["lowest"], row["highest"]) == (min(known, default=None), max(known, default=None))
    for band in row["bands"]:
        x, width = float(band["x"]), float(band["width"])
        assert x >= 0
        assert 2 <= width <= 1000
        assert x + width <= 1000.2
    for tick in drawn["ticks"]:
        assert 0 <= float(tick["share"]) <= 100
    assert math.isfinite(float(drawn["limit"]))
