# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.filter.cluster import (
    api_endpoint,
    cluster_ca_cert_hash,
    control_plane_answers,
    hosts_to_join,
    initial_control_plane,
    run_summary,
    seen_control_plane,
)

HASH = "sha256:7d83"


def host(state: str | None = None, ca_cert_hash: str | None = HASH) -> dict[str, Any]:
    """Return a host's variables; without a state no facts were read; with a * kubeadm was interrupted."""
    if state is None:
        return {"ansible_facts": {}}
    kubernetes = {
        "state": state.rstrip("*"),
        "unfinished": state.endswith("*"),
        "ca_cert_hash": ca_cert_hash,
    }
    return {"ansible_facts": {"bramble": {"kubernetes": kubernetes}}}


@pytest.mark.parametrize(
    ("states", "first"),
    [
        ([None, None], "pi-0"),
        (["absent", "absent"], "pi-0"),
        # The first board was replaced.
        (["absent", "control_plane"], "pi-1"),
        (["partial", "control_plane", "control_plane"], "pi-1"),
        # Outside of --limit.
        ([None, "control_plane"], "pi-1"),
        (["control_plane", "control_plane"], "pi-0"),
        # Its join was interrupted, so it may not be in the cluster.
        (["absent", "control_plane*", "control_plane"], "pi-2"),
        (["control_plane*", "absent"], "pi-0"),
        (["absent", "control_plane*"], "pi-1"),
    ],
)
def test_who_begins_the_cluster(states: list[str | None], first: str) -> None:
    hostvars = {f"pi-{number}": host(state) for number, state in enumerate(states)}
    assert initial_control_plane(hostvars, {"control_plane": list(hostvars)}) == first


def test_who_has_yet_to_join() -> None:
    states = {"a": None, "b": "absent", "c": "worker", "d": "partial", "e": "control_plane"}
    hostvars = {name: host(state) for name, state in states.items()}
    assert hosts_to_join(hostvars, ["a", "b", "c", "d", "e"]) == ["a", "b", "d", "e"]
    assert hosts_to_join(hostvars, ["c"]) == []


def test_a_join_that_was_cut_short_counts_as_one_to_come() -> None:
    states = ["worker", "worker*", "control_plane", "control_plane*", "partial*"]
    hostvars = {state: host(state) for state in states}
    assert hosts_to_join(hostvars, ["worker", "worker*"]) == ["worker*"]
    further = ["control_plane", "control_plane*", "partial*"]
    assert hosts_to_join(hostvars, further, "control_plane") == ["control_plane*", "partial*"]


@pytest.mark.parametrize(
    ("variables", "known"),
    [
        (host("control_plane"), HASH),
        (host("control_plane", None), ""),
        # It may have become another's since: `kubeadm init` begins such a one again.
        (host("partial"), ""),
        (host("absent", None), ""),
        (host(), ""),
        ({}, ""),
    ],
)
def test_the_cluster_s_authority(variables: dict[str, Any], known: str) -> None:
    assert cluster_ca_cert_hash({"pi-1": variables}, "pi-1") == known


@pytest.mark.parametrize(
    ("remaining", "lines"),
    [
        (
            ["pi-1", "pi-2", "pi-3"],
            ["To verify the cluster and have a report of it: ansible-playbook -i rack bramble.pi.verify"],
        ),
        (["pi-1", "pi-3"], ["pi-2 failed: its clock is wrong"]),
        # One that failed before it could join.
        (["pi-1"], ["pi-2 failed: its clock is wrong", "pi-3 failed: see its message above"]),
    ],
)
def test_the_end_of_a_run(remaining: list[str], lines: list[str]) -> None:
    hostvars: dict[str, dict[str, Any]] = {
        "pi-1": {},
        "pi-2": {"joined": {"failed": True, "msg": "its clock is wrong"}},
        "pi-3": {},
    }
    assert run_summary(hostvars, list(hostvars), remaining, results="joined", inventory="rack") == lines


INIT, JOIN = "control_plane_initialised", "control_plane_joined"


@pytest.mark.parametrize(
    ("variables", "seen"),
    [
        ([host("control_plane"), host("control_plane")], "pi-0"),
        # The first is dead, so that its facts could not be read.
        ([host(), host("control_plane")], "pi-1"),
        # With --limit nothing was read of either.
        ([host(), host()], ""),
        # A new cluster: the facts are older than it.
        ([{**host("absent"), INIT: {"changed": True}}, host("absent")], "pi-0"),
        (
            [
                {**host("absent"), INIT: {"skipped": True}},
                {**host("absent"), JOIN: {"changed": True}},
            ],
            "pi-1",
        ),
        # Its API server was silent, or it was switched off meanwhile.
        ([{**host("control_plane"), INIT: {"failed": True}}, host("control_plane")], "pi-1"),
        ([{**host("control_plane"), INIT: {"unreachable": True}}, host("control_plane")], "pi-1"),
        ([host("control_plane*"), host("partial")], ""),
    ],
)
def test_a_control_plane_that_the_run_has_seen_in_order(variables: list[dict[str, Any]], seen: str) -> None:
    hostvars = {f"pi-{number}": each for number, each in enumerate(variables)}
    assert seen_control_plane(hostvars, {"control_plane": list(hostvars)}) == seen


def test_who_answers_and_why_others_do_not() -> None:
    off = "Task failed: Failed to connect to the host via ssh: No route to host"
    results: list[dict[str, Any]] = [
        {"item": "pi-1", "unreachable": True, "msg": off},
        {
            "item": "pi-2",
            "rc": 1,
            "stderr": "Warning: x\nThe connection to the server pi-2:6443 was refused\n",
        },
        {"item": "pi-3", "rc": 0, "stdout": "ok"},
    ]
    silent = [
        f"pi-1: {off.removeprefix('Task failed: ')}",
        "pi-2: The connection to the server pi-2:6443 was refused",
    ]
    assert control_plane_answers(results) == {"host": "pi-3", "silent": silent, "unknown": ["pi-1"]}
    assert control_plane_answers(results[:2]) == {"host": "", "silent": silent, "unknown": ["pi-1"]}


@pytest.mark.parametrize(
    ("endpoint", "vip", "expected"),
    [
        ("", "", ""),
        ("k8s.lan", "", "k8s.lan"),
        ("", "192.168.1.10", "192.168.1.10:6443"),
        ("k8s.lan:6443", "192.168.1.10", "k8s.lan:6443"),
        ("k8s.lan:6443", None, "k8s.lan:6443"),
        # Templates that cannot be evaluated.
        ("", None, None),
        (None, "", None),
        (None, "192.168.1.10", None),
    ],
)
def test_where_the_cluster_is_to_be_reached(
    endpoint: str | None, vip: str | None, expected: str | None
) -> None:
    assert api_endpoint(endpoint=endpoint, vip=vip) == expected


@pytest.mark.parametrize(
    ("stderr", "unknown"),
    [
        ("error: You must be logged in to the server (Unauthorized)", ["pi-1"]),
        ("Unable to connect to the server: net/http: TLS handshake timeout", ["pi-1"]),
        ("Unable to connect to the server: x509: certificate has expired or is not yet valid", ["pi-1"]),
        ("The connection to the server pi-1:6443 was refused", []),
        ("Unable to connect to the server: dial tcp 10.0.0.9:6443: connect: no route to host", []),
    ],
)
def test_an_api_server_that_may_run_all_the_same(stderr: str, unknown: list[str]) -> None:
    assert control_plane_answers([{"item": "pi-1", "rc": 1, "stderr": stderr}])["unknown"] == unknown
