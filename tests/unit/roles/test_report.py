# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report's template, filled by Ansible as the role fills it, with values that nobody should trust."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.bramble.pi.plugins.module_utils._node import findings
from ansible_collections.bramble.pi.plugins.plugin_utils._report import day as report_day
from ansible_collections.bramble.pi.plugins.plugin_utils._report import report as report_report

from tests.unit.report_page import Page

ROOT = Path(__file__).parents[3]
TEMPLATE = ROOT / "roles/report/templates/report.html.j2"
DAY_TEMPLATE = ROOT / "roles/report/templates/day.html.j2"
HOSTILE = """<script>alert("1")</script>'"><img src=x onerror=alert(2)>&amp;{{ 7 * 7 }}"""
GIGABYTE = 1024**3


def node(**changes: Any) -> dict[str, Any]:
    return {
        "hostname": "",
        "machine_id": "",
        "distribution": {"name": "Debian GNU/Linux 13 (trixie)"},
        "kernel": "6.12.47+rpt-rpi-v8",
        "architecture": "arm64",
        "model": "Raspberry Pi 4 Model B Rev 1.4",
        "packages": {"kubelet": "1.36.1-1.1", "containerd": "1.7.24"},
        "kubernetes": {"state": "worker"},
        "member": None,
        "silent_components": [],
        "clock": {"synchronized": True},
        "default_address": "192.168.1.11",
        "uptime": 90000,
        "temperature": 48.3,
        "throttled": 0x50005,
        "memory": {"total": 4 * GIGABYTE, "available": GIGABYTE},
        "disks": [{"path": "/", "size": 59 * GIGABYTE, "available": GIGABYTE}],
        "certificates": [{"path": "/etc/kubernetes/pki/ca.crt", "expires": "2026-10-11T12:00:00Z"}],
        "fsync": {"path": "/var/lib/etcd", "writes": 200, "p50_ms": 1.2, "p99_ms": 23.4},
        "backup": {
            "tried": "2026-10-01T03:00:00Z",
            "error": None,
            "proved": "2026-10-01T03:00:20Z",
            "keys": 312,
            "file": "/var/lib/bramble/backups/bramble-20261001T030000Z-0fffefc56e99-pi-1.tar.gz.age",
            "copies": {
                "pi-2": {"copied": "2026-10-01T03:00:25Z", "error": None},
                HOSTILE: {"copied": None, "error": HOSTILE},
            },
        },
        "page_size": 4096,
        **changes,
    }


def page(
    folder: Path,
    results: dict[str, Any],
    receipts: dict[str, Any] | None = None,
    day: dict[str, Any] | None = None,
) -> str:
    """Fill the template with what the modules returned, by host."""
    report = report_report.check(
        results=results,
        roles=dict.fromkeys(results, "worker"),
        addresses={host: host for host in results},
        receipts=receipts or {},
        inventory="my-rack",
    )
    content = {"title": HOSTILE, "made": "2026-10-01T12:00:00Z", **report, "day": day}
    (folder / "report.json").write_text(json.dumps(content))
    fill = {"src": str(TEMPLATE), "dest": str(folder / "report.html"), "mode": "0644"}
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "vars": {
            "ansible_python_interpreter": "{{ ansible_playbook_python }}",
            # What comes from elsewhere is not a template, in the role neither.
            "__report": f"{{{{ lookup('ansible.builtin.file', '{folder}/report.json') | from_json }}}}",
        },
        "tasks": [{"ansible.builtin.template": fill}],
    }
    (folder / "play.yml").write_text(yaml.safe_dump([play]))
    done = subprocess.run(
        [Path(sys.executable).parent / "ansible-playbook", folder / "play.yml"],
        cwd=ROOT,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return (folder / "report.html").read_text()


def test_values_are_escaped_wherever_they_stand(tmp_path: Path) -> None:
    finding = findings.finding("disk", "error", evidence=HOSTILE, expected=HOSTILE, remedy=HOSTILE)._asdict()
    bad = node(
        distribution={"name": HOSTILE},
        kernel=HOSTILE,
        model=HOSTILE,
        packages={"kubelet": HOSTILE, "containerd": HOSTILE},
        default_address=HOSTILE,
        disks=[{"path": HOSTILE, "size": GIGABYTE, "available": GIGABYTE}],
        certificates=[
            {"path": HOSTILE, "expires": "2026-10-11T12:00:00Z"},
            {"path": "/no.crt", "error": HOSTILE},
        ],
    )
    receipt = {"image": {"name": HOSTILE}, "written": HOSTILE, "collection": HOSTILE}
    text = page(
        tmp_path,
        {HOSTILE: {"node": bad, "findings": [finding]}, "pi-2": {"msg": HOSTILE}},
        {HOSTILE: receipt},
    )
    read = Page(text)
    assert "none, the last one failed" in text
    assert "script" not in read.tags
    assert "img" not in read.tags
    shown = " ".join(HOSTILE.split())
    # Title, name, findings (and the one that did not answer), system, kernel, board, versions, address, disk,
    # certificate and receipt: all as they are.
    assert read.text.count(shown) >= 18
    assert "49" not in re.sub(r"[^ ]*:\d+", "", read.text).split()


def test_what_is_to_be_seen(tmp_path: Path) -> None:
    finding = findings.finding(
        "swap", "error", evidence="swap is on", expected="no swap", host="pi-1"
    )._asdict()
    text = page(
        tmp_path,
        {
            "pi-1": {"node": node(), "findings": [finding]},
            "pi-2": {"unreachable": True, "msg": "No route to host"},
            "pi-3": {"node": node(throttled=None, temperature=None, fsync=None, model=None), "findings": []},
        },
        {
            "pi-1": {
                "image": {"name": "raspios.img.xz"},
                "written": "2026-09-30T10:00:00Z",
                "collection": "0.1.0",
            }
        },
    )
    read = Page(text)
    for words in (
        "3 nodes 0 Ready 2 errors 0 warnings 0 notes",
        "Error pi-1 swap swap is on Expected no swap Do ansible-playbook -i my-rack bramble.pi.site",
        "No route to host",
        "Raspberry Pi 4 Model B Rev 1.4 Debian GNU/Linux 13 (trixie) 6.12.47+rpt-rpi-v8 1.36.1-1.1",
        "containerd 1.7.24",
        "25 h 48.3 °C voltage too low , throttled , voltage was too low , was throttled synchronised",
        "1.0 of 4.0 GB free",
        "1.0 of 59 GB free",
        "23.4 ms",
        "2026-10-11 12:00 UTC 10",
        "pi-1 raspios.img.xz 2026-09-30 10:00 UTC 0.1.0",
    ):
        assert words in read.text
    # Each board is drawn, and leads to its row.
    assert [link for link in read.links if link == "#node-pi-3"]
    assert read.tags.count("circle") == 6
    assert text.count('class="board ') == 3
    assert 'class="board unreachable worker"' in text


def test_nothing_is_wrong(tmp_path: Path) -> None:
    read = Page(page(tmp_path, {"pi-1": {"node": node(throttled=0, certificates=[]), "findings": []}}))
    assert "Nothing. Every check of every node is passed." in read.text
    assert "1 node 0 Ready 0 errors" in read.text
    assert "No receipts on this machine" in read.text
    assert "There are none yet" in read.text
    assert "The last day" not in read.text


@pytest.mark.parametrize("number", [1, 50])
def test_racks_of_any_height(tmp_path: Path, number: int) -> None:
    results = {f"pi-{index}": {"node": node(), "findings": []} for index in range(number)}
    text = page(tmp_path, results)
    Page(text)
    assert f'viewBox="0 0 380 {40 + 66 * number}"' in text


def last_day(*hosts: str, **changes: Any) -> dict[str, Any]:
    """Return a day in which only the first host is other than the rest."""
    calm = {"temperature": [48.0] * 288, "away": [], "unwatched": [], "throttled": {}}
    history = {
        "start": 1796000100,
        "step": 300,
        "nodes": {**dict.fromkeys(hosts, calm), hosts[0]: {**calm, **changes}},
        "alerts": [],
    }
    return report_day.report(history=history, hosts=hosts)


def test_the_last_day_is_seen(tmp_path: Path) -> None:
    day = last_day(
        "pi-1",
        "pi-2",
        temperature=[45.0] * 100 + [None] * 2 + [81.6] * 186,
        away=[[100, 102]],
        throttled={"throttled": [[102, 288]], "undervoltage": [[150, 151]]},
    )
    text = page(
        tmp_path, {name: {"node": node(), "findings": []} for name in ("pi-1", "pi-2", "pi-3")}, day=day
    )
    read = Page(text)
    for words in (
        "From 2026-11-30 00:55 UTC to 2026-12-01 00:55 UTC, in steps of 5 minutes.",
        "Each row reaches from 45 to 85 °C.",
        "did not answer, 09:15 to 09:25",
        "45 to 82 °C",
        "48 to 48 °C",
        "pi-1 slowed down : throttled 2026-11-30 09:25 still 930",
        "pi-1 voltage : voltage too low 2026-11-30 13:25 13:30 5",
        "pi-1 away : did not answer 2026-11-30 09:15 09:25 10",
    ):
        assert words in read.text
    # Two parts of a line for pi-1, one for pi-2.
    assert text.count('<path class="line"') == 3
    assert "NaN" not in text


def test_whatever_stands_in_the_last_day_is_escaped(tmp_path: Path) -> None:
    day = last_day(HOSTILE, "pi-2", away=[[1, 2]], throttled={HOSTILE: [[3, 4]]})
    alert = {"what": "alert", "text": HOSTILE, "severity": HOSTILE, "lasts": False}
    times = {"from": day["start"], "to": day["end"]}
    day["events"] += [{"hosts": [], **alert, **times}, {"hosts": [HOSTILE] * 5, **alert, **times}]
    read = Page(page(tmp_path, {HOSTILE: {"node": node(), "findings": []}}, day=day))
    assert "script" not in read.tags
    assert "img" not in read.tags
    shown = " ".join(HOSTILE.split())
    # Beside those of the other sections: as a row, in bands and in the table.
    assert read.text.count(shown) >= 20
    assert f"{shown} and 1 more" in read.text


def test_why_nothing_is_known_of_the_last_day(tmp_path: Path) -> None:
    read = Page(page(tmp_path, {"pi-1": {"node": node(), "findings": []}}, day={"problem": HOSTILE}))
    assert f"Nothing is known of it: {' '.join(HOSTILE.split())}" in read.text


def test_a_calm_day_and_one_with_very_much(tmp_path: Path) -> None:
    calm = Page(page(tmp_path, {"pi-1": {"node": node(), "findings": []}}, day=last_day("pi-1")))
    assert "Nobody was away, nothing slowed down, no alert was firing." in calm.text
    day = last_day("pi-1", away=[[place, place + 1] for place in range(0, 288, 2)])
    much = Page(page(tmp_path, {"pi-1": {"node": node(), "findings": []}}, day=day))
    assert "These are the last 40 of 144" in much.text


#: What may be written without being escaped: numbers that the template computes, its own words, its macros.
OWN = re.compile(
    r"(unit|y|pin|days|span|free|label|__report\.nodes \| length)\b"
    r"|'|\d|\(?\d|or_dash\(|id_of\(|gigabytes\(|used\(|power\(|span\(|when\(|worst \| length|100 - free"
    r"|hour\(|minutes\("
)


@pytest.mark.parametrize("template", [TEMPLATE, DAY_TEMPLATE], ids=["report", "day"])
def test_every_value_is_escaped_in_the_template(template: Path) -> None:
    """A guard for changes: a value from elsewhere needs `| e`, or a macro that has it."""
    written = re.findall(r"\{\{-?\s*(.*?)\s*-?\}\}", template.read_text())
    assert len(written) > 30
    careless = [each for each in written if not each.endswith("| e") and not OWN.match(each)]
    allowed = {
        "seconds // 86400",
        "seconds // 3600",
        "seconds // 60",
        "label[:-1] if __report.counts[severity] == 1 else label",
        "severity if __report.counts[severity] else 'none'",
        "severity",
        "__report.nodes | selectattr('state', 'equalto', 'ready') | length",
    }
    assert set(careless) <= allowed, careless
