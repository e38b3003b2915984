# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which APIs a minor of Kubernetes removes, who asks for them, and which objects were written with them.

The API server stores an object in one version and shows it in all that it serves, so that an old one is read
and changed by the new API as well. What stops working is the user's own manifest, and whatever else goes on
asking for the old API: an object that was last written by it stands for these.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.compatibility import Minor

_Object = Mapping[str, Any]


class Removal(NamedTuple):
    """An API that is gone from a minor on."""

    release: Minor
    api: str
    resource: str
    kind: str
    #: What has taken its place, and from which minor on; None for nothing.
    successor: str | None
    since: Minor
    #: Whether users write such objects; others come from Kubernetes' own programs, which are upgraded.
    of_users: bool = True


def _all(
    release: Minor, api: str, successor: str | None, *kinds: tuple[str, str, Minor], of_users: bool = True
) -> tuple[Removal, ...]:
    return tuple(
        Removal(release, api, resource, kind, successor, since, of_users) for resource, kind, since in kinds
    )


#: https://kubernetes.io/docs/reference/using-api/deprecation-guide/
REMOVALS: tuple[Removal, ...] = (
    *_all(
        (1, 22),
        "admissionregistration.k8s.io/v1beta1",
        "admissionregistration.k8s.io/v1",
        ("mutatingwebhookconfigurations", "MutatingWebhookConfiguration", (1, 16)),
        ("validatingwebhookconfigurations", "ValidatingWebhookConfiguration", (1, 16)),
    ),
    *_all(
        (1, 22),
        "apiextensions.k8s.io/v1beta1",
        "apiextensions.k8s.io/v1",
        ("customresourcedefinitions", "CustomResourceDefinition", (1, 16)),
    ),
    *_all(
        (1, 22),
        "apiregistration.k8s.io/v1beta1",
        "apiregistration.k8s.io/v1",
        ("apiservices", "APIService", (1, 10)),
    ),
    *_all((1, 22), "extensions/v1beta1", "networking.k8s.io/v1", ("ingresses", "Ingress", (1, 19))),
    *_all(
        (1, 22),
        "networking.k8s.io/v1beta1",
        "networking.k8s.io/v1",
        ("ingresses", "Ingress", (1, 19)),
        ("ingressclasses", "IngressClass", (1, 19)),
    ),
    *_all(
        (1, 22),
        "rbac.authorization.k8s.io/v1beta1",
        "rbac.authorization.k8s.io/v1",
        ("clusterroles", "ClusterRole", (1, 8)),
        ("clusterrolebindings", "ClusterRoleBinding", (1, 8)),
        ("roles", "Role", (1, 8)),
        ("rolebindings", "RoleBinding", (1, 8)),
    ),
    *_all(
        (1, 22),
        "scheduling.k8s.io/v1beta1",
        "scheduling.k8s.io/v1",
        ("priorityclasses", "PriorityClass", (1, 14)),
    ),
    *_all(
        (1, 22),
        "storage.k8s.io/v1beta1",
        "storage.k8s.io/v1",
        ("csidrivers", "CSIDriver", (1, 19)),
        ("storageclasses", "StorageClass", (1, 6)),
    ),
    *_all(
        (1, 22),
        "coordination.k8s.io/v1beta1",
        "coordination.k8s.io/v1",
        ("leases", "Lease", (1, 14)),
        of_users=False,
    ),
    *_all((1, 25), "batch/v1beta1", "batch/v1", ("cronjobs", "CronJob", (1, 21))),
    *_all(
        (1, 25),
        "discovery.k8s.io/v1beta1",
        "discovery.k8s.io/v1",
        ("endpointslices", "EndpointSlice", (1, 21)),
        of_users=False,
    ),
    *_all((1, 25), "events.k8s.io/v1beta1", "events.k8s.io/v1", ("events", "Event", (1, 19)), of_users=False),
    *_all(
        (1, 25),
        "autoscaling/v2beta1",
        "autoscaling/v2",
        ("horizontalpodautoscalers", "HorizontalPodAutoscaler", (1, 23)),
    ),
    *_all((1, 25), "policy/v1beta1", "policy/v1", ("poddisruptionbudgets", "PodDisruptionBudget", (1, 21))),
    *_all((1, 25), "policy/v1beta1", None, ("podsecuritypolicies", "PodSecurityPolicy", (0, 0))),
    *_all((1, 25), "node.k8s.io/v1beta1", "node.k8s.io/v1", ("runtimeclasses", "RuntimeClass", (1, 20))),
    *_all(
        (1, 26),
        "autoscaling/v2beta2",
        "autoscaling/v2",
        ("horizontalpodautoscalers", "HorizontalPodAutoscaler", (1, 23)),
    ),
    *_all(
        (1, 26),
        "flowcontrol.apiserver.k8s.io/v1beta1",
        "flowcontrol.apiserver.k8s.io/v1beta3",
        ("flowschemas", "FlowSchema", (1, 26)),
        ("prioritylevelconfigurations", "PriorityLevelConfiguration", (1, 26)),
    ),
    *_all(
        (1, 27),
        "storage.k8s.io/v1beta1",
        "storage.k8s.io/v1",
        ("csistoragecapacities", "CSIStorageCapacity", (1, 24)),
        of_users=False,
    ),
    *_all(
        (1, 29),
        "flowcontrol.apiserver.k8s.io/v1beta2",
        "flowcontrol.apiserver.k8s.io/v1",
        ("flowschemas", "FlowSchema", (1, 29)),
        ("prioritylevelconfigurations", "PriorityLevelConfiguration", (1, 29)),
    ),
    *_all(
        (1, 32),
        "flowcontrol.apiserver.k8s.io/v1beta3",
        "flowcontrol.apiserver.k8s.io/v1",
        ("flowschemas", "FlowSchema", (1, 29)),
        ("prioritylevelconfigurations", "PriorityLevelConfiguration", (1, 29)),
    ),
)

#: Kubernetes' own programs as they name themselves when they write; a newer one writes by a newer API.
_OWN_WRITERS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "api-priority-and-")
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_SAMPLE = re.compile(r"^(?P<name>[a-z_]+)\{(?P<labels>[^}]*)\} (?P<value>\S+)", re.MULTILINE)
_LABEL = re.compile(r'([a-z_]+)="([^"]*)"')
_REQUESTED = "apiserver_requested_deprecated_apis"
#: Its name until 1.22, and from 1.23 on.
_OPEN = ("apiserver_longrunning_gauge", "apiserver_longrunning_requests")
_RELEASE = re.compile(r"([0-9]{1,3})\.([0-9]{1,3})")


def removed_between(before: Minor, target: Minor) -> list[Removal]:
    """Return what is served before, or may be, and not by the target any more."""
    return [removal for removal in REMOVALS if before < removal.release <= target]


def _samples(metrics: str, names: Collection[str]) -> Iterator[tuple[str, dict[str, str], float]]:
    for line in metrics.splitlines():
        if line.startswith(tuple(names)):
            sample = _SAMPLE.match(line)
            if sample:
                yield sample["name"], dict(_LABEL.findall(sample["labels"])), float(sample["value"])


def requested(metrics: str) -> list[dict[str, Any]]:
    """Return what the API server says of deprecated APIs that were asked for since it started.

    ``watched`` is how many requests for it are open at the moment, as those of a controller are.
    """
    watches: dict[tuple[str, str, str], int] = {}
    asked: dict[tuple[str, str, str], str] = {}
    for name, labels, value in _samples(metrics, (_REQUESTED, *_OPEN)):
        key = (labels.get("group", ""), labels.get("version", ""), labels.get("resource", ""))
        if name == _REQUESTED and value > 0 and labels.get("removed_release"):
            asked[key] = labels["removed_release"]
        elif name in _OPEN and labels.get("verb") == "WATCH":
            watches[key] = watches.get(key, 0) + int(value)
    return [
        {
            "api": f"{group}/{version}",
            "resource": resource,
            "release": release,
            "watched": watches.get((group, version, resource), 0),
        }
        for (group, version, resource), release in sorted(asked.items())
    ]


def release_of(text: str) -> Minor | None:
    """Read a release as the metric names it, such as 1.22."""
    found = _RELEASE.fullmatch(text)
    return (int(found[1]), int(found[2])) if found else None


def to_read(removals: Sequence[Removal], served: Collection[str]) -> list[str]:
    """Return by which names kubectl asks for the objects: by the API that stays, if it is served already."""
    names = []
    for removal in removals:
        if removal.of_users:
            successor = removal.successor
            api = successor if successor is not None and successor in served else removal.api
            if api in served:
                group, _slash, version = api.partition("/")
                names.append(f"{removal.resource}.{version}.{group}")
    return list(dict.fromkeys(names))


def _by_fields(managed: Iterable[_Object]) -> str | None:
    """Return the API of whoever wrote last, and more than the status."""
    writes = [
        (str(entry.get("time", "")), str(entry.get("apiVersion", "")))
        for entry in managed
        if not str(entry.get("manager", "")).startswith(_OWN_WRITERS)
        and not entry.get("subresource")
        and set(entry.get("fieldsV1") or {}) != {"f:status"}
    ]
    return max(writes)[1] if writes else None


def written_with(thing: _Object) -> str | None:
    """Return the API that a user has written an object with, as far as it tells.

    kubectl apply keeps the manifest; what it has replaced stays in the managed fields under the old API.
    """
    metadata = thing["metadata"]
    applied = (metadata.get("annotations") or {}).get(_LAST_APPLIED)
    if applied:
        try:
            document = json.loads(applied)
        except ValueError:
            document = None
        if isinstance(document, dict) and document.get("apiVersion"):
            return str(document["apiVersion"])
    return _by_fields(metadata.get("managedFields") or ())


def found(objects: Iterable[_Object], removals: Sequence[Removal]) -> list[dict[str, Any]]:
    """Name the objects whose API goes, or that have none any more."""
    result = []
    for thing in objects:
        kind, metadata = thing["kind"], thing["metadata"]
        mine = [removal for removal in removals if removal.kind == kind and removal.of_users]
        gone = next((each for each in mine if each.successor is None), None)
        if gone is None:
            api = written_with(thing)
            gone = next((each for each in mine if each.api == api), None)
        if gone is not None:
            result.append(
                {
                    "kind": kind,
                    "namespace": metadata.get("namespace", ""),
                    "name": metadata["name"],
                    "api": gone.api,
                    "release": list(gone.release),
                    "successor": gone.successor,
                    "since": list(gone.since),
                }
            )
    return result
