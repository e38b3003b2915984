# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures what happens when a node of a cluster is lost, beside what its settings have one expect."""

from __future__ import annotations

import json
import time
from typing import Any, NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._common.commands import Runner, output_of
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import state
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import failover, failure_detection
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.cluster_watch import Seen, Watch


class FailoverError(BrambleError):
    """It cannot be measured; the message says why."""


def expectation() -> failure_detection.Expectation:
    """Return what to expect by the settings that this control plane has."""
    paths = {name: f"{state.MANIFESTS}/{name}.yaml" for name in failure_detection.PROGRAMS}
    texts = {name: read_text(path) for name, path in paths.items()}
    missing = [paths[name] for name, text in texts.items() if text is None]
    if missing:
        raise FailoverError(f"{missing[0]} is not there; expected a control plane: run site.yml before")
    manifests = {name: text or "" for name, text in texts.items()}
    return failure_detection.expected(
        failure_detection.in_force(
            manifests=manifests, kubelet_configuration=read_text(state.KUBELET_CONFIGURATION) or ""
        )
    )


class Demonstration(NamedTuple):
    """What is watched; the options of the module failover_timeline."""

    node: str
    namespace: str
    service: str
    path: str
    replicas: int
    loss_timeout: int
    timeout: int
    kubeconfig: str


def _get(run: Runner, *what: str, kubeconfig: str) -> dict[str, Any]:
    kubectl = ["kubectl", f"--kubeconfig={kubeconfig}", "--request-timeout=60s"]
    command = [*kubectl, "get", *what, "--output=json"]
    answer: dict[str, Any] = json.loads(output_of(run, command))
    return answer


def _heartbeats(node: dict[str, Any]) -> list[str]:
    return [entry.get("lastHeartbeatTime", "") for entry in node["status"].get("conditions") or []]


class _Observer:
    """Gives what the watch sees to the timeline."""

    def __init__(self, timeline: failover.Timeline) -> None:
        self.timeline = timeline
        self._beats: list[str] = []

    def take(self, seen: Seen) -> None:
        at, what, event = seen
        if what == "kubelet":
            self.timeline.see_node_answers(at, event)
        elif what == "service":
            self.timeline.see_service_answers(at, event)
        elif event.get("type") not in ("ADDED", "MODIFIED", "DELETED"):
            # An error of the watch, which begins again.
            return
        elif what == "pods":
            self.timeline.see_pod(at, event["object"], gone=event["type"] == "DELETED")
        elif what == "lease":
            self.timeline.see_heartbeat(at)
        else:
            beats = _heartbeats(event["object"])
            self.timeline.see_node(at, event["object"], heartbeat=beats != self._beats)
            self._beats = beats


def measure(
    *, run: Runner, demonstration: Demonstration, expected: failure_detection.Expectation
) -> dict[str, Any]:
    """Wait for the loss and for what comes of it."""
    given = demonstration
    node = _get(run, "node", given.node, kubeconfig=given.kubeconfig)
    address = next(entry["address"] for entry in node["status"]["addresses"] if entry["type"] == "InternalIP")
    service = _get(
        run, "service", given.service, f"--namespace={given.namespace}", kubeconfig=given.kubeconfig
    )["spec"]
    timeline = failover.Timeline(node=given.node, replicas=given.replicas)
    observer = _Observer(timeline)
    name = f"?fieldSelector=metadata.name%3D{given.node}"
    with Watch(kubeconfig=given.kubeconfig) as watch:
        watch.follow("node", f"/api/v1/nodes{name}")
        watch.follow("lease", f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases{name}")
        watch.follow("pods", f"/api/v1/namespaces/{given.namespace}/pods")
        watch.ask_node("kubelet", address)
        watch.ask_service("service", service["clusterIP"], service["ports"][0]["port"], given.path)
        for seen in watch.until(time.monotonic() + given.loss_timeout):
            if seen:
                observer.take(seen)
            if timeline.lost is not None:
                break
        else:
            raise FailoverError(
                f"{given.node} still answered at {address} after {given.loss_timeout} s; expected "
                "that it is stopped within that time"
            )
        for seen in watch.until(time.monotonic() + given.timeout):
            if seen:
                observer.take(seen)
            if timeline.settled(time.monotonic()):
                break
    rows = timeline.rows(expected)
    return {
        "timeline": [row._asdict() for row in rows],
        "table": failover.table(rows),
        "pods": sorted(timeline.victims),
    }
