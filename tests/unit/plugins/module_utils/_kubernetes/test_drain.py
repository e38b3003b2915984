# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which pods of a node can go, which cannot, and what is said of them."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import drain
from hypothesis import given
from hypothesis import strategies as st

Action = drain.Action
DEPLOYED = {
    "labels": {"app": "web", "pod-template-hash": "5d8f"},
    "ownerReferences": [{"kind": "ReplicaSet", "name": "web-5d8f", "controller": True}],
}
DAEMON = {"ownerReferences": [{"kind": "DaemonSet", "name": "proxy", "controller": True}]}
STATIC = {
    "annotations": {"kubernetes.io/config.mirror": "x"},
    "ownerReferences": [{"kind": "Node", "name": "pi-2", "controller": True}],
}
READY = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
UNREADY = {"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]}
EMPTYDIR = [{"name": "cache", "emptyDir": {}}]


def pod(
    metadata: dict[str, Any],
    *,
    status: dict[str, Any] | None = None,
    volumes: list[dict[str, Any]] | None = None,
    **more: Any,
) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "default", "name": "web-1", **metadata, **more},
        "spec": {"nodeName": "pi-2", "volumes": volumes or []},
        "status": status or READY,
    }


def budget(
    name: str = "web",
    *,
    allowed: int = 1,
    expected: int = 2,
    needed: int = 1,
    selector: Any = None,
    version: str = "policy/v1",
    spec: dict[str, Any] | None = None,
    **metadata: Any,
) -> dict[str, Any]:
    selector = {"matchLabels": {"app": "web"}} if selector is None else selector
    return {
        "apiVersion": version,
        "metadata": {"namespace": "default", "name": name, **metadata},
        "spec": {"selector": selector, **(spec or {})},
        "status": {
            "observedGeneration": 1,
            "disruptionsAllowed": allowed,
            "currentHealthy": needed + allowed,
            "desiredHealthy": needed,
            "expectedPods": expected,
        },
    }


NEVER = budget(allowed=0, expected=2, needed=2)
NOT_NOW = budget(allowed=0, expected=2, needed=1)
CLUSTER = drain.Cluster(daemon_sets=[{"metadata": {"namespace": "default", "name": "proxy"}}])
LOCAL = drain.Cluster(
    claims=[{"metadata": {"namespace": "default", "name": "data"}, "spec": {"volumeName": "pv-1"}}],
    volumes=[{"metadata": {"name": "pv-1"}, "spec": {"local": {"path": "/srv"}}}],
)
CLAIM = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
ALL = drain.Consent(bare_pods=True, emptydir_data=True)
NOW = "2026-11-30T00:00:00Z"

TABLE = [
    ("of a deployment", pod(DEPLOYED), CLUSTER, Action.GOES, "Deployment web makes it elsewhere"),
    ("static", pod(STATIC, volumes=EMPTYDIR), CLUSTER, Action.STAYS, "a manifest on the node makes it"),
    ("of a DaemonSet", pod(DAEMON, volumes=EMPTYDIR), CLUSTER, Action.STAYS, "it is of DaemonSet proxy"),
    ("of a DaemonSet that is gone", pod(DAEMON), drain.Cluster(), Action.BLOCKS, "it has no controller"),
    ("bare", pod({}), CLUSTER, Action.BLOCKS, "set maintenance_delete_bare_pods to true"),
    ("owned by what is no controller", pod({"ownerReferences": [{"kind": "Job", "name": "a"}]}), CLUSTER,
     Action.BLOCKS, "it has no controller"),
    ("bare, and ended", pod({}, status={"phase": "Succeeded"}), CLUSTER, Action.GOES, "it has ended"),
    ("bare, and failed", pod({}, status={"phase": "Failed"}), CLUSTER, Action.GOES, "it has ended"),
    ("being deleted", pod(DEPLOYED, deletionTimestamp=NOW), CLUSTER, Action.GOES, "deleted"),
    ("bare, and being deleted", pod({}, deletionTimestamp=NOW), CLUSTER, Action.WAITS,
     "it is being deleted; expected it gone: look at kubectl --namespace default describe pod web-1"),
    ("with data of its own, and being deleted",
     pod(DEPLOYED, volumes=EMPTYDIR, deletionTimestamp=NOW), CLUSTER, Action.WAITS, "deleted"),
    ("of a DaemonSet, and being deleted", pod(DAEMON, deletionTimestamp=NOW), CLUSTER, Action.STAYS, "proxy"),
    ("with data of its own", pod(DEPLOYED, volumes=EMPTYDIR), CLUSTER, Action.BLOCKS,
     "Deployment web has the emptyDir cache, whose data would be lost; expected consent: set "
     "maintenance_delete_emptydir_data to true"),
    ("with a volume of the node", pod(DEPLOYED, volumes=CLAIM), LOCAL, Action.GOES, "its volume pv-1 is"),
    ("with a volume elsewhere", pod(DEPLOYED, volumes=CLAIM), drain.Cluster(claims=LOCAL.claims),
     Action.GOES, "makes it elsewhere"),
    ("of a budget with room", pod(DEPLOYED), drain.Cluster(budgets=[budget()]), Action.GOES, "elsewhere"),
    ("of a budget without room", pod(DEPLOYED), drain.Cluster(budgets=[NEVER]), Action.BLOCKS,
     "PodDisruptionBudget default/web lets no pod of Deployment web go: 2 of 2 must be healthy, 2 are; "
     "expected a budget that can spare one: give the workload more replicas, or change it with kubectl "
     "--namespace default edit poddisruptionbudget web"),
    ("of a budget that will have room", pod(DEPLOYED), drain.Cluster(budgets=[NOT_NOW]), Action.WAITS,
     "1 of 2 must be healthy, 1 are; expected that its pods become Ready"),
    ("of a budget not counted yet", pod(DEPLOYED), drain.Cluster(budgets=[budget(generation=2)]),
     Action.WAITS, "has not been counted yet"),
    ("of two budgets", pod(DEPLOYED), drain.Cluster(budgets=[budget(), budget("all")]), Action.BLOCKS,
     "has the PodDisruptionBudgets default/all, default/web"),
    ("pending, and of a budget", pod(DEPLOYED, status={"phase": "Pending"}),
     drain.Cluster(budgets=[NEVER]), Action.GOES, "elsewhere"),
    ("of a DaemonSet and a budget", pod({**DAEMON, "labels": {"app": "web"}}),
     CLUSTER._replace(budgets=[NEVER]), Action.STAYS, "proxy"),
    ("not Ready, of a budget that lets such go", pod(DEPLOYED, status=UNREADY),
     drain.Cluster(budgets=[budget(allowed=0, needed=2, spec={"unhealthyPodEvictionPolicy": "AlwaysAllow"})]),
     Action.GOES, "elsewhere"),
    ("not Ready, of a budget that has enough without it", pod(DEPLOYED, status=UNREADY),
     drain.Cluster(budgets=[budget(allowed=0, expected=3, needed=2)]), Action.GOES, "elsewhere"),
    ("not Ready, of a budget that has too few", pod(DEPLOYED, status=UNREADY),
     drain.Cluster(budgets=[budget(allowed=-1, expected=2, needed=2)]), Action.BLOCKS, "lets no pod"),
    ("of another namespace's budget", pod(DEPLOYED, namespace="other"), drain.Cluster(budgets=[NEVER]),
     Action.GOES, "elsewhere"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("thing", "cluster", "action", "text"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_verdict(thing: Any, cluster: drain.Cluster, action: Action, text: str) -> None:
    found = drain.verdict(pod=thing, cluster=cluster, consent=drain.Consent())
    assert found.action is action
    assert text in str(found)
    # What does not go is told with the remedy, but for a count that comes by itself.
    assert bool(found.remedy) == (found.action in (Action.BLOCKS, Action.WAITS) and "counted" not in text)


@pytest.mark.parametrize(
    ("thing", "consent"),
    [
        (pod({}), drain.Consent(bare_pods=True)),
        (pod(DEPLOYED, volumes=EMPTYDIR), drain.Consent(emptydir_data=True)),
        (pod({}, volumes=EMPTYDIR), ALL),
        (pod({**DAEMON}), drain.Consent(bare_pods=True)),
    ],
)
def test_consent(thing: Any, consent: drain.Consent) -> None:
    cluster = drain.Cluster()
    assert drain.verdict(pod=thing, cluster=cluster, consent=consent).action is Action.GOES
    assert drain.verdict(pod=thing, cluster=cluster, consent=drain.Consent()).action is Action.BLOCKS
    assert drain.verdict(pod=pod({}, volumes=EMPTYDIR), cluster=cluster, consent=ALL).action is Action.GOES


@pytest.mark.parametrize(
    ("selector", "version", "selected"),
    [
        ({}, "policy/v1", True),
        ({}, "policy/v1beta1", False),
        ({"matchLabels": {"app": "db"}}, "policy/v1", False),
        (
            {"matchExpressions": [{"key": "app", "operator": "In", "values": ["web", "db"]}]},
            "policy/v1",
            True,
        ),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}, "policy/v1", False),
        ({"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["a"]}]}, "policy/v1", True),
        ({"matchExpressions": [{"key": "app", "operator": "Exists"}]}, "policy/v1", True),
        ({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}, "policy/v1", False),
        (
            {
                "matchLabels": {"app": "web"},
                "matchExpressions": [{"key": "tier", "operator": "Exists"}],
            },
            "policy/v1",
            False,
        ),
    ],
)
def test_which_pods_a_budget_is_about(selector: Any, version: str, selected: bool) -> None:
    assert drain.selects(budget(selector=selector, version=version), pod(DEPLOYED)) is selected


def test_a_budget_without_a_selector_is_about_nothing() -> None:
    assert not drain.selects({"metadata": {"namespace": "default"}, "spec": {}}, pod(DEPLOYED))


def member(node: str, *, ready: bool = True) -> dict[str, Any]:
    return {
        "metadata": {"name": f"etcd-{node}"},
        "spec": {"nodeName": node},
        "status": READY if ready else UNREADY,
    }


@pytest.mark.parametrize(
    ("node", "members", "text"),
    [
        ("a", [member("a")], None),
        ("a", [member("a"), member("b")], None),
        ("a", [member("a"), member("b"), member("c")], None),
        ("a", [member("a", ready=False), member("b"), member("c")], None),
        ("a", [member("a"), member("b"), member("c", ready=False)],
         "etcd has 3 members and needs 2 of them; without a there would be 1, as that of c is not Ready"),
        ("w", [member("a"), member("b"), member("c", ready=False)], None),
        ("a", [member(name) for name in "abcd"], None),
        ("a", [member("a"), member("b"), member("c"), member("d"), member("e", ready=False)], None),
        ("a", [], None),
    ],
)  # fmt: skip
def test_majority_of_etcd(node: str, members: list[Any], text: str | None) -> None:
    found = drain.etcd_problem(node=node, members=members)
    assert found is None if text is None else found is not None and found.startswith(text)


def test_what_belongs_to_a_node_is_named_by_what_outlasts_its_pods() -> None:
    pods = [
        pod(DAEMON, status=UNREADY),
        pod(STATIC, status=UNREADY, name="etcd-pi-2", namespace="kube-system"),
        pod(DEPLOYED, status=UNREADY),
        pod(DAEMON),
        pod(DAEMON, status={"phase": "Failed"}),
    ]
    assert list(drain.unready(pods)) == ["DaemonSet default/proxy", "pod kube-system/etcd-pi-2"]


#: Pods and budgets of any kind.
PODS = st.builds(
    pod,
    st.sampled_from([{}, DEPLOYED, DAEMON, STATIC]),
    status=st.sampled_from([READY, UNREADY, {"phase": "Pending"}, {"phase": "Failed"}, {}]),
    volumes=st.sampled_from([[], EMPTYDIR, CLAIM]),
)
COUNTS = st.integers(0, 3)
BUDGETS = st.builds(budget, allowed=COUNTS, expected=COUNTS, needed=COUNTS)
CLUSTERS = st.builds(
    LOCAL._replace,
    budgets=st.lists(BUDGETS, max_size=2),
    daemon_sets=st.sampled_from([CLUSTER.daemon_sets, []]),
)
CONSENTS = st.builds(drain.Consent, st.booleans(), st.booleans())


@given(PODS, CLUSTERS, CONSENTS)
def test_consent_only_takes_blocks_away(thing: Any, cluster: drain.Cluster, consent: drain.Consent) -> None:
    found = drain.verdict(pod=thing, cluster=cluster, consent=consent)
    most = drain.verdict(pod=thing, cluster=cluster, consent=ALL)
    assert found.action in (most.action, Action.BLOCKS)
    assert found.reason
    if found.action is Action.BLOCKS:
        assert "expected" in found.remedy
    # What belongs to a node that has all its DaemonSets is never moved, and static pods never are.
    if drain.is_static(thing):
        assert found.action is Action.STAYS


@given(st.lists(st.tuples(st.sampled_from("abcde"), st.booleans()), unique_by=lambda each: each[0]))
def test_etcd_keeps_its_majority_or_is_told_of(found: list[tuple[str, bool]]) -> None:
    members = [member(node, ready=ready) for node, ready in found]
    for node, _ready in found:
        left = sum(ready for name, ready in found if name != node)
        refused = drain.etcd_problem(node=node, members=members) is not None
        assert refused == (len(found) > 2 and left <= len(found) / 2)
