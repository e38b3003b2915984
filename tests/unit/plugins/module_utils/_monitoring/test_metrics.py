# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._monitoring import metrics
from ansible_collections.bramble.pi.plugins.module_utils._node.findings import Finding, finding

NODE: dict[str, Any] = {
    "temperature": None,
    "throttled": None,
    "fsync": None,
    "certificates": [],
    "backup": None,
    "member": None,
}


def lines(findings: tuple[Finding, ...] = (), **node: Any) -> list[str]:
    text = metrics.exposition(node={**NODE, **node}, findings=findings, examined=1e9, duration=2.5)
    assert text.endswith("\n")
    return [line for line in text.splitlines() if not line.startswith("#")]


OWN = ["bramble_examined_seconds 1000000000.0", "bramble_examine_duration_seconds 2.5"]


def test_of_a_node_that_tells_nothing_the_time_is_told() -> None:
    assert lines() == OWN


def test_a_finding_has_the_labels_of_its_remedy_and_not_its_evidence() -> None:
    full = finding("disk", "error", evidence="9 % free", expected="15 %", path="/var")
    swap = finding("swap", "error", evidence="swap is on", expected="no swap", host="pi-2")
    assert lines((full, swap))[:-2] == [
        'bramble_finding{check="disk",severity="error",path="/var"} 1',
        'bramble_finding{check="swap",severity="error"} 1',
    ]


def test_two_findings_that_differ_in_their_evidence_alone_are_one() -> None:
    two = [finding("memory", "warning", evidence=text, expected="") for text in ("150 MiB", "a small board")]
    assert lines(tuple(two))[:-2] == ['bramble_finding{check="memory",severity="warning"} 1']


@pytest.mark.parametrize(
    ("value", "written"), [('a"b', r"a\"b"), ("a\\b", r"a\\b"), ("a\nb", r"a\nb"), ("a{b}", "a{b}")]
)
def test_labels_are_escaped(value: str, written: str) -> None:
    odd = finding("disk", "error", evidence="", expected="", path=value)
    assert lines((odd,))[0] == f'bramble_finding{{check="disk",severity="error",path="{written}"}} 1'


@pytest.mark.parametrize(
    ("bits", "expected"),
    [
        (0x0, set()),
        (0x1, {("undervoltage", "now")}),
        (0x50000, {("undervoltage", "since_boot"), ("throttled", "since_boot")}),
        (0x80008, {("soft_temperature_limit", "now"), ("soft_temperature_limit", "since_boot")}),
        (0x2, {("frequency_capped", "now")}),
    ],
)
def test_the_firmware_s_bits(bits: int, expected: set[tuple[str, str]]) -> None:
    found = lines(throttled=bits)[:-2]
    assert len(found) == 8
    assert {line.rpartition(" ")[0] for line in found if line.endswith(" 1")} == {
        f'bramble_throttled{{reason="{reason}",when="{when}"}}' for reason, when in expected
    }


def test_numbers() -> None:
    found = lines(
        temperature=48.3,
        fsync={"p50_ms": 2.1, "p99_ms": 23.7},
        certificates=[
            {"path": "/a.crt", "expires": "2036-10-01T12:00:00Z"},
            {"path": "/b.crt", "error": "it is none"},
        ],
        backup={"proved": "2026-09-30T03:00:20Z"},
        member={"state": "not ready"},
    )
    assert found[:-2] == [
        "bramble_temperature_celsius 48.3",
        'bramble_fsync_seconds{quantile="0.5"} 0.0021',
        'bramble_fsync_seconds{quantile="0.99"} 0.0237',
        'bramble_certificate_expires_seconds{path="/a.crt"} 2106475200.0',
        "bramble_backup_proved_seconds 1790737220.0",
        "bramble_node_ready 0",
    ]


@pytest.mark.parametrize(
    ("state", "expected"),
    [("ready", ["bramble_node_ready 1"]), ("silent", []), ("missing", [])],
)
def test_what_the_cluster_does_not_say_is_not_told(state: str, expected: list[str]) -> None:
    assert lines(member={"state": state})[:-2] == expected


def test_the_documentation_has_every_metric() -> None:
    """If it fails: put the lines that it shows into docs/monitoring.md."""
    text = (Path(__file__).parents[5] / "docs" / "monitoring.md").read_text()
    table = [line for line in text.splitlines() if line.startswith("| `bramble_")]
    assert table == [f"| `{name}` | {what} |" for name, what in metrics.METRICS.items()]
