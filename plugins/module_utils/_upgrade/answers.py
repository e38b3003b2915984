# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a cluster that is to be upgraded says of itself, out of the API server's objects."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._containers import images
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import drain
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.compatibility import (
    REMOVED_FLAGS,
    CompatibilityError,
    Version,
    parse_version,
)
from ansible_collections.bramble.pi.plugins.module_utils._upgrade.plan import STATIC, Node

_Object = Mapping[str, Any]
#: What is asked for in one request.
KINDS = (
    "nodes",
    "pods",
    "poddisruptionbudgets",
    "daemonsets",
    "persistentvolumeclaims",
    "persistentvolumes",
)
_VERSION = re.compile(r"v?([0-9]+\.[0-9]+\.[0-9]+)(?:[-+_].*)?")
_CONFIGURED = re.compile(r"^(kubernetesVersion|imageRepository):\s*[\"']?([^\s\"']+)", re.MULTILINE)
#: What images come from unless kubeadm is told otherwise, and from which minor on.
_OLD_REGISTRY, _REGISTRY, _REGISTRY_SINCE = "k8s.gcr.io", "registry.k8s.io", (1, 25)
#: Where kubeadm writes at which address an API server listens.
_ENDPOINT = "kubeadm.kubernetes.io/kube-apiserver.advertise-address.endpoint"
#: kubeadm itself has written these with a zero, and writes them no more.
_OWN_FLAGS = ("insecure-port", "port")


class UpgradeError(BrambleError):
    """A cluster that says nothing by which it can be upgraded."""


def version(text: str, *, what: str, remedy: str) -> Version:
    """Read a version as programs and images have it, such as v1.36.2."""
    found = _VERSION.fullmatch(text)
    try:
        if found:
            return parse_version(found[1])
    except CompatibilityError as error:
        raise UpgradeError(f"{what} is {text!r}: {error}") from error
    raise UpgradeError(f"{what} is {text!r}; expected a version such as v1.36.2: {remedy}")


def configured(text: str) -> tuple[Version, str]:
    """Return the version and the registry in kubeadm's ClusterConfiguration."""
    values: dict[str, str] = dict(_CONFIGURED.findall(text))
    found = version(
        values.get("kubernetesVersion", ""),
        what="kubernetesVersion in the ConfigMap kubeadm-config",
        remedy="correct it with kubectl --namespace kube-system edit configmap kubeadm-config",
    )
    return found, values.get("imageRepository", _OLD_REGISTRY)


def of_kind(things: Iterable[_Object], kind: str) -> list[Any]:
    """Return the objects of a kind."""
    return [thing for thing in things if thing["kind"] == kind]


def static_versions(pods: Iterable[_Object]) -> dict[str, dict[str, Version]]:
    """Return the versions of the control planes' programs, by node."""
    found: dict[str, dict[str, Version]] = {}
    for pod in pods:
        labels = pod["metadata"].get("labels") or {}
        program = labels.get("component")
        if program in STATIC and labels.get("tier") == "control-plane" and drain.is_static(pod):
            node = pod["spec"]["nodeName"]
            image = pod["spec"]["containers"][0]["image"]
            found.setdefault(node, {})[program] = version(
                image.rpartition(":")[2],
                what=f"the tag of {image}, the image of {program} on {node},",
                remedy="upgrade a control plane that kubeadm did not make by hand, or name the version in it",
            )
    return found


def nodes(things: Sequence[_Object]) -> list[Node]:
    """Return what each node runs, as far as the cluster knows."""
    static = static_versions(of_kind(things, "Pod"))
    result = []
    for node in of_kind(things, "Node"):
        name = node["metadata"]["name"]
        kubelet = version(
            node["status"]["nodeInfo"]["kubeletVersion"],
            what=f"the kubelet of {name}",
            remedy=f"see kubectl describe node {name}",
        )
        result.append(Node(name, name in static, {"kubelet": kubelet, **static.get(name, {})}))
    return result


def removed_flags(pods: Iterable[_Object]) -> list[dict[str, str]]:
    """Return the flags of control planes that some minor does not know."""
    found = {}
    for pod in pods:
        labels = pod["metadata"].get("labels") or {}
        program = str(labels.get("component"))
        if program in REMOVED_FLAGS and labels.get("tier") == "control-plane" and drain.is_static(pod):
            for word in pod["spec"]["containers"][0].get("command") or ():
                name, _equals, value = word.lstrip("-").partition("=")
                if name in REMOVED_FLAGS[program] and not (name in _OWN_FLAGS and value == "0"):
                    found[program, name] = {"program": program, "flag": name}
    return list(found.values())


def image_names(*, repository: str, steps: Sequence[Version], control_plane: bool) -> list[str]:
    """Return the images of Kubernetes' own programs that a node needs on the way."""
    programs = [*(STATIC if control_plane else ()), "kube-proxy"]
    names = []
    for step in steps:
        place = _REGISTRY if repository == _OLD_REGISTRY and step.short >= _REGISTRY_SINCE else repository
        names += [images.spell_out(f"{place}/{program}:v{step}") for program in programs]
    return names


def node_images(node: _Object) -> set[str]:
    """Return the images of a node, which tells of the fifty largest."""
    return {
        images.spell_out(name)
        for image in node["status"].get("images") or ()
        for name in image.get("names") or ()
        if "@" not in name
    }


def api_servers(pods: Iterable[_Object]) -> list[str]:
    """Return where the API servers that are Ready listen, each at its own node."""
    found = []
    for pod in pods:
        metadata = pod["metadata"]
        component = (metadata.get("labels") or {}).get("component")
        if component == "kube-apiserver" and drain.is_static(pod) and drain.is_ready(pod):
            told = (metadata.get("annotations") or {}).get(_ENDPOINT)
            found.append(f"https://{told or pod['status'].get('hostIP', '') + ':6443'}")
    return found


def describe(node: _Object) -> dict[str, Any]:
    """Return what is said of a node to whoever decides."""
    ready: _Object = next(
        (each for each in node["status"].get("conditions") or () if each["type"] == "Ready"), {}
    )
    return {
        "name": node["metadata"]["name"],
        "kubelet": node["status"]["nodeInfo"]["kubeletVersion"],
        "runtime": node["status"]["nodeInfo"].get("containerRuntimeVersion", ""),
        "ready": drain.is_ready(node),
        "message": ready.get("message") or "it has not reported yet",
    }


def drains(things: Sequence[_Object], *, consent: drain.Consent) -> dict[str, dict[str, Any]]:
    """Say of each node which pods cannot leave it, which have to wait, and how many go."""
    names = [node["metadata"]["name"] for node in of_kind(things, "Node")]
    cluster = drain.Cluster(
        budgets=of_kind(things, "PodDisruptionBudget"),
        daemon_sets=of_kind(things, "DaemonSet"),
        claims=of_kind(things, "PersistentVolumeClaim"),
        volumes=of_kind(things, "PersistentVolume"),
    )
    found: dict[str, dict[str, Any]] = {}
    # The pods of the only node go nowhere; it is not drained.
    for name in names if len(names) > 1 else ():
        pods = [pod for pod in of_kind(things, "Pod") if pod["spec"].get("nodeName") == name]
        verdicts = drain.verdicts(pods=pods, cluster=cluster, consent=consent)
        found[name] = {
            "blocks": [str(each) for each in verdicts if each.action == drain.Action.BLOCKS],
            "waits": [str(each) for each in verdicts if each.action == drain.Action.WAITS],
            "goes": sum(each.action == drain.Action.GOES for each in verdicts),
        }
    return found


def etcd_problems(things: Sequence[_Object]) -> list[str]:
    """Say which control planes cannot be away, as etcd would lose its majority."""
    members = [
        pod
        for pod in of_kind(things, "Pod")
        if (pod["metadata"].get("labels") or {}).get("component") == "etcd" and drain.is_static(pod)
    ]
    names = sorted(str(pod["spec"]["nodeName"]) for pod in members)
    found = [drain.etcd_problem(node=name, members=members) for name in names]
    return [problem for problem in found if problem]
