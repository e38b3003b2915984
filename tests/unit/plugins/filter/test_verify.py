# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.bramble.pi.plugins.filter.inventory import node_names
from ansible_collections.bramble.pi.plugins.filter.verify import node_report, workload_report


def node(name: str, *, roles: tuple[str, ...] = (), ready: str = "True", **spec: Any) -> dict[str, Any]:
    """Return the part of a node that counts, as `kubectl get nodes -o json` prints it."""
    message = {
        "True": "kubelet is posting ready status. AppArmor enabled",
        "False": "runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady",
        "Unknown": "Kubelet stopped posting node status.",
    }[ready]
    return {
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {"kubernetes.io/arch": "arm64"}
            | {f"node-role.kubernetes.io/{role}": "" for role in roles},
        },
        "spec": {"podCIDR": "10.244.0.0/24", **spec},
        "status": {
            "addresses": [
                {"address": name, "type": "Hostname"},
                {"address": "192.168.1.11", "type": "InternalIP"},
            ],
            "conditions": [
                {"type": "MemoryPressure", "status": "False", "message": "no pressure"},
                {"type": "Ready", "status": ready, "reason": "x", "message": message},
            ],
            "nodeInfo": {"kubeletVersion": "v1.20.2", "containerRuntimeVersion": "docker://20.10.24"},
        },
    }


def printed(*nodes: dict[str, Any]) -> str:
    return json.dumps({"kind": "List", "items": nodes})


def test_all_is_well() -> None:
    report = node_report(printed(node("pi-2"), node("pi-1", roles=("master", "control-plane"))), ["pi-1"])
    assert report["problems"] == []
    assert report["table"] == [
        "NODE  ROLE           VERSION  RUNTIME            READY  ADDRESS",
        "pi-1  control-plane  v1.20.2  docker://20.10.24  yes    192.168.1.11",
        "pi-2  worker         v1.20.2  docker://20.10.24  yes    192.168.1.11",
    ]


@pytest.mark.parametrize(
    ("ready", "reason"), [("False", "NetworkPluginNotReady"), ("Unknown", "stopped posting")]
)
def test_node_that_is_not_ready(ready: str, reason: str) -> None:
    report = node_report(printed(node("pi-1", ready=ready)), ["pi-1"])
    assert len(report["problems"]) == 1
    assert report["problems"][0].startswith("pi-1 is not Ready: ")
    assert reason in report["problems"][0]
    assert "  no  " in report["table"][1]


def test_node_that_is_missing() -> None:
    report = node_report(printed(node("pi-1")), ["pi-1", "pi-2"])
    assert report["problems"] == ["pi-2 is not in the cluster: run site.yml for it (--limit pi-2)"]
    assert report["table"][2].split() == ["pi-2", "-", "-", "-", "missing", "-"]


def test_node_that_has_only_just_come() -> None:
    new = {"metadata": {"name": "pi-1"}, "spec": {"unschedulable": True}, "status": {}}
    report = node_report(printed(new))
    assert report["problems"] == ["pi-1 is not Ready: it has not reported yet"]
    assert "no, cordoned" in report["table"][1]


@pytest.mark.parametrize("text", ["", '{"kind": "Status"}', "error: no server"])
def test_something_else_is_refused(text: str) -> None:
    with pytest.raises(AnsibleFilterError, match="kubectl get nodes -o json"):
        node_report(text)


TAINT = {"key": "node-role.kubernetes.io/master", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("nodes", "architectures", "schedulable"),
    [
        ([], [], []),
        ([node("pi-2"), node("pi-1", taints=[TAINT])], ["arm64"], ["pi-2"]),
        ([node("pi-3", unschedulable=True), node("pi-2")], ["arm64"], ["pi-2"]),
        ([node("pi-1", taints=[], unschedulable=False)], ["arm64"], ["pi-1"]),
        (
            [node("pi-1"), {"metadata": {"name": "pc", "labels": {"kubernetes.io/arch": "amd64"}}}],
            ["amd64", "arm64"],
            ["pc", "pi-1"],
        ),
        # It has only just come, without a label yet.
        ([{"metadata": {"name": "pi-1"}, "spec": {}, "status": {}}], [], ["pi-1"]),
    ],
)
def test_what_pods_may_choose(
    nodes: list[dict[str, Any]], architectures: list[str], schedulable: list[str]
) -> None:
    report = node_report(printed(*nodes))
    assert (report["architectures"], report["schedulable"]) == (architectures, schedulable)


def pod(node: str | None, app: str = "verify") -> dict[str, Any]:
    return {"kind": "Pod", "metadata": {"labels": {"app": app}}, "spec": {"nodeName": node} if node else {}}


SERVICE = {"kind": "Service", "metadata": {"name": "verify"}, "spec": {"clusterIP": "10.96.120.7"}}


@pytest.mark.parametrize(
    ("pods", "schedulable", "nodes", "problem"),
    [
        ([pod("pi-2"), pod("pi-3"), pod("pi-2")], ["pi-2", "pi-3"], ["pi-2", "pi-3"], ""),
        (
            [pod("pi-2"), pod("pi-2")],
            ["pi-2", "pi-3"],
            ["pi-2"],
            "are on pi-2; expected at least two of pi-2, pi-3",
        ),
        # Those of each architecture are bound to nodes, and prove nothing of the others.
        ([pod("pi-2"), pod("pi-3", "verify-architecture")], ["pi-2", "pi-3"], ["pi-2"], "are on pi-2"),
        ([pod("pi-2")], ["pi-2"], ["pi-2"], ""),
        ([pod("pi-1"), {"kind": "Pod", "metadata": {}, "spec": {}}], [], ["pi-1"], ""),
        ([pod(None)], ["pi-2"], [], "are on no node"),
    ],
)
def test_where_the_workload_runs(
    pods: list[dict[str, Any]], schedulable: list[str], nodes: list[str], problem: str
) -> None:
    report = workload_report(printed(*pods, SERVICE), schedulable)
    assert (report["nodes"], report["address"]) == (nodes, "10.96.120.7")
    assert len(report["problems"]) == bool(problem)
    assert problem in "".join(report["problems"])


@pytest.mark.parametrize("text", ["", "[]", "error: no server", json.dumps({"items": [pod("pi-2")]})])
def test_something_else_than_the_workload_is_refused(text: str) -> None:
    with pytest.raises(AnsibleFilterError, match="kubectl get pods,service -o json"):
        workload_report(text, [])


def test_names_come_from_the_inventory() -> None:
    hostvars = {"192.168.1.11": {"os_prep_hostname": "Head"}, "Pi-2": {}, "router": {}}
    groups = {"all": list(hostvars), "control_plane": ["192.168.1.11"], "workers": ["Pi-2"]}
    assert node_names(hostvars, groups) == {"192.168.1.11": "head", "Pi-2": "pi-2"}
