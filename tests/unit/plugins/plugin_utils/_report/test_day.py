# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

from ansible_collections.bramble.pi.plugins.filter.report import day_report
from ansible_collections.bramble.pi.plugins.plugin_utils._report import day as report_day

START = 1796000100


def node(**changes: Any) -> dict[str, Any]:
    return {
        "temperature": [50.0] * 288,
        "away": [],
        "unwatched": [],
        "throttled": {},
        **changes,
    }


def history(nodes: dict[str, Any], alerts: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {"start": START, "step": 300, "nodes": nodes, "alerts": alerts or []}


def alert(name: str, owner: str, *firing: list[int], severity: str = "error") -> dict[str, Any]:
    return {"alert": name, "severity": severity, "node": owner, "firing": list(firing)}


def told(made: dict[str, Any]) -> list[tuple[list[str], str, str, str, str]]:
    return [
        (each["hosts"], each["what"], each["text"], each["from"][11:16], each["to"][11:16])
        for each in made["events"]
    ]


def test_what_happened_in_its_order() -> None:
    made = report_day.report(
        history=history(
            {
                "pi-1": node(
                    throttled={
                        "throttled": [[10, 14]],
                        "soft_temperature_limit": [[12, 16]],
                        "undervoltage": [[11, 12]],
                        "of_a_later_firmware": [[30, 31]],
                    }
                ),
                "pi-2": node(away=[[0, 2], [286, 288]]),
            },
            [alert("BrambleNodeDown", "pi-2", [287, 288]), alert("BrambleNothing", "pi-1")],
        ),
        hosts=["pi-1", "pi-2"],
    )
    assert (made["start"], made["end"]) == ("2026-11-30T00:55:00Z", "2026-12-01T00:55:00Z")
    assert told(made) == [
        (["pi-2"], "away", "did not answer", "00:55", "01:05"),
        # What is without a break is one event, with all of its reasons.
        (["pi-1"], "slowed", "throttled, too hot", "01:45", "02:15"),
        (["pi-1"], "undervoltage", "voltage too low", "01:50", "01:55"),
        (["pi-1"], "slowed", "of_a_later_firmware", "03:25", "03:30"),
        (["pi-2"], "away", "did not answer", "00:45", "00:55"),
        (["pi-2"], "alert", "BrambleNodeDown", "00:50", "00:55"),
    ]
    assert [each["lasts"] for each in made["events"]] == [False, False, False, False, True, True]


def test_what_happened_to_many_is_one_event() -> None:
    nodes = {f"pi-{number}": node(away=[[5, 6]]) for number in (10, 2, 1)}
    made = report_day.report(history=history(nodes), hosts=list(nodes))
    assert told(made) == [(["pi-10", "pi-2", "pi-1"], "away", "did not answer", "01:20", "01:25")]


def test_whom_prometheus_does_not_know_and_whom_it_alone_knows() -> None:
    made = report_day.report(
        history=history(
            {"nas": node(temperature=[None] * 288), "pi-1": node()},
            [
                alert("BrambleEtcdNoQuorum", "", [3, 4]),
                alert("BrambleKubeletDown", "gone", [3, 4], severity="warning"),
            ],
        ),
        hosts=["pi-1", "pi-2"],
    )
    assert [(each["host"], each["watched"]) for each in made["nodes"]] == [
        ("pi-1", True),
        ("pi-2", False),
        ("gone", False),
        ("nas", True),
    ]
    assert [(each["hosts"], each["text"], each["severity"]) for each in made["events"]] == [
        ([], "BrambleEtcdNoQuorum", "error"),
        (["gone"], "BrambleKubeletDown", "warning"),
    ]


def test_a_day_of_which_nothing_is_known() -> None:
    made = report_day.report(history=history({}), hosts=["pi-1"])
    assert made["start"] == made["end"]
    assert made["nodes"] == [{"host": "pi-1", "watched": False, "temperature": []}]


def test_the_filter_makes_the_report() -> None:
    seen = history({"pi-1": node()})
    assert day_report(seen, ["pi-1"], "my-rack") == report_day.report(history=seen, hosts=["pi-1"])


def test_the_filter_says_why_nobody_knows() -> None:
    failed = {"failed": True, "msg": "Prometheus does not answer;\n run -i INVENTORY bramble.pi.monitoring"}
    assert day_report(failed, [], "my-rack") == {
        "problem": "Prometheus does not answer; run -i my-rack bramble.pi.monitoring"
    }
    assert day_report({"unreachable": True}, [], "x") == {"problem": "Prometheus was not asked"}
