# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a card is: measured by the module that writes it, shown by its action plugin."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

_WINDOW_SECONDS = 5.0
_BAR_WIDTH = 24
#: The longest name of a phase, so that bars do not jump.
_PHASE_WIDTH = len("verifying")
#: These pass too quickly to be worth a line.
_SHORT_PHASES = frozenset({"waiting", "wiping", "seeding", "finishing"})
#: Where there is no terminal, a card gets a line when it is this much further, and not too often.
_LINE_STEP = 0.1
_LINE_SECONDS = 30.0


class Meter:
    """What was done of what is to be done, and how fast it goes."""

    def __init__(self, *, total: int) -> None:
        self.phase = "waiting"
        self.total = total
        self.done = 0
        self._samples: deque[tuple[float, int]] = deque()

    def begin(self, phase: str) -> None:
        """Name what is done now, which has a speed of its own."""
        self.phase = phase
        self._samples.clear()

    def finish(self) -> None:
        """Count all as done."""
        self.begin("finished")
        self.done = self.total

    def add(self, count: int) -> None:
        """Note that bytes were written, read or need not be."""
        self.done += count

    def sample(self, *, now: float | None = None) -> dict[str, Any]:
        """Return phase, done, total, and where they can be told rate (bytes a second) and left (seconds)."""
        now = time.monotonic() if now is None else now
        self._samples.append((now, self.done))
        while now - self._samples[0][0] > _WINDOW_SECONDS:
            self._samples.popleft()
        began, done = self._samples[0]
        rate = (self.done - done) / (now - began) if now > began else 0.0
        return {
            "phase": self.phase,
            "done": min(self.done, self.total),
            "total": self.total,
            "rate": rate or None,
            "left": max(0, self.total - self.done) / rate if rate else None,
        }


def _fraction(card: Mapping[str, Any]) -> float:
    return card["done"] / card["total"] if card["total"] else float(card["phase"] == "finished")


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def _speed(card: Mapping[str, Any]) -> list[str]:
    if not card["rate"] or card["phase"] in {"finished", "failed"}:
        return []
    return [f"{card['rate'] / 1e6:.0f} MB/s", f"{_duration(card['left'])} left"]


def bars(*, cards: Sequence[Mapping[str, Any]], width: int) -> list[str]:
    """Draw a bar for each card, one line each, none longer than the terminal is wide."""
    node, device = (max(len(card[key]) for card in cards) for key in ("node", "device"))
    lines = []
    for card in cards:
        full = int(_fraction(card) * _BAR_WIDTH)
        drawn = f"[{'#' * full}{'.' * (_BAR_WIDTH - full)}]"
        what = f"{card['node']:<{node}}  {card['device']:<{device}}  {card['phase']:<{_PHASE_WIDTH}}"
        lines.append("  ".join([f"{what}  {drawn} {int(_fraction(card) * 100):>3} %", *_speed(card)])[:width])
    return lines


class Lines:
    """A line for a card now and then: when it does something else, or came a good deal further."""

    def __init__(self) -> None:
        self._shown: dict[str, tuple[str, float, float]] = {}

    def due(self, *, cards: Sequence[Mapping[str, Any]], now: float) -> list[str]:
        """Return what is to be said of the cards now."""
        lines = []
        for card in cards:
            phase, fraction, when = self._shown.get(card["node"], ("waiting", 0.0, now))
            further = _fraction(card) - fraction >= _LINE_STEP and now - when >= _LINE_SECONDS
            if card["phase"] in _SHORT_PHASES or (card["phase"] == phase and not further):
                continue
            self._shown[card["node"]] = (card["phase"], _fraction(card), now)
            parts = [card["phase"], f"{int(_fraction(card) * 100)} %", *_speed(card)]
            lines.append(f"{card['node']} ({card['device']}): {', '.join(parts)}")
        return lines
