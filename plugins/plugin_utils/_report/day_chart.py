# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lines and bands by which the last day of a rack is drawn.

Each host has a row of its own, on one scale of time and of temperature: a frame of WIDTH by HEIGHT, which the
page stretches. A gap in what is known is a gap in the line.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

WIDTH, HEIGHT = 1000, 100
#: Where the line of temperatures goes, from top to bottom; above are alerts, below is what slowed down.
TOP, BOTTOM = 16, 80
#: Where a Pi begins to slow down.
LIMIT = 80
#: The scale begins and ends at such degrees, and ends there at least.
_ROUND, _MOST = 5, 85
_HOURS = 3
#: Of two at the same place the worse one is seen.
_ORDER = ("unwatched", "away", "slowed", "undervoltage", "info", "warning", "error")


def _seconds(text: str) -> float:
    return datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S%z").timestamp()


def _number(value: float) -> str:
    """Write a number shortly."""
    return f"{value:.1f}".removesuffix(".0")


class Frame:
    """Where a time and a temperature are in a row."""

    def __init__(self, *, start: float, end: float, celsius: Sequence[float]) -> None:
        self.start, self.end = start, end
        self.low = min([_MOST - _ROUND, *(_ROUND * math.floor(each / _ROUND) for each in celsius)])
        self.high = max([_MOST, *(_ROUND * math.ceil(each / _ROUND) for each in celsius)])

    def x(self, seconds: float) -> float:
        """Return where a time is; what is before or after the day is at its edge."""
        share = (seconds - self.start) / (self.end - self.start) if self.end > self.start else 0
        return WIDTH * min(1, max(0, share))

    def y(self, celsius: float) -> float:
        """Return where a temperature is."""
        return BOTTOM - (BOTTOM - TOP) * (celsius - self.low) / (self.high - self.low)


def _known(temperature: Sequence[float | None]) -> Iterator[list[tuple[int, float]]]:
    """Yield the parts of a line, from gap to gap."""
    part: list[tuple[int, float]] = []
    for place, value in enumerate(temperature):
        if value is not None:
            part.append((place, value))
        elif part:
            yield part
            part = []
    if part:
        yield part


def _line(part: Sequence[tuple[int, float]], frame: Frame, step: float) -> str:
    """Draw a part from the begin of its first step to the end of its last, so that also one step is seen."""
    points = [(frame.x(frame.start + (place + 0.5) * step), frame.y(value)) for place, value in part]
    begin = frame.x(frame.start + part[0][0] * step)
    end = frame.x(frame.start + (part[-1][0] + 1) * step)
    drawn = [(begin, points[0][1]), *points, (end, points[-1][1])]
    return "M" + "L".join(f"{_number(x)} {_number(y)}" for x, y in drawn)


def _bands(events: Sequence[Mapping[str, Any]], frame: Frame) -> list[dict[str, Any]]:
    bands = []
    for each in events:
        begin, end = (frame.x(_seconds(each[key])) for key in ("from", "to"))
        kind = each["severity"] if each["what"] == "alert" else each["what"]
        # A screen has about as many points as there are steps: a short one is still seen.
        width = min(max(end - begin, 2), WIDTH)
        bands.append(
            {
                "kind": kind if kind in _ORDER else "warning",
                "alert": each["what"] == "alert",
                "x": _number(min(begin, WIDTH - width)),
                "width": _number(width),
                "text": each["text"],
                "from": each["from"],
                "to": each["to"],
            }
        )
    return sorted(bands, key=lambda band: _ORDER.index(band["kind"]))


def _ticks(frame: Frame) -> list[dict[str, str]]:
    """Return the hours that are written, with where they are, also in hundredths of the width."""
    pace = _HOURS * 3600
    first = math.ceil(frame.start / pace) * pace
    return [
        {
            "share": _number(100 * frame.x(seconds) / WIDTH),
            "x": _number(frame.x(seconds)),
            "label": datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%H:%M"),
        }
        for seconds in range(first, math.floor(frame.end) + 1, pace)
    ]


def draw(day: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is drawn: ticks, a row for each host, and before them one for what is of no host."""
    step = day["step"]
    values = [value for node in day["nodes"] for value in node["temperature"] if value is not None]
    frame = Frame(start=_seconds(day["start"]), end=_seconds(day["end"]), celsius=values)
    of_none = [event for event in day["events"] if not event["hosts"]]
    rack = [{"host": "", "watched": True, "temperature": []}] if of_none else []
    return {
        "limit": _number(frame.y(LIMIT)),
        "low": frame.low,
        "high": frame.high,
        "ticks": _ticks(frame),
        "rows": [
            {
                "host": node["host"],
                "watched": node["watched"],
                "lines": [_line(part, frame, step) for part in _known(node["temperature"])],
                "lowest": min((value for value in node["temperature"] if value is not None), default=None),
                "highest": max((value for value in node["temperature"] if value is not None), default=None),
                "bands": _bands(
                    [each for each in day["events"] if node["host"] in each["hosts"]]
                    if node["host"]
                    else of_none,
                    frame,
                ),
            }
            for node in [*rack, *day["nodes"]]
        ],
    }
