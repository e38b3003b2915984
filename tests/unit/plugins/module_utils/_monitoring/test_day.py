# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read of Prometheus' answers; those of fixtures/prometheus are of a real one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._monitoring import day, metrics, rules
from hypothesis import given
from hypothesis import strategies as st

RECORDED = json.loads((Path(__file__).parents[3] / "fixtures/prometheus/day.json").read_text())
START = RECORDED["start"]
NOTHING: dict[str, list[day.Series]] = {name: [] for name in day.QUERIES}


def answer(*series: tuple[dict[str, str], list[list[Any]]]) -> bytes:
    result = [{"metric": labels, "values": values} for labels, values in series]
    return json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}}).encode()


def one(*pairs: list[Any]) -> list[float | None]:
    """Return the values of a series that begins at 0."""
    return day.parse(answer(({}, list(pairs))), 0)[0].values


def test_a_recorded_day() -> None:
    answers = {
        name: day.parse(json.dumps(text).encode(), START) for name, text in RECORDED["answers"].items()
    }
    found = day.read(answers, START)
    assert (found["start"], found["step"], list(found["nodes"])) == (START, 300, ["pi-1", "pi-2"])
    first, second = found["nodes"]["pi-1"], found["nodes"]["pi-2"]
    assert first["temperature"][:2] == RECORDED["expected"]["temperature"]
    assert max(filter(None, first["temperature"])) > 80
    # Prometheus was off: nobody knows who was away then.
    assert first["unwatched"] == second["unwatched"] == [(79, 90)]
    assert second["temperature"][79:90] == [None] * 11
    assert (first["away"], second["away"]) == ([], [(244, 246)])
    # Its collector was frozen, so that its last figures stood still.
    assert day.spans([value is None for value in first["temperature"]]) == [(79, 90), (278, 285)]
    assert first["throttled"] == {"soft_temperature_limit": [(206, 217)], "throttled": [(206, 217)]}
    assert second["throttled"] == {"undervoltage": [(175, 182)], "throttled": [(175, 182)]}
    assert [(each["alert"], each["node"], each["firing"]) for each in found["alerts"]] == [
        ("BrambleEtcdNoQuorum", "", [(271, 275)]),
        ("BrambleNotExamined", "pi-1", [(278, 285)]),
        ("BrambleTemperature", "pi-1", [(206, 217)]),
    ]


def test_queries_ask_for_what_there_is() -> None:
    text = " ".join(day.QUERIES.values())
    asked = [word for word in metrics.METRICS if word in text]
    assert asked == ["bramble_temperature_celsius", "bramble_throttled"]
    assert day.NOT_EXAMINED in [each.name for each in rules.server_alerts(examine_interval=60)]


@pytest.mark.parametrize(
    ("pairs", "places"),
    [
        ([], {}),
        ([[300, "48.3"]], {0: 48.3}),
        ([[86400, "48.3"]], {287: 48.3}),
        # Not of this day, as with a clock that jumps.
        ([[0, "1"], [86700, "1"], [-300, "1"], [1e12, "1"]], {}),
        # The clock of a server has parts of seconds, and times may come twice or in another order.
        ([[600.4, "2"], [299.7, "1"], [600, "3"]], {0: 1.0, 1: 3.0}),
        # A marker of staleness, as Prometheus writes it.
        ([[300, "NaN"], [600, "+Inf"], [900, "-Inf"], [1200, "50"]], {3: 50.0}),
    ],
)
def test_values_have_their_step(pairs: list[list[Any]], places: dict[int, float]) -> None:
    values = one(*pairs)
    assert len(values) == day.COUNT
    assert {place: value for place, value in enumerate(values) if value is not None} == places


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            json.dumps(RECORDED["error"]).encode(),
            "refuses the query: 1:9: parse error: unclosed left parenth",
        ),
        (b"", "the answer begins with ''; expected one of Prometheus: look at 'journalctl -u prometheus'"),
        (b"<html>502 Bad Gateway</html>", "the answer begins with '<html>502 Bad Gateway</html>'; expected"),
        (b"[]", "the answer begins with '[]'"),
        (b'{"status": "success"}', "the answer begins with"),
        (b'{"status": "success", "data": {"result": [7]}}', "the answer begins with"),
        (answer(({}, [["now", "1"]])), "the answer begins with"),
        (b"\xff\xfe", "the answer begins with"),
    ],
)
def test_answers_that_are_none(text: bytes, message: str) -> None:
    with pytest.raises(day.DayError) as error:
        day.parse(text, 0)
    assert message in str(error.value)
    assert "ansible-playbook -i INVENTORY bramble.pi.monitoring" in str(error.value)


def test_a_day_without_anything() -> None:
    assert day.read(NOTHING, 0) == {"start": 0, "step": 300, "nodes": {}, "alerts": []}


def test_a_node_that_only_has_temperatures() -> None:
    found = day.read({**NOTHING, "temperature": day.parse(answer(({"node": "a"}, [[300, "41"]])), 0)}, 0)
    assert found["nodes"]["a"]["unwatched"] == [(0, 288)]
    assert found["nodes"]["a"]["temperature"][0] == 41


@pytest.mark.parametrize("now", [1796052621.9, 1796052600, 1796052899.99])
def test_the_day_ends_with_the_last_whole_step(now: float) -> None:
    start = day.start_of(now)
    assert start + day.SECONDS == 1796052600
    assert f"start={start + 300}&end=1796052600&step=300" in day.query_path("up", start)


@given(st.lists(st.booleans()))
def test_spans_are_what_is_true(truths: list[bool]) -> None:
    found = day.spans(truths)
    assert [place for first, last in found for place in range(first, last)] == [
        place for place, true in enumerate(truths) if true
    ]
    assert all(last < then for (_first, last), (then, _last) in zip(found, found[1:]))
