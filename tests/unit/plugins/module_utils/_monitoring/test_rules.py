# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._monitoring import rules
from ansible_collections.bramble.pi.plugins.module_utils._node.findings import KINDS

ALERTS = {alert.name: alert for alert in rules.alerts(examine_interval=300)}


def test_of_each_finding_that_a_node_makes_of_itself_there_is_an_alert() -> None:
    expected = {rules.alert_name(check) for check in KINDS} - {
        "BrambleMachineId",
        "BrambleHostname",
        "BrambleNotInCluster",
        "BrambleVipHolder",
    }
    assert {alert.name for alert in rules.finding_alerts()} == expected
    assert len(ALERTS) == len(rules.alerts(examine_interval=300))


def test_what_is_only_information_is_no_alert() -> None:
    assert ALERTS["BrambleThrottled"].query == 'bramble_finding{check="throttled",severity!="info"} == 1'


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        (
            "BrambleSwap",
            "ansible-playbook -i INVENTORY bramble.pi.site --tags os_prep --limit {{ $labels.node }}",
        ),
        (
            "BrambleInodes",
            "sudo du -x --inodes -d2 {{ $labels.path }} | sort -n | tail shows where the many files are",
        ),
        (
            "BrambleNodeNotReady",
            "fix what else is reported of this node, else:"
            " kubectl describe node {{ $labels.node | toLower }}",
        ),
    ],
)
def test_remedies_name_what_they_are_for(name: str, remedy: str) -> None:
    assert rules.remedy(ALERTS[name]) == remedy


def test_what_a_remedy_names_is_a_label_of_its_finding() -> None:
    named = {
        name
        for alert in ALERTS.values()
        for name in re.findall(r"\$labels\.(\w+)", rules.remedy(alert) + alert.summary)
    }
    assert named == {"node", "path", "unit", "to", "files"}


def test_the_file_of_rules() -> None:
    (group,) = json.loads(rules.rules(examine_interval=600, after=120))["groups"]
    found = {rule["alert"]: rule for rule in group["rules"]}
    assert list(found) == list(ALERTS)
    assert {rule["for"] for rule in found.values()} == {"120s"}
    assert "> 1380 or" in found["BrambleNotExamined"]["expr"]
    # Of a finding its own severity counts.
    assert "labels" not in found["BrambleDisk"]
    assert found["BrambleUnreachable"]["labels"] == {"severity": "error"}


def documented(alert: rules.Alert) -> str:
    check = next((check for check in KINDS if rules.alert_name(check) == alert.name), None)
    remedy = re.sub(r"\{(\w+)\}", lambda match: match[1].upper(), alert.remedy)
    metric = re.search(
        r"[a-z_]+(?=[{ )\[])", re.sub(r"\b(abs|count|histogram_quantile|rate)\(|\(", "", alert.query)
    )
    assert metric
    cells = (f"`{alert.name}`", f"`{check}`" if check else "", f"`{metric[0]}`", alert.when, remedy)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def test_the_documentation_has_every_alert() -> None:
    """If it fails: put the lines that it shows into docs/monitoring.md."""
    text = (Path(__file__).parents[5] / "docs" / "monitoring.md").read_text()
    table = [line for line in text.splitlines() if line.startswith("| `Bramble")]
    assert table == [documented(alert) for alert in ALERTS.values()]
