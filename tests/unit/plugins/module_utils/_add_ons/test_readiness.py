# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._add_ons import readiness


def workload(kind: str, status: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {
        "kind": kind,
        "metadata": {"name": "web", "namespace": "web", "generation": 2},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, **spec},
        "status": {"observedGeneration": 2, **status},
    }


@pytest.mark.parametrize(
    ("kind", "status", "spec", "text"),
    [
        ("Deployment", {"observedGeneration": 1}, {}, "its controller has not looked at it yet"),
        ("Deployment", {}, {}, "0 of 1 pods are of its version"),
        (
            "Deployment",
            {"updatedReplicas": 1, "replicas": 2},
            {},
            "1 pods of the version before are still there",
        ),
        (
            "Deployment",
            {"updatedReplicas": 2, "availableReplicas": 1},
            {"replicas": 2},
            "1 of 2 pods are ready",
        ),
        ("Deployment", {"updatedReplicas": 2, "availableReplicas": 2}, {"replicas": 2}, None),
        ("Deployment", {}, {"replicas": 0}, None),
        ("DaemonSet", {"desiredNumberScheduled": 3}, {}, "0 of 3 pods are of its version"),
        (
            "DaemonSet",
            {"desiredNumberScheduled": 3, "updatedNumberScheduled": 3, "numberAvailable": 2},
            {},
            "2 of 3 pods are ready",
        ),
        (
            "DaemonSet",
            {"desiredNumberScheduled": 3, "updatedNumberScheduled": 0, "numberAvailable": 3},
            {"updateStrategy": {"type": "OnDelete"}},
            None,
        ),
        ("StatefulSet", {"updatedReplicas": 1}, {}, "0 of 1 pods are ready"),
        ("StatefulSet", {"updatedReplicas": 1, "readyReplicas": 1}, {}, None),
    ],
)
def test_unready(kind: str, status: dict[str, Any], spec: dict[str, Any], text: str | None) -> None:
    assert readiness.unready(workload(kind, status, **spec)) == text


def pod(*, ready: bool = False, node: str = "pi-2", labels: Any = None, **status: Any) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": str(ready)}, *status.pop("conditions", [])]
    return {
        "metadata": {"name": "web-1", "namespace": "web", "labels": labels or {"app": "web"}},
        "spec": {"nodeName": node, "containers": [{"name": "web", "image": "example.com/web:2"}]},
        "status": {"conditions": conditions, **status},
    }


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return {
        "containerStatuses": [{"name": "web", "state": {"waiting": {"reason": reason, "message": message}}}]
    }


def event(reason: str, message: str, kind: str = "Pod", name: str = "web-1") -> dict[str, Any]:
    return {"reason": reason, "message": message, "involvedObject": {"kind": kind, "name": name}}


RESTARTED = {
    "name": "web",
    "restartCount": 3,
    "state": {"waiting": {"reason": "CrashLoopBackOff"}},
    "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
}


@pytest.mark.parametrize(
    ("pods", "events", "text"),
    [
        (
            [pod(**waiting("ImagePullBackOff", "no match for platform"))],
            [],
            "web-1 on pi-2: the image example.com/web:2 is not there (no match for platform): see whether",
        ),
        (
            [pod(containerStatuses=[RESTARTED])],
            [],
            "web-1 on pi-2: the container web ended with 137 (OOMKilled) and was started again 3 times: "
            "kubectl "
            "--namespace web logs --previous web-1 web",
        ),
        (
            [pod(**waiting("CreateContainerConfigError", 'secret "x" not found'))],
            [],
            'the container web is not started: CreateContainerConfigError: secret "x" not found',
        ),
        (
            [
                pod(
                    node="",
                    conditions=[
                        {"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}
                    ],
                )
            ],
            [],
            "web-1: no node takes it: 0/3 nodes are available",
        ),
        (
            [pod(**waiting("ContainerCreating"))],
            [event("Pulled", "x"), event("FailedMount", "old"), event("FailedMount", 'secret "y" not found')],
            'web-1 on pi-2: FailedMount: secret "y" not found',
        ),
        (
            [pod()],
            [event("Unhealthy", "Readiness probe failed: 503")],
            "Unhealthy: Readiness probe failed: 503",
        ),
        ([pod()], [], "web-1 on pi-2: it does not say why"),
        ([pod(ready=True), pod(labels={"app": "b"})], [], "its pods do not say why; see bramble.pi.doctor"),
        ([], [event("FailedCreate", "no quota", "Deployment", "web")], "FailedCreate: no quota"),
    ],
)
def test_causes(pods: list[dict[str, Any]], events: list[dict[str, Any]], text: str) -> None:
    (found,) = readiness.causes(workload("Deployment", {}), pods, events)
    assert text in found


def test_one_cause_of_several_pods() -> None:
    pods = [pod(node=node, **waiting("ErrImagePull", "x")) for node in ("pi-2", "pi-3")]
    (found,) = readiness.causes(workload("Deployment", {}), pods, [])
    assert found.startswith("web-1 on pi-2, web-1 on pi-3: the image ")


def test_pods_that_are_not_made() -> None:
    failure = {"type": "ReplicaFailure", "status": "True", "message": 'serviceaccount "web" not found'}
    (found,) = readiness.causes(workload("Deployment", {"conditions": [failure]}), [], [])
    assert found == 'no pod is made: serviceaccount "web" not found'
