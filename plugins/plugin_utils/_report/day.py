# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What happened to a rack in the last day, from what Prometheus knows of it."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

UNDERVOLTAGE = "undervoltage"
#: What the firmware reports, in the words of the report; all but the voltage slow the processor down.
REASONS = {
    UNDERVOLTAGE: "voltage too low",
    "frequency_capped": "frequency capped",
    "throttled": "throttled",
    "soft_temperature_limit": "too hot",
}
_SEVERITIES = {"away": "error", UNDERVOLTAGE: "error", "slowed": "warning", "unwatched": "info"}


def moment(seconds: float) -> str:
    """Write a time as the report does."""
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _joined(spans: Iterable[Sequence[int]]) -> list[tuple[int, int]]:
    """Return the times in which at least one of them is."""
    found: list[tuple[int, int]] = []
    for first, last in sorted((first, last) for first, last in spans):
        if found and first <= found[-1][1]:
            found[-1] = (found[-1][0], max(last, found[-1][1]))
        else:
            found.append((first, last))
    return found


class _Event(NamedTuple):
    """What happened, from the first step to before the last number."""

    span: tuple[int, int]
    what: str
    text: str
    severity: str


def _of_node(node: Mapping[str, Any]) -> Iterator[_Event]:
    """Yield what happened to a node."""
    throttled = node["throttled"]
    slow = {reason: spans for reason, spans in throttled.items() if reason != UNDERVOLTAGE}
    for what, spans, words in (
        ("away", node["away"], "did not answer"),
        ("unwatched", node["unwatched"], "Prometheus did not ask it"),
        (UNDERVOLTAGE, throttled.get(UNDERVOLTAGE, ()), REASONS[UNDERVOLTAGE]),
    ):
        for first, last in spans:
            yield _Event((first, last), what, words, _SEVERITIES[what])
    for first, last in _joined(span for spans in slow.values() for span in spans):
        within = [
            REASONS.get(reason, reason)
            for reason in sorted(slow, key=[*REASONS, *slow].index)
            if any(begin < last and end > first for begin, end in slow[reason])
        ]
        yield _Event((first, last), "slowed", ", ".join(within), _SEVERITIES["slowed"])


def report(*, history: Mapping[str, Any], hosts: Sequence[str]) -> dict[str, Any]:
    """Say how each host was and what happened to it; whom Prometheus knows beside them comes last."""
    start, step, known = history["start"], history["step"], history["nodes"]
    alerts = [each for each in history["alerts"] if each["firing"]]
    others = {*known, *(each["node"] for each in alerts if each["node"])}.difference(hosts)
    every = [*hosts, *sorted(others)]
    count = max((len(node["temperature"]) for node in known.values()), default=0)
    # What happened to many at once, as without power, is one event.
    found: dict[_Event, list[str]] = {}
    for host in every:
        for event in _of_node(known[host]) if host in known else ():
            found.setdefault(event, []).append(host)
        for each in alerts:
            for first, last in each["firing"] if each["node"] == host else ():
                alert = _Event((first, last), "alert", each["alert"], each["severity"])
                found.setdefault(alert, []).append(host)
    for each in alerts:
        for first, last in each["firing"] if not each["node"] else ():
            found.setdefault(_Event((first, last), "alert", each["alert"], each["severity"]), [])
    return {
        "start": moment(start),
        "end": moment(start + count * step),
        "step": step,
        "nodes": [
            {
                "host": host,
                "watched": host in known,
                "temperature": known[host]["temperature"] if host in known else [],
            }
            for host in every
        ],
        "events": [
            {
                "hosts": owners,
                "what": event.what,
                "text": event.text,
                "severity": event.severity,
                "from": moment(start + event.span[0] * step),
                "to": moment(start + event.span[1] * step),
                "lasts": event.span[1] == count,
            }
            for event, owners in sorted(found.items(), key=lambda item: item[0])
        ],
    }
