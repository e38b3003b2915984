# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which pods of a node can go elsewhere, which cannot, and why.

As ``kubectl drain`` decides, but before anything is touched, and with the remedy:

============================================================  ==========================================
a pod                                                         its verdict
============================================================  ==========================================
static, by a manifest on the node                             stays
of a DaemonSet                                                stays; blocks if that DaemonSet is gone
ended                                                         goes
being deleted, and one of the following two                   waits, as kubectl drain refuses it until then
without a controller                                          blocks without consent
with an emptyDir                                              blocks without consent
of two budgets                                                blocks, as the API server refuses it
of a budget that allows none even if all its pods are well    blocks
of a budget that allows none now                              waits
any other                                                     goes; one with a volume of this node comes
                                                              back with it
============================================================  ==========================================
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

_Object = Mapping[str, Any]
#: Kubelet gives it to what it shows of a static pod.
_MIRROR = "kubernetes.io/config.mirror"
_TEMPLATE_HASH = "pod-template-hash"
_ENDED = ("Succeeded", "Failed")


class Action(enum.Enum):
    """What becomes of a pod when its node is drained."""

    GOES = "goes"
    STAYS = "stays"
    WAITS = "waits"
    BLOCKS = "blocks"


class Verdict(NamedTuple):
    """What becomes of one pod, why, and what to do about it."""

    pod: str
    action: Action
    reason: str
    remedy: str = ""

    def __str__(self) -> str:
        """Say it in one sentence."""
        return f"pod {self.pod}: {self.reason}" + (f"; {self.remedy}" if self.remedy else "")


class Consent(NamedTuple):
    """What the user agrees to lose."""

    bare_pods: bool = False
    emptydir_data: bool = False


class Cluster(NamedTuple):
    """What the API server tells of the cluster; lists of its objects."""

    budgets: Sequence[_Object] = ()
    daemon_sets: Sequence[_Object] = ()
    claims: Sequence[_Object] = ()
    volumes: Sequence[_Object] = ()


def name_of(thing: _Object) -> str:
    """Return namespace and name of an object."""
    metadata = thing["metadata"]
    return f"{metadata.get('namespace', 'default')}/{metadata['name']}"


def owner(pod: _Object) -> tuple[str, str] | None:
    """Return kind and name of the controller that a pod belongs to."""
    for reference in pod["metadata"].get("ownerReferences") or ():
        if reference.get("controller"):
            return str(reference["kind"]), str(reference["name"])
    return None


def workload(pod: _Object) -> str:
    """Name what a user would look at: the Deployment rather than its ReplicaSet."""
    found = owner(pod)
    if found is None:
        return f"pod {pod['metadata']['name']}"
    kind, name = found
    template = f"-{(pod['metadata'].get('labels') or {}).get(_TEMPLATE_HASH)}"
    if kind == "ReplicaSet" and name.endswith(template):
        return f"Deployment {name[: -len(template)]}"
    return f"{kind} {name}"


def is_static(pod: _Object) -> bool:
    """Tell whether a manifest on the node makes a pod."""
    return _MIRROR in (pod["metadata"].get("annotations") or {})


def belongs(pod: _Object) -> bool:
    """Tell whether a pod belongs to its node: it is static, or of a DaemonSet."""
    return is_static(pod) or (owner(pod) or ("",))[0] == "DaemonSet"


def is_ready(thing: _Object) -> bool:
    """Tell whether a pod or a node is Ready."""
    conditions = thing.get("status", {}).get("conditions") or ()
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def is_ended(pod: _Object) -> bool:
    """Tell whether a pod has come to its end."""
    return pod.get("status", {}).get("phase") in _ENDED


def _requirement_holds(requirement: _Object, labels: Mapping[str, str]) -> bool:
    key, values = requirement["key"], requirement.get("values") or ()
    return {
        "In": key in labels and labels[key] in values,
        "NotIn": key not in labels or labels[key] not in values,
        "Exists": key in labels,
        "DoesNotExist": key not in labels,
    }[requirement["operator"]]


def selects(budget: _Object, pod: _Object) -> bool:
    """Tell whether a PodDisruptionBudget is about a pod."""
    if budget["metadata"].get("namespace") != pod["metadata"].get("namespace"):
        return False
    selector = budget["spec"].get("selector")
    if selector is None:
        return False
    equal, requirements = selector.get("matchLabels") or {}, selector.get("matchExpressions") or ()
    if not equal and not requirements:
        # https://kubernetes.io/docs/reference/using-api/deprecation-guide/#poddisruptionbudget-v125
        return bool(budget.get("apiVersion") == "policy/v1")
    labels = pod["metadata"].get("labels") or {}
    return all(labels.get(key) == value for key, value in equal.items()) and all(
        _requirement_holds(requirement, labels) for requirement in requirements
    )


def _by_budget(pod: _Object, budgets: Sequence[_Object]) -> Verdict | None:
    """Return what the budgets of a pod keep it from; None if it may go."""
    name = name_of(pod)
    # As the API server does: what does not run yet takes nothing away.
    if pod.get("status", {}).get("phase") == "Pending" or not budgets:
        return None
    names = ", ".join(sorted(name_of(budget) for budget in budgets))
    if len(budgets) > 1:
        return Verdict(
            name,
            Action.BLOCKS,
            f"{workload(pod)} has the PodDisruptionBudgets {names}, and the API server evicts no pod of two",
            "expected one: kubectl delete the other, or change its selector",
        )
    (budget,) = budgets
    status = budget.get("status") or {}
    healthy, needed = status.get("currentHealthy", 0), status.get("desiredHealthy", 0)
    # What is not Ready takes nothing away either, from 1.22 on; an older API server has kubectl drain wait.
    spared = budget["spec"].get("unhealthyPodEvictionPolicy") == "AlwaysAllow" or healthy >= needed > 0
    if spared and not is_ready(pod):
        return None
    if status.get("observedGeneration", 0) < budget["metadata"].get("generation", 0):
        return Verdict(name, Action.WAITS, f"PodDisruptionBudget {names} has not been counted yet")
    if status.get("disruptionsAllowed", 0) > 0:
        return None
    expected = status.get("expectedPods", 0)
    told = (
        f"PodDisruptionBudget {names} lets no pod of {workload(pod)} go: "
        f"{needed} of {expected} must be healthy, {healthy} are"
    )
    namespace, _slash, plain = names.partition("/")
    if needed >= expected:
        return Verdict(
            name,
            Action.BLOCKS,
            told,
            "expected a budget that can spare one: give the workload more replicas, or change it with "
            f"kubectl --namespace {namespace} edit poddisruptionbudget {plain}",
        )
    return Verdict(
        name,
        Action.WAITS,
        told,
        f"expected that its pods become Ready: look at kubectl --namespace {namespace} get pods",
    )


def _local_volume(pod: _Object, cluster: Cluster) -> str | None:
    """Return a volume of the pod that is on one node alone."""
    there = {
        volume["metadata"]["name"]
        for volume in cluster.volumes
        if "local" in volume["spec"] or "hostPath" in volume["spec"]
    }
    bound = {name_of(claim): claim["spec"].get("volumeName") for claim in cluster.claims}
    namespace = pod["metadata"].get("namespace", "default")
    for volume in pod["spec"].get("volumes") or ():
        claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        if bound.get(f"{namespace}/{claim}") in there:
            return str(bound[f"{namespace}/{claim}"])
    return None


def verdict(*, pod: _Object, cluster: Cluster, consent: Consent) -> Verdict:
    """Say what becomes of a pod when its node is drained."""
    name, found = name_of(pod), owner(pod)
    if is_static(pod):
        return Verdict(name, Action.STAYS, "a manifest on the node makes it")
    if is_ended(pod):
        return Verdict(name, Action.GOES, "it has ended")
    if found is not None and found[0] == "DaemonSet":
        namespace = pod["metadata"].get("namespace", "default")
        if f"{namespace}/{found[1]}" in {name_of(each) for each in cluster.daemon_sets}:
            return Verdict(name, Action.STAYS, f"it is of DaemonSet {found[1]}")
        found = None
    scratch = [volume["name"] for volume in pod["spec"].get("volumes") or () if "emptyDir" in volume]
    if pod["metadata"].get("deletionTimestamp"):
        if (found is None and not consent.bare_pods) or (scratch and not consent.emptydir_data):
            return Verdict(
                name,
                Action.WAITS,
                "it is being deleted",
                "expected it gone: look at kubectl --namespace "
                f"{pod['metadata'].get('namespace', 'default')} describe pod {pod['metadata']['name']}",
            )
        return Verdict(name, Action.GOES, "it is being deleted")
    if found is None and not consent.bare_pods:
        return Verdict(
            name,
            Action.BLOCKS,
            "it has no controller that would make it again elsewhere",
            "expected consent to lose it: set maintenance_delete_bare_pods to true, or delete it",
        )
    if scratch and not consent.emptydir_data:
        return Verdict(
            name,
            Action.BLOCKS,
            f"{workload(pod)} has the emptyDir {', '.join(scratch)}, whose data would be lost",
            "expected consent: set maintenance_delete_emptydir_data to true",
        )
    kept = _by_budget(pod, [budget for budget in cluster.budgets if selects(budget, pod)])
    if kept is not None:
        return kept
    local = _local_volume(pod, cluster)
    if local is not None:
        return Verdict(
            name,
            Action.GOES,
            f"{workload(pod)} waits for the node, where its volume {local} is",
        )
    return Verdict(name, Action.GOES, f"{workload(pod)} makes it elsewhere" if found else "by consent")


def verdicts(*, pods: Iterable[_Object], cluster: Cluster, consent: Consent) -> list[Verdict]:
    """Say of all pods of a node what becomes of them when it is drained."""
    return [verdict(pod=pod, cluster=cluster, consent=consent) for pod in pods]


def etcd_problem(*, node: str, members: Collection[_Object]) -> str | None:
    """Say that etcd would lose its majority without a node; ``members`` are etcd's pods.

    One or two members lose it whenever one of them is away; that is what such a control plane is.
    """
    if len(members) < 3 or node not in {pod["spec"].get("nodeName") for pod in members}:
        return None
    majority = len(members) // 2 + 1
    ready = sorted(str(pod["spec"]["nodeName"]) for pod in members if is_ready(pod))
    left = [name for name in ready if name != node]
    if len(left) >= majority:
        return None
    lost = sorted({str(pod["spec"]["nodeName"]) for pod in members} - set(ready) - {node})
    return (
        f"etcd has {len(members)} members and needs {majority} of them; without {node} there would be "
        f"{len(left)}, as that of {', '.join(lost)} is not Ready; expected it back first: see "
        "bramble.pi.doctor"
    )


def _container_ids(pod: _Object) -> set[str]:
    found = pod.get("status", {}).get("containerStatuses") or ()
    return {str(each["containerID"]) for each in found if each.get("containerID")}


def containers(pods: Iterable[_Object]) -> set[str]:
    """Return the IDs of the containers of what belongs to a node."""
    return set(chain.from_iterable(_container_ids(pod) for pod in pods if belongs(pod)))


def unready(pods: Iterable[_Object], *, gone: Collection[str] = ()) -> Iterator[str]:
    """Name what belongs to a node and is not Ready there, each by a name that its next pod has as well.

    What is told of a container that is ``gone`` is no longer so.
    """
    for pod in pods:
        ready = is_ready(pod) and _container_ids(pod).isdisjoint(gone)
        if belongs(pod) and not ready and not is_ended(pod):
            found = None if is_static(pod) else owner(pod)
            namespace = pod["metadata"].get("namespace", "default")
            yield f"{found[0]} {namespace}/{found[1]}" if found else f"pod {name_of(pod)}"


def serving(pods: Iterable[_Object]) -> Iterator[str]:
    """Name the pods that are Ready and could be elsewhere."""
    return (f"pod {name_of(pod)}" for pod in pods if is_ready(pod) and not belongs(pod))


def unserving(pods: Iterable[_Object], *, before: Collection[str]) -> Iterator[str]:
    """Name those pods that were Ready before, are still there, and are not Ready."""
    for pod in pods:
        name = f"pod {name_of(pod)}"
        leaves = is_ended(pod) or pod["metadata"].get("deletionTimestamp")
        if name in before and not leaves and not is_ready(pod):
            yield name
