# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether what brings pods is rolled out, and why pods do not start, from what the API server says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

#: How a kubelet says that it has no image, and goes on trying.
_IMAGE = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull")
_EVENTS = ("FailedMount", "FailedAttachVolume", "FailedCreatePodSandBox", "Unhealthy", "FailedCreate")

_IMAGE_REMEDY = (
    "see whether the name is right and has an image for the nodes' architecture; bramble.pi.images brings it "
    "to them from a registry or an archive"
)
_Thing = Mapping[str, Any]


def unready(workload: _Thing) -> str | None:
    """Say what a Deployment, DaemonSet or StatefulSet lacks; None if all of it runs as it should."""
    spec, status = workload["spec"], workload.get("status") or {}
    if status.get("observedGeneration", 0) < workload["metadata"].get("generation", 1):
        return "its controller has not looked at it yet"
    if workload["kind"] == "DaemonSet":
        expected = status.get("desiredNumberScheduled", 0)
        updated, ready = status.get("updatedNumberScheduled", 0), status.get("numberAvailable", 0)
        on_delete = (spec.get("updateStrategy") or {}).get("type") == "OnDelete"
    else:
        expected = spec.get("replicas", 1)
        updated, ready = status.get("updatedReplicas", 0), _ready(workload["kind"], status)
        on_delete = (spec.get("updateStrategy") or {}).get("type") == "OnDelete"
    if updated < expected and not on_delete:
        return f"{updated} of {expected} pods are of its version"
    if workload["kind"] == "Deployment" and status.get("replicas", 0) > updated:
        return f"{status['replicas'] - updated} pods of the version before are still there"
    if ready < expected:
        return f"{ready} of {expected} pods are ready"
    return None


def _ready(kind: str, status: _Thing) -> int:
    return int(status.get("availableReplicas" if kind == "Deployment" else "readyReplicas", 0))


def _selected(workload: _Thing, pods: Iterable[_Thing]) -> list[_Thing]:
    selector = (workload["spec"].get("selector") or {}).get("matchLabels") or {}
    return [
        pod
        for pod in pods
        if pod["metadata"]["namespace"] == workload["metadata"]["namespace"]
        and selector.items() <= (pod["metadata"].get("labels") or {}).items()
    ]


def _container_causes(pod: _Thing) -> Iterator[str]:
    status = pod.get("status") or {}
    names = {each["name"]: each.get("image", "") for each in pod["spec"].get("containers", ())}
    names.update({each["name"]: each.get("image", "") for each in pod["spec"].get("initContainers", ())})
    for container in [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]:
        waiting = (container.get("state") or {}).get("waiting") or {}
        reason, message = waiting.get("reason", ""), waiting.get("message", "")
        if reason in _IMAGE:
            image = names.get(container["name"], "")
            yield f"the image {image} is not there ({message or reason}): {_IMAGE_REMEDY}"
        elif reason == "CrashLoopBackOff" or container.get("restartCount", 0) > 0:
            last = (container.get("lastState") or {}).get("terminated") or {}
            yield (
                f"the container {container['name']} ended with {last.get('exitCode', '?')} "
                f"({last.get('reason', 'no reason given')}) and was started again "
                f"{container.get('restartCount', 0)} times: kubectl --namespace "
                f"{pod['metadata']['namespace']} "
                f"logs --previous {pod['metadata']['name']} {container['name']}"
            )
        elif reason and reason not in ("ContainerCreating", "PodInitializing"):
            yield f"the container {container['name']} is not started: {reason}: {message}"


def _pod_causes(pod: _Thing, events: Sequence[_Thing]) -> list[str]:
    status = pod.get("status") or {}
    for condition in status.get("conditions", ()):
        if condition["type"] == "PodScheduled" and condition["status"] != "True":
            return [f"no node takes it: {condition.get('message') or condition.get('reason', '')}"]
    found = list(_container_causes(pod))
    return found or _told(events, "Pod", pod["metadata"]["name"])


def _told(events: Sequence[_Thing], kind: str, name: str) -> list[str]:
    """Return the last of the events that tell why an object does not get on."""
    told = [
        event
        for event in events
        if event.get("reason") in _EVENTS
        and event["involvedObject"].get("kind") == kind
        and event["involvedObject"].get("name") == name
    ]
    return [f"{event['reason']}: {event.get('message', '').strip()}" for event in told[-1:]]


def _is_ready(pod: _Thing) -> bool:
    conditions = (pod.get("status") or {}).get("conditions", ())
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def causes(workload: _Thing, pods: Sequence[_Thing], events: Sequence[_Thing]) -> list[str]:
    """Say why pods of a workload are not ready, each cause once with the pods that have it."""
    seen: dict[str, list[str]] = {}
    own = _selected(workload, pods)
    for pod in own:
        if _is_ready(pod) or pod["metadata"].get("deletionTimestamp"):
            continue
        node = pod["spec"].get("nodeName")
        where = f"{pod['metadata']['name']} on {node}" if node else pod["metadata"]["name"]
        for cause in _pod_causes(pod, events) or ["it does not say why"]:
            seen.setdefault(cause, []).append(where)
    found = [f"{', '.join(places)}: {cause}" for cause, places in seen.items()]
    conditions = (workload.get("status") or {}).get("conditions", ())
    found += [
        f"no pod is made: {each.get('message', '')}"
        for each in conditions
        if each["type"] == "ReplicaFailure" and each["status"] == "True"
    ]
    if not found and not own:
        found = _told(events, workload["kind"], workload["metadata"]["name"])
    return found or ["its pods do not say why; see bramble.pi.doctor and kubectl get events --all-namespaces"]
