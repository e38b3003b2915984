# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is refused, and what changes, of labels and taints."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import node_labels

TAINT = {"key": "disk", "value": "slow", "effect": "NoSchedule"}
LONG = "a" * 64


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        ({"disk": "ssd", "example.org/Shelf_1": "", "a.b-c": "1.0"}, None),
        ({node_labels.ZONE: "shelf-1", "node-role.kubernetes.io/worker": ""}, None),
        ({"node-restriction.kubernetes.io/fast": "yes"}, None),
        ({"a" * 63: "a" * 63, "mykubernetes.io/x": "y"}, None),
        ({LONG: ""}, "a label is"),
        ({"disk": LONG}, "the label disk is 'aaa"),
        ({"disk": "-"}, "the label disk is '-'"),
        ({"disk": "ssd\n"}, "the label disk is 'ssd"),
        ({"disk": "a b"}, "the label disk is 'a b'"),
        ({"disk": True}, "the label disk is the boolean true; expected text: put it in quotes"),
        ({"disk": None}, "the label disk is null; expected text"),
        ({"disk": ["a"]}, "the label disk is a list; expected text"),
        ({1: "a"}, "the number 1 as a key"),
        ([], "is a list; expected a mapping"),
        ({"": "a"}, "a label is ''"),
        ({"/disk": "a"}, "a label is '/disk'"),
        ({"Example.org/disk": "a"}, "a label is 'Example.org/disk'"),
        ({"a/b/c": "a"}, "a label is 'a/b/c'"),
        ({"disk\n": "a"}, "a label is 'disk"),
        ({f"{'a' * 254}/b": "a"}, "a label is"),
        ({"kubernetes.io/hostname": "a"}, "'kubernetes.io/hostname', which Kubernetes keeps itself"),
        ({"beta.kubernetes.io/arch": "a"}, "which Kubernetes keeps itself"),
        ({"node.k8s.io/x": "a"}, "which Kubernetes keeps itself"),
        ({"node-role.kubernetes.io/control-plane": ""}, "which Kubernetes keeps itself"),
        ({"node-role.kubernetes.io/master": ""}, "which Kubernetes keeps itself"),
    ],
)
def test_labels(labels: Any, text: str | None) -> None:
    if text is None:
        node_labels.check_labels(labels)
    else:
        with pytest.raises(node_labels.NodeLabelsError) as caught:
            node_labels.check_labels(labels)
        assert text in str(caught.value)


@pytest.mark.parametrize(
    ("taints", "text"),
    [
        ([TAINT, {"key": "disk", "effect": "NoExecute"}], None),
        ([{"key": "node-role.kubernetes.io/worker", "effect": "PreferNoSchedule", "value": ""}], None),
        ([{**TAINT, "value": None}], None),
        ({"disk": "slow"}, "is a mapping; expected a list"),
        (["disk"], "a taint is the text 'disk'; expected key, effect"),
        ([{"key": "disk"}], "a taint has key; expected key, effect"),
        ([{**TAINT, "operator": "Exists"}], "operator; expected key, effect"),
        (
            [{**TAINT, "effect": "noschedule"}],
            "the effect of the taint disk is 'noschedule'; expected one of",
        ),
        ([TAINT, {**TAINT, "value": "fast"}], "the taint disk with NoSchedule is a duplicate"),
        ([{**TAINT, "value": 1}], "the value of the taint disk is the number 1"),
        ([{**TAINT, "key": "node.kubernetes.io/not-ready"}], "which Kubernetes keeps itself"),
        ([{**TAINT, "key": "topology.kubernetes.io/zone"}], "which Kubernetes keeps itself"),
        ([{**TAINT, "key": "node-role.kubernetes.io/control-plane"}], "which Kubernetes keeps itself"),
    ],
)
def test_taints(taints: Any, text: str | None) -> None:
    if text is None:
        node_labels.check_taints(taints)
    else:
        with pytest.raises(node_labels.NodeLabelsError) as caught:
            node_labels.check_taints(taints)
        assert text in str(caught.value)


KUBELET = {"kubernetes.io/arch": "arm64"}
LOST = {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute", "timeAdded": "2026-01-02T03:04:05Z"}


def seen(
    labels: dict[str, str] | None = None,
    taints: list[dict[str, str]] | None = None,
    ours: str = "",
    our_taints: str = "",
) -> dict[str, Any]:
    annotations = {node_labels.OUR_LABELS: ours, node_labels.OUR_TAINTS: our_taints}
    return {
        "labels": {**KUBELET, **(labels or {})},
        "annotations": {name: text for name, text in annotations.items() if text},
        "taints": [LOST, *(taints or [])],
        "version": "7",
    }


@pytest.mark.parametrize(
    ("now", "labels", "taints", "patch", "changes"),
    [
        (seen(), {}, [], None, []),
        (seen({"theirs": "x"}, [TAINT]), {}, [], None, []),
        (seen({"disk": "ssd"}, ours="disk"), {"disk": "ssd"}, [], None, []),
        (seen(taints=[TAINT], our_taints="disk:NoSchedule"), {}, [TAINT], None, []),
        (
            seen({"theirs": "x"}),
            {"disk": "ssd"},
            [],
            {"labels": {"disk": "ssd"}, "annotations": {node_labels.OUR_LABELS: "disk"}},
            ["set the label disk=ssd"],
        ),
        (
            seen({"disk": "ssd", "room": "attic"}, ours="disk,room"),
            {"disk": "hdd"},
            [],
            {"labels": {"room": None, "disk": "hdd"}, "annotations": {node_labels.OUR_LABELS: "disk"}},
            ["remove the label room", "set the label disk=hdd"],
        ),
        (
            seen({"disk": "ssd"}, ours="disk"),
            {},
            [],
            {"labels": {"disk": None}, "annotations": {node_labels.OUR_LABELS: None}},
            ["remove the label disk"],
        ),
        # Somebody has removed it already.
        (
            seen(ours="disk"),
            {},
            [],
            {"annotations": {node_labels.OUR_LABELS: None}},
            ["note which labels and taints the inventory names"],
        ),
        # What was there, and is named now.
        (
            seen({"disk": "ssd"}),
            {"disk": "ssd"},
            [],
            {"annotations": {node_labels.OUR_LABELS: "disk"}},
            ["note which labels and taints the inventory names"],
        ),
        (
            seen(taints=[{"key": "theirs", "effect": "NoSchedule"}]),
            {},
            [TAINT],
            {
                "annotations": {node_labels.OUR_TAINTS: "disk:NoSchedule"},
                "resourceVersion": "7",
                "taints": [LOST, {"key": "theirs", "effect": "NoSchedule"}, TAINT],
            },
            ["set the taint disk=slow:NoSchedule"],
        ),
        (
            seen(taints=[TAINT], our_taints="disk:NoSchedule"),
            {},
            [{"key": "disk", "effect": "NoSchedule"}],
            {"resourceVersion": "7", "taints": [LOST, {"key": "disk", "effect": "NoSchedule"}]},
            ["set the taint disk:NoSchedule"],
        ),
        (
            seen(taints=[TAINT], our_taints="disk:NoSchedule"),
            {},
            [],
            {"annotations": {node_labels.OUR_TAINTS: None}, "resourceVersion": "7", "taints": [LOST]},
            ["remove the taint disk:NoSchedule"],
        ),
    ],
)
def test_plan(
    now: dict[str, Any],
    labels: dict[str, str],
    taints: list[dict[str, str]],
    patch: dict[str, Any] | None,
    changes: list[str],
) -> None:
    desired = node_labels.parse({"labels": labels, "taints": taints})
    plan = node_labels.plan(name="pi-2", seen=now, desired=desired)
    if patch is None:
        assert plan is None
        return
    assert plan is not None
    spec = {"spec": {"taints": patch.pop("taints")}} if "taints" in patch else {}
    assert plan.patch == {"metadata": patch, **spec}
    assert plan.changes == [f"pi-2: {text}" for text in changes]
    # Once it is done, nothing is left to do.
    after = dict(now, taints=spec.get("spec", {}).get("taints", now["taints"]))
    for kind in ("labels", "annotations"):
        merged = {**now[kind], **patch.get(kind, {})}
        after[kind] = {name: value for name, value in merged.items() if value is not None}
    assert node_labels.plan(name="pi-2", seen=after, desired=desired) is None
