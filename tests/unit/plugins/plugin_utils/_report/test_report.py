# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.filter.report import doctor_report
from ansible_collections.bramble.pi.plugins.plugin_utils._report import report as report_report
from hypothesis import given
from hypothesis import strategies as st

GROUPS = {"all": ["pi-2", "pi-1", "pi-3"], "control_plane": ["pi-1"], "workers": ["pi-2", "pi-3"]}
SWAP = {
    "check": "swap",
    "severity": "error",
    "evidence": "swap is on: /var/swap",
    "expected": "no swap",
    "remedy": "ansible-playbook -i INVENTORY bramble.pi.site --limit pi-2",
}
HOT = {**SWAP, "check": "temperature", "severity": "warning", "evidence": "81 degrees", "remedy": "a fan"}


READY = {
    "state": "ready",
    "address": "10.9.9.9",
    "kubelet": "v1.36.1",
    "runtime": "containerd://1.7.24",
    "message": "kubelet is posting ready status",
}


def node(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "hostname": f"pi-{number}",
        "machine_id": f"{number:032x}",
        "packages": {"kubelet": "1.36.1-1.1", "containerd": "1.7.24"},
        "kubernetes": {"state": "worker" if number > 1 else "control_plane"},
        "default_address": f"192.168.1.1{number}",
        "distribution": {"name": "Debian GNU/Linux 13 (trixie)"},
        "clock": {"synchronized": True},
        "member": {**READY},
        "journal": "not to be shown",
        **changes,
    }


def hostvars(**results: dict[str, Any]) -> dict[str, dict[str, Any]]:
    names = {f"pi_{number}": f"pi-{number}" for number in (1, 2, 3)}
    seen = {
        name: results.get(key, {"node": node(int(name[-1])), "findings": []}) for key, name in names.items()
    }
    return {name: {"ansible_host": f"10.0.0.{name[-1]}", "seen": seen[name]} for name in seen}


def report(variables: dict[str, Any], **settings: Any) -> dict[str, Any]:
    return doctor_report(variables, GROUPS, ["pi-1", "pi-2", "pi-3"], results="seen", **settings)


def told(made: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [
        (each["host"], finding["severity"], finding["check"])
        for each in made["nodes"]
        for finding in each["findings"]
    ]


def test_all_is_well() -> None:
    made = report(hostvars())
    assert made["table"] == ["3 nodes examined: nothing is wrong"]
    assert made["failing"] == 0
    assert [(each["host"], each["role"], each["state"]) for each in made["nodes"]] == [
        ("pi-1", "control plane", "ready"),
        ("pi-2", "worker", "ready"),
        ("pi-3", "worker", "ready"),
    ]
    first = made["nodes"][0]
    assert (first["kubelet"], first["runtime"], first["address"]) == (
        "v1.36.1",
        "containerd://1.7.24",
        "10.9.9.9",
    )
    # Only what is named goes on from what was read.
    assert "not to be shown" not in json.dumps(made)
    assert "machine_id" not in first


def test_before_there_is_a_cluster() -> None:
    absent = node(1, kubernetes={"state": "absent"}, member=None)
    # Without kubectl nobody can ask.
    made = report(
        hostvars(pi_1={"node": absent, "findings": []}, pi_2={"node": node(2, member=None), "findings": []})
    )
    assert [each["state"] for each in made["nodes"]] == ["no cluster", "unknown", "ready"]
    assert made["nodes"][1]["kubelet"] == "1.36.1-1.1"
    assert made["nodes"][1]["runtime"] == "containerd 1.7.24"
    assert made["nodes"][1]["address"] == "192.168.1.12"


@pytest.mark.parametrize(
    ("said", "state"),
    [("ready", "ready"), ("not ready", "not ready"), ("missing", "no cluster"), ("silent", "unknown")],
)
def test_how_the_cluster_sees_a_node(said: str, state: str) -> None:
    member = {**READY, "state": said}
    made = report(hostvars(pi_2={"node": node(2, member=member), "findings": []}))
    assert made["nodes"][1]["state"] == state


def test_errors_come_first_then_by_node() -> None:
    variables = hostvars(
        pi_1={"node": node(1), "findings": [HOT]}, pi_2={"node": node(2), "findings": [HOT, SWAP]}
    )
    made = report(variables, inventory="my-rack")
    assert made["counts"] == {"error": 1, "warning": 2, "info": 0}
    assert made["table"] == [
        "3 nodes examined: 1 error, 2 warnings",
        "",
        "ERROR    pi-2  swap         swap is on: /var/swap",
        "                            expected: no swap",
        "                            do: ansible-playbook -i my-rack bramble.pi.site --limit pi-2",
        "",
        "WARNING  pi-1  temperature  81 degrees",
        "                            expected: no swap",
        "                            do: a fan",
        "",
        "WARNING  pi-2  temperature  81 degrees",
        "                            expected: no swap",
        "                            do: a fan",
    ]


@pytest.mark.parametrize(("fail_on", "failing"), [("error", 1), ("warning", 3), ("info", 3), ("never", 0)])
def test_what_fails(fail_on: str, failing: int) -> None:
    variables = hostvars(
        pi_1={"node": node(1), "findings": [HOT]}, pi_2={"node": node(2), "findings": [HOT, SWAP]}
    )
    assert report(variables, fail_on=fail_on)["failing"] == failing


def test_a_node_that_does_not_answer() -> None:
    made = report(hostvars(pi_3={"unreachable": True, "msg": "Failed to connect:\n No route to host"}))
    assert told(made) == [("pi-3", "error", "unreachable")]
    last = made["nodes"][2]
    assert (last["state"], last["examined"], last["address"]) == ("unreachable", False, "10.0.0.3")
    assert "Failed to connect: No route to host" in str(last["findings"])
    assert last["kubelet"] is None


def test_a_node_that_was_never_asked() -> None:
    made = doctor_report({"pi-2": {}}, GROUPS, ["pi-2"], results="seen")
    assert told(made) == [("pi-2", "error", "unreachable")]
    assert made["nodes"][0]["address"] == "pi-2"


@pytest.mark.parametrize(("key", "check"), [("machine_id", "machine_id"), ("hostname", "hostname")])
def test_what_two_nodes_have_in_common(key: str, check: str) -> None:
    made = report(hostvars(pi_3={"node": node(3, **{key: node(2)[key]}), "findings": []}))
    assert told(made) == [("pi-2", "error", check), ("pi-3", "error", check)]
    assert "the same on pi-2 and pi-3" in made["nodes"][2]["findings"][0]["evidence"]


@pytest.mark.parametrize(
    ("held", "evidence"),
    [
        ((True, False), None),
        ((False, False), "192.168.1.10 is held by none of pi-1, pi-2"),
        ((True, True), "192.168.1.10 is held by pi-1 and pi-2"),
        # One that was not seen may have it.
        ((False, None), None),
        ((True, None), None),
    ],
)
def test_not_exactly_one_has_the_control_planes_address(
    held: tuple[bool, bool | None], evidence: str | None
) -> None:
    results: dict[str, Any] = {
        f"pi_{number}": {"msg": "unreachable"}
        if has is None
        else {
            "node": node(number, vip={"address": "192.168.1.10", "active": True, "held": has}),
            "findings": [],
        }
        for number, has in enumerate(held, 1)
    }
    made = report(hostvars(**results))
    found = {
        each["host"]: [one["evidence"] for one in each["findings"] if one["check"] == "vip_holder"]
        for each in made["nodes"]
    }
    expected = [evidence] if evidence else []
    assert found == {"pi-1": expected, "pi-2": expected, "pi-3": []}


def test_a_machine_id_that_is_not_there_is_not_shared() -> None:
    empty = {f"pi_{number}": {"node": node(number, machine_id=""), "findings": []} for number in (2, 3)}
    assert told(report(hostvars(**empty))) == []


def test_a_head_need_not_be_part_of_the_cluster() -> None:
    note = {**SWAP, "check": "not_in_cluster", "severity": "info"}
    head = node(1, kubernetes={"state": "absent"}, member=None)
    variables = hostvars(pi_1={"node": head, "findings": [note]})
    groups = {"all": ["pi-1", "pi-2"], "nat_headnode": ["pi-1"], "control_plane": ["pi-2"]}
    made = doctor_report(variables, groups, ["pi-2", "pi-1"], results="seen")
    assert [(each["host"], each["role"], each["state"]) for each in made["nodes"]] == [
        ("pi-1", "head", "up"),
        ("pi-2", "control plane", "ready"),
    ]
    assert told(made) == []


def test_receipts_of_cards(tmp_path: Path) -> None:
    receipt = {
        "schema": 1,
        "node": "pi-2",
        "image": {"name": "raspios.img.xz", "sha256": "0" * 64, "size": 1},
        "seed": "1",
        "written": "2026-10-01T12:00:00Z",
        "collection": "0.1.0",
    }
    (tmp_path / "pi-2.json").write_text(json.dumps(receipt))
    (tmp_path / "pi-3.json").write_text("half a rece")
    made = report(hostvars(), receipts=str(tmp_path))
    assert [each["receipt"] for each in made["nodes"]] == [None, receipt, None]


@given(st.text(), st.text(min_size=1, max_size=300))
def test_the_table_holds_every_word(evidence: str, remedy: str) -> None:
    variables = hostvars(
        pi_2={"node": node(2), "findings": [{**SWAP, "evidence": evidence, "remedy": remedy}]}
    )
    lines = report_report.table(report=report(variables))
    words = " ".join(lines).split()
    assert set(evidence.split()) | set(remedy.replace("INVENTORY", "my-rack").split()) <= set(words)
