# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import failover
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.failure_detection import (
    PRESETS,
    expected,
)
from hypothesis import given
from hypothesis import strategies as st

EXPECTED = expected(PRESETS["demo"])


def ready(status: str) -> dict[str, Any]:
    return {
        "conditions": [{"type": "MemoryPressure", "status": "False"}, {"type": "Ready", "status": status}]
    }


def pod(name: str, node: str, *, status: str = "True", deleted: bool = False) -> dict[str, Any]:
    metadata = {"name": name, **({"deletionTimestamp": "2026-11-26T13:41:15Z"} if deleted else {})}
    return {"metadata": metadata, "spec": {"nodeName": node}, "status": ready(status)}


def running() -> failover.Timeline:
    """Return a timeline of two pods, one of them on the node that will be lost, a second before the loss."""
    timeline = failover.Timeline(node="pi-3", replicas=2)
    timeline.see_pod(0, pod("a", "pi-2"))
    timeline.see_pod(0, pod("b", "pi-3"))
    timeline.see_node(98, {"status": ready("True")}, heartbeat=True)
    timeline.see_service_answers(98, True)
    timeline.see_node_answers(99, True)
    return timeline


def seconds(timeline: failover.Timeline) -> list[float | None]:
    return [row.seconds for row in timeline.rows(EXPECTED)]


def test_whole_failover() -> None:
    timeline = running()
    timeline.see_node_answers(100, False)
    assert timeline.victims == {"b"}
    timeline.see_service_answers(101, False)
    timeline.see_service_answers(102, True)
    # A request that goes to the pod that is left says nothing yet.
    timeline.see_service_answers(103, False)
    timeline.see_node(112, {"status": ready("Unknown")}, heartbeat=True)
    timeline.see_service_answers(112.5, True)
    timeline.see_pod(117, pod("b", "pi-3", status="False", deleted=True))
    timeline.see_pod(117, {"metadata": {"name": "c"}, "spec": {}})
    timeline.see_pod(118, pod("c", "pi-2", status="False"))
    assert not timeline.settled(200)
    timeline.see_pod(119.25, pod("c", "pi-2"))
    assert timeline.settled(119.25)
    assert seconds(timeline) == [-2, 0, 12, 12.5, 17, 19.2]
    # Later signs of life, when the node is back, are no longer its last ones.
    timeline.see_heartbeat(130)
    assert seconds(timeline)[0] == -2
    assert failover.table(timeline.rows(EXPECTED)) == [
        "EVENT                            EXPECTED                           MEASURED",
        "last sign of life of the node                                         -2.0 s",
        "the node is lost                                                       0.0 s",
        "the node is NotReady             10 to 16 s                           12.0 s",
        "all requests are answered again  not after 17 s                       12.5 s",
        "its pods are given up            13 to 21 s                           17.0 s",
        "all pods run on other nodes      13 to 21 s and the start of a pod    19.2 s",
    ]


def test_service_that_is_not_steady_yet_is_waited_for() -> None:
    timeline = running()
    timeline.see_node_answers(100, False)
    timeline.see_node(112, {"status": ready("Unknown")}, heartbeat=False)
    timeline.see_pod(113, pod("b", "pi-3"), gone=True)
    timeline.see_pod(114, pod("c", "pi-2"))
    timeline.see_service_answers(115, False)
    assert not timeline.settled(130)
    timeline.see_service_answers(116, True)
    assert not timeline.settled(116 + failover.STEADY - 0.1)
    assert timeline.settled(116 + failover.STEADY)


def test_service_that_never_failed_was_never_away() -> None:
    timeline = running()
    timeline.see_node_answers(100, False)
    timeline.see_service_answers(101, True)
    assert seconds(timeline) == [-2, 0, None, 0, None, None]
    assert failover.table(timeline.rows(EXPECTED))[3].endswith("not seen")


def test_pods_that_move_before_the_loss_do_not_count() -> None:
    timeline = running()
    timeline.see_pod(99, pod("b", "pi-3", deleted=True))
    timeline.see_pod(99, pod("c", "pi-2"))
    timeline.see_pod(99, pod("b", "pi-3"), gone=True)
    timeline.see_node_answers(100, False)
    assert timeline.victims == set()
    timeline.see_pod(101, pod("a", "pi-2", deleted=True))
    assert timeline.evicted is None


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["node", "pod", "service", "kubelet"]),
            st.sampled_from(["a", "b", "c"]),
            st.booleans(),
            st.booleans(),
        ),
        max_size=40,
    )
)
def test_nothing_happens_before_the_loss(events: list[tuple[str, str, bool, bool]]) -> None:
    timeline = failover.Timeline(node="pi-3", replicas=2)
    for at, (what, name, first, second) in enumerate(events):
        status = "True" if first else "False"
        if what == "node":
            timeline.see_node(at, {"status": ready(status)}, heartbeat=second)
        elif what == "pod":
            node = "pi-3" if second else "pi-2"
            timeline.see_pod(at, pod(name, node, status=status, deleted=name == "c"), gone=first)
        elif what == "service":
            timeline.see_service_answers(at, first)
        else:
            timeline.see_node_answers(at, first)
    found = seconds(timeline)
    if timeline.lost is None:
        assert found == [None] * 6
    else:
        assert found[1] == 0
        assert all(value is None or value >= 0 for value in found[1:])
    if timeline.evicted is not None and timeline.replaced is not None:
        assert timeline.evicted <= timeline.replaced


@pytest.mark.parametrize("conditions", [None, [], [{"type": "Ready", "status": "False"}]])
def test_node_without_word_of_itself_is_not_ready(conditions: list[dict[str, str]] | None) -> None:
    timeline = running()
    timeline.see_node_answers(100, False)
    timeline.see_node(101, {"status": {"conditions": conditions}}, heartbeat=False)
    assert timeline.not_ready == 101
