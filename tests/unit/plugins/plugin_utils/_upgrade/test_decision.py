# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stops an upgrade, each with its remedy, and how the plan is shown."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.compatibility import CompatibilityError
from ansible_collections.bramble.pi.plugins.module_utils._upgrade.answers import UpgradeError
from ansible_collections.bramble.pi.plugins.plugin_utils._upgrade import decision

GIB = 1 << 30
NODE = {
    "packages": {"kubelet": "1.20.2-1.1", "kubeadm": "1.20.2-1.1", "kubectl": "1.20.2-1.1"},
    "kubernetes": {"state": "worker", "maintenance": False},
    "clock": {"utc": "2026-11-30T07:00:00Z"},
    "cgroup": {"version": 2},
    "certificates": [{"path": "/etc/kubernetes/pki/apiserver.crt", "expires": "2027-06-01T00:00:00Z"}],
    "disks": [{"path": "/", "size": 32 * GIB, "available": 20 * GIB}],
    "runtime": {"name": "containerd"},
    "member": {"runtime": "containerd://1.7.24"},
    "kubelet_flags": [],
    "crictl": True,
}


def seen(version: str = "1.20.2", **rest: Any) -> dict[str, Any]:
    return {
        "configured": version,
        "nodes": [
            {"name": name, "kubelet": f"v{version}", "runtime": "", "ready": True, "message": ""}
            for name in ("pi-1", "pi-2")
        ],
        "static": {"pi-1": dict.fromkeys(("kube-apiserver", "kube-scheduler"), version)},
        "offered": {"1.20": ["1.20.2"], "1.21": ["1.21.0", "1.21.4"], "1.22": ["1.22.0"], "1.23": ["1.23.0"]},
        "unread": {},
        "drains": {name: {"blocks": [], "waits": [], "goes": 3} for name in ("pi-1", "pi-2")},
        "etcd": [],
        "flags": [],
        "requested": [],
        "objects": [],
        "images": {},
        **rest,
    }


def examined(**changes: Any) -> dict[str, Any]:
    """Return what doctor said; the changes are those of pi-2."""
    found = {}
    for host in ("pi-1", "pi-2"):
        node: dict[str, Any] = copy.deepcopy(NODE)
        findings = []
        if host == "pi-2":
            findings = changes.pop("findings", [])
            node.update(changes)
        found[host] = {"node": node, "findings": findings}
    return found


def decide(wish: Any = "1.22", *, of: dict[str, Any] | None = None, **rest: Any) -> dict[str, Any]:
    rack = decision.Rack(
        seen=of or seen(),
        examined=rest.pop("examined", None) or examined(),
        names={"pi-1": "pi-1", "pi-2": "pi-2"},
        **rest,
    )
    return decision.decide(rack, wish=wish)


def test_shows_the_plan_as_a_table() -> None:
    made = decide()
    assert made == {
        "versions": ["1.21.4", "1.22.0"],
        "text": [
            "Kubernetes comes to 1.22.0 in 2 steps; in each, nodes are drained and upgraded in this order:",
            "node                 1.21.4            1.22.0            pods that go elsewhere",
            "pi-1  control plane  1.20.2 -> 1.21.4  1.21.4 -> 1.22.0  3",
            "pi-2  worker         1.20.2 -> 1.21.4  1.21.4 -> 1.22.0  3",
        ],
        "problems": [],
        "warnings": [],
    }


def test_says_that_there_is_nothing_to_do_whatever_else_is_wrong() -> None:
    made = decide("1.20.2", of=seen(etcd=["etcd is not well"]))
    assert made["versions"] == []
    assert made["problems"] == []
    assert made["text"] == [
        "Nothing to do: all 2 nodes run Kubernetes 1.20.2, and nothing newer is asked for."
    ]


def test_a_node_that_a_killed_run_left_cordoned_is_given_back() -> None:
    left = examined(kubernetes={"state": "worker", "maintenance": True})
    made = decide("1.20.2", examined=left, backup=False)
    assert made["versions"] == ["1.20.2"]
    # There is no upgrade to go back from.
    assert made["problems"] == []


def test_the_only_node_is_not_drained() -> None:
    alone = seen(drains={})
    alone["nodes"] = alone["nodes"][:1]
    rack = decision.Rack(seen=alone, examined={"pi-1": examined()["pi-1"]}, names={"pi-1": "pi-1"})
    assert decision.decide(rack, wish="1.21")["text"][-1].endswith("not drained, as it is the only node")


INGRESS = {
    "kind": "Ingress",
    "namespace": "shop",
    "name": "web",
    "api": "networking.k8s.io/v1beta1",
    "release": [1, 22],
    "successor": "networking.k8s.io/v1",
    "since": [1, 19],
}
FINDING = {
    "check": "node_not_ready",
    "severity": "error",
    "evidence": "not Ready: runtime is down",
    "expected": "Ready",
    "remedy": "kubectl describe node pi-2",
}
DISK = {"path": "/", "size": 8 * GIB, "available": GIB}


@pytest.mark.parametrize(
    ("rack", "told"),
    [
        pytest.param(
            {"of": seen(objects=[INGRESS])},
            "Ingress shop/web was written with networking.k8s.io/v1beta1, which Kubernetes 1.22 does not "
            "have any more; expected networking.k8s.io/v1: change apiVersion (and what else it asks for) in "
            "its manifest, apply that, and run this again",
            id="ingress",
        ),
        pytest.param(
            {"of": seen(objects=[{**INGRESS, "since": [1, 21]}])},
            "which is there from 1.21 on: upgrade to 1.21 at most first, with -e kube_packages_version=1.21; "
            "then",
            id="successor-comes-on-the-way",
        ),
        pytest.param(
            {
                "of": seen(
                    objects=[{**INGRESS, "kind": "PodSecurityPolicy", "namespace": "", "successor": None}]
                )
            },
            "PodSecurityPolicy web was written with networking.k8s.io/v1beta1, which Kubernetes 1.22 does "
            "not have any more; expected none, as nothing took its place",
            id="no-successor",
        ),
        pytest.param(
            {
                "of": seen(
                    drains={
                        "pi-2": {"blocks": ["pod default/bare: it has no controller"], "waits": [], "goes": 0}
                    }
                )
            },
            "pi-2 cannot be drained: pod default/bare: it has no controller",
            id="drain",
        ),
        pytest.param({"of": seen(etcd=["etcd would lose"])}, "etcd would lose", id="etcd"),
        pytest.param(
            {"of": seen(offered={"1.20": ["1.20.2"], "1.22": ["1.22.0"]})},
            "does not have Kubernetes 1.21",
            id="gap",
        ),
        pytest.param(
            {"of": seen(offered={"1.22": ["1.22.0"]}, unread={"1.21": "no route to host"})},
            "the packages of Kubernetes 1.21 cannot be read: no route to host",
            id="unread",
        ),
        pytest.param(
            {"of": seen(images={"r/a:v1": {"nodes": ["pi-1"], "problem": "r cannot be reached"}})},
            "nodes lack the images r/a:v1 (pi-1), and r cannot be reached; expected each on its node, in an "
            "archive or at its registry: set image_cache_archives",
            id="images",
        ),
        pytest.param(
            {"examined": examined(findings=[FINDING])},
            "pi-2: not Ready: runtime is down; expected Ready: kubectl describe node pi-2",
            id="doctor",
        ),
        pytest.param(
            {"examined": {"pi-1": examined()["pi-1"], "pi-2": {"unreachable": True, "msg": "no route"}}},
            "pi-2 was not examined: no route; expected every host of control_plane and workers",
            id="unreachable",
        ),
        pytest.param(
            {"examined": {"pi-1": examined()["pi-1"]}},
            "pi-2 was not examined: it is not in this run; expected every host",
            id="limit",
        ),
        pytest.param(
            {
                "examined": examined(
                    certificates=[{"path": "/etc/kubernetes/pki/ca.crt", "expires": "2026-11-30T09:00:00Z"}]
                )
            },
            "pi-2: /etc/kubernetes/pki/ca.crt expires at 2026-11-30T09:00:00Z; expected a day or more",
            id="certificate",
        ),
        pytest.param(
            {"examined": examined(disks=[DISK])},
            "pi-2: / has 1024 MiB free; expected 1619 MiB, as images and packages of 2 versions take about "
            "800 MiB",
            id="room",
        ),
        pytest.param(
            {
                "examined": examined(cni=[{"file": "10-weave.conflist", "types": ["weave-net", "portmap"]}]),
                "pod_network": "flannel",
            },
            "pi-2: the node is part of a cluster whose pods have the network of 10-weave.conflist in "
            "/etc/cni/net.d; expected that of pod_network_plugin flannel, which would be a second one: set "
            "pod_network_plugin to none",
            id="another-pod-network",
        ),
        pytest.param(
            {"backup": False},
            "backup_recipients is empty, so that there is no backup to restore after a bad upgrade; expected "
            "whom backups are encrypted for: run",
            id="backup",
        ),
        pytest.param(
            {"wish": "1.19", "of": seen()},
            "kubelet of pi-1 is 1.20.2; expected 1.19 or older, as that is asked for: there is no downgrade",
            id="downgrade",
        ),
    ],
)
def test_what_stops_an_upgrade(rack: dict[str, Any], told: str) -> None:
    made = decide(rack.pop("wish", "1.22"), **rack)
    (problem,) = made["problems"]
    assert told in problem
    assert "What would stop it:" in made["text"]


def at(version: str, *minors: int) -> dict[str, Any]:
    """Return a cluster at a version, and a newer patch of these minors."""
    return seen(version, offered={f"1.{minor}": [f"1.{minor}.0"] for minor in minors})


def packages(version: str) -> dict[str, Any]:
    return {"packages": dict.fromkeys(("kubelet", "kubeadm", "kubectl"), f"{version}-1.1")}


def of(version: str, **changes: Any) -> dict[str, Any]:
    found = examined(**packages(version), **changes)
    found["pi-1"]["node"].update(packages(version))
    return found


@pytest.mark.parametrize(
    ("wish", "cluster", "nodes", "told"),
    [
        (
            "1.24",
            at("1.23.5", 23, 24),
            of("1.23.5", runtime={"name": "dockershim"}),
            "pi-2: kubelet uses dockershim, which Kubernetes 1.24.0 does not have; expected containerd: "
            "upgrade to 1.23 first, then set docker_kubernetes_runtime to containerd, and take the "
            "node out with bramble.pi.reset --limit pi-2",
        ),
        (
            "1.38",
            at("1.36.5", 36, 37, 38),
            {
                "pi-1": examined(**packages("1.36.5"), member={"runtime": "containerd://2.1.4"})["pi-2"],
                "pi-2": of("1.36.5")["pi-2"],
            },
            "pi-2: Kubernetes 1.38.0 needs containerd 2.0 or newer, and this is 1.7; expected a containerd "
            "that serves each minor on the way: give the node a newer one before (docs/cluster.md), or "
            "upgrade to 1.37",
        ),
        (
            "1.35",
            at("1.34.5", 34, 35),
            of("1.34.5", cgroup={"version": 1}),
            "pi-2: the control groups are cgroup v1, with which the kubelet of Kubernetes 1.35.0 does not "
            "start; expected cgroup v2",
        ),
        (
            "1.27",
            {
                **at("1.26.5", 26, 27),
                "flags": [{"program": "kube-controller-manager", "flag": "pod-eviction-timeout"}],
            },
            of("1.26.5"),
            "kube-controller-manager has no flag pod-eviction-timeout since 1.27",
        ),
    ],
)
def test_what_a_minor_on_the_way_needs(
    wish: str, cluster: dict[str, Any], nodes: dict[str, Any], told: str
) -> None:
    made = decide(wish, of=cluster, examined=nodes)
    (problem,) = made["problems"]
    assert told in problem
    # One minor before there is nothing of it.
    _one, _dot, number = wish.partition(".")
    assert decide(f"1.{int(number) - 1}", of=cluster, examined=nodes)["problems"] == []


def test_a_kubelet_that_is_told_to_start_on_cgroup_v1_does() -> None:
    nodes = of("1.34.5", cgroup={"version": 1})
    made = decide("1.35", of=at("1.34.5", 34, 35), examined=nodes, kubelet={"failCgroupV1": False})
    assert made["problems"] == []


@pytest.mark.parametrize(
    ("kubelet", "told"),
    [
        (
            "v1.17.4",
            "pi-9: the worker has 1.17.4, and the control plane 1.20.2: a worker may be at most 2 minors "
            "older",
        ),
        (
            "v1.19.4",
            "pi-9: the worker has 1.19.4, and the control plane 1.22.0: a worker may be at most 2 minors "
            "older",
        ),
        (
            "v1.21.0",
            "the kubelet of pi-9 is 1.21.0, and the newest API server 1.20.2; expected no newer kubelet",
        ),
    ],
)
def test_kubelets_that_do_not_go_with_the_api_server(kubelet: str, told: str) -> None:
    cluster = seen()
    cluster["nodes"].append({"name": "pi-9", "kubelet": kubelet, "runtime": "", "ready": True, "message": ""})
    (problem,) = decide(of=cluster)["problems"]
    assert problem.startswith(told)


def test_all_problems_are_told_together() -> None:
    made = decide(
        of=seen(objects=[INGRESS], etcd=["etcd would lose"]),
        examined=examined(findings=[FINDING], disks=[DISK]),
    )
    assert len(made["problems"]) == 4


def test_a_run_that_was_killed_goes_on_over_what_it_has_left() -> None:
    newer = {**NODE["packages"], "kubeadm": "1.21.4-1.1"}  # type: ignore[dict-item]
    for mark in "maintenance", "upgrade":
        left = examined(findings=[FINDING], packages=newer, kubernetes={"state": "worker", mark: True})
        made = decide(examined=left)
        assert made["problems"] == []
        assert len(made["warnings"]) == 1
        assert made["versions"] == ["1.21.4", "1.22.0"]
    # etcd is what it has left on a control plane alone.
    assert len(decide(of=seen(etcd=["of pi-1"]), examined=left)["problems"]) == 1
    left["pi-1"]["node"]["kubernetes"] = {"state": "control_plane", "upgrade": True}
    assert decide(of=seen(etcd=["of pi-1"]), examined=left)["problems"] == []


def test_pods_of_nodes_that_are_not_drained_stop_nothing() -> None:
    pods = {"blocks": ["pod shop/bare: no controller"], "waits": [], "goes": 0}
    foreign = seen(drains={**seen()["drains"], "pi-9": pods})
    assert decide(of=foreign)["problems"] == []
    assert len(decide(of=seen(drains={"pi-1": pods, "pi-2": pods}))["problems"]) == 2


def test_other_versions_alone_excuse_nothing() -> None:
    """Static pods of an older patch, and another kubectl, are what many clusters have for good."""
    older = {**NODE["packages"], "kubectl": "1.20.1-1.1"}  # type: ignore[dict-item]
    made = decide(of=seen(etcd=["of pi-2"]), examined=examined(findings=[FINDING], packages=older))
    assert len(made["problems"]) == 2


@pytest.mark.parametrize(
    ("requested", "told"),
    [
        (
            {"api": "policy/v1beta1", "resource": "poddisruptionbudgets", "release": "1.25", "watched": 1},
            None,
        ),
        (
            {"api": "extensions/v1beta1", "resource": "ingresses", "release": "1.22", "watched": 2},
            "ingresses of extensions/v1beta1 was asked for since the API servers started, and 2 watch it "
            "now; Kubernetes 1.22 does not have it any more.",
        ),
        ({"api": INGRESS["api"], "resource": "ingresses", "release": "1.22", "watched": 0}, None),
    ],
)
def test_warns_of_apis_that_somebody_asks_for(requested: dict[str, Any], told: str | None) -> None:
    warnings = decide(of=seen(requested=[requested], objects=[INGRESS]))["warnings"]
    assert len(warnings) == (told is not None)
    assert all(warning.startswith(str(told)) for warning in warnings)


def test_archives_whose_content_is_not_known_may_have_the_images() -> None:
    lacking = seen(images={"r/a:v1": {"nodes": ["pi-1"], "problem": "r cannot be reached"}})
    made = decide(of=lacking, archives=True)
    assert (len(made["problems"]), len(made["warnings"])) == (0, 1)


def test_versions_have_to_be_versions() -> None:
    with pytest.raises(CompatibilityError, match="put it in quotes"):
        decide(1.3)
    strange = seen()
    strange["nodes"][1]["kubelet"] = "unknown"
    with pytest.raises(UpgradeError, match="the kubelet of pi-2 is 'unknown'; expected a version such as"):
        decide(of=strange)
