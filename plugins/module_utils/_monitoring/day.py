# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Prometheus is asked about the last day, and what its answers say of each node.

A day is cut into steps. A value of a step is made from all samples of that step alone, so that nothing is
carried on over a time of which nothing is known.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlencode

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError

SECONDS = 24 * 3600
STEP = 300
COUNT = SECONDS // STEP
REMEDY = (
    "look at 'journalctl -u prometheus' on that host, then run: "
    "ansible-playbook -i INVENTORY bramble.pi.monitoring"
)
#: The alert of a node whose figures are old, also before it is raised: they are not known any more.
NOT_EXAMINED = "BrambleNotExamined"
_EXAMINED = f'unless on (node) max_over_time(ALERTS{{alertname="{NOT_EXAMINED}"}}[{STEP}s])'
#: The hottest moment of a step counts, and the worst of all else.
QUERIES = {
    "temperature": f"max by (node) (max_over_time(bramble_temperature_celsius[{STEP}s]) {_EXAMINED})",
    "up": f'min by (node) (min_over_time(up{{job="node"}}[{STEP}s]))',
    "throttled": (
        f'max by (node, reason) (max_over_time(bramble_throttled{{when="now"}}[{STEP}s]) > 0 {_EXAMINED})'
    ),
    "alerts": (f'max by (alertname, severity, node) (max_over_time(ALERTS{{alertstate="firing"}}[{STEP}s]))'),
}

#: From the first step to the one before the last number.
Span = tuple[int, int]


class DayError(BrambleError):
    """What Prometheus did not answer."""


class Series(NamedTuple):
    """One series of an answer: its labels, and a value for each step, None where there is none."""

    labels: dict[str, str]
    values: list[float | None]


def start_of(now: float) -> int:
    """Return where the day begins whose last step has just ended."""
    return int(now) // STEP * STEP - SECONDS


def query_path(query: str, start: int) -> str:
    """Return what is asked for."""
    # A value is that of the step that ends there.
    asked = {"query": query, "start": start + STEP, "end": start + SECONDS, "step": STEP}
    return f"/api/v1/query_range?{urlencode(asked)}"


def parse(text: bytes, start: int) -> list[Series]:
    """Read an answer."""
    try:
        answer = json.loads(text)
        if answer["status"] != "success":
            raise DayError(f"Prometheus refuses the query: {answer.get('error', answer['status'])}; {REMEDY}")
        return [
            Series(
                {str(name): str(value) for name, value in each["metric"].items()},
                _values(each["values"], start),
            )
            for each in answer["data"]["result"]
        ]
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        if isinstance(error, DayError):
            raise
        raise DayError(
            f"the answer begins with {text[:60].decode('utf-8', 'replace')!r}; expected one of Prometheus: "
            f"{REMEDY}"
        ) from error


def _values(pairs: Sequence[Sequence[Any]], start: int) -> list[float | None]:
    values: list[float | None] = [None] * COUNT
    for moment, text in pairs:
        place, value = round((float(moment) - start) / STEP) - 1, float(text)
        if 0 <= place < COUNT and math.isfinite(value):
            values[place] = value
    return values


def spans(truths: Sequence[bool]) -> list[Span]:
    """Return where they are true without a break."""
    found: list[Span] = []
    for place, true in enumerate(truths):
        if true and found and found[-1][1] == place:
            found[-1] = (found[-1][0], place + 1)
        elif true:
            found.append((place, place + 1))
    return found


def _true(values: Sequence[float | None]) -> list[bool]:
    return [value is not None and value > 0 for value in values]


def _node(name: str, answers: Mapping[str, Sequence[Series]]) -> dict[str, Any]:
    def of(query: str) -> Iterator[Series]:
        return (each for each in answers[query] if each.labels.get("node") == name)

    up = next((each.values for each in of("up")), [None] * COUNT)
    return {
        "temperature": next((each.values for each in of("temperature")), [None] * COUNT),
        "away": spans([value == 0 for value in up]),
        "unwatched": spans([value is None for value in up]),
        "throttled": {each.labels.get("reason", ""): spans(_true(each.values)) for each in of("throttled")},
    }


def read(answers: Mapping[str, Sequence[Series]], start: int) -> dict[str, Any]:
    """Say how the nodes were, by their names."""
    names = {each.labels.get("node", "") for query in ("up", "temperature") for each in answers[query]}
    return {
        "start": start,
        "step": STEP,
        "nodes": {name: _node(name, answers) for name in sorted(names - {""})},
        "alerts": [
            {
                "alert": each.labels.get("alertname", ""),
                "severity": each.labels.get("severity", ""),
                "node": each.labels.get("node", ""),
                "firing": spans(_true(each.values)),
            }
            for each in answers["alerts"]
        ],
    }
