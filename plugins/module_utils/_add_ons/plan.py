# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to be done with the objects of add-ons: in which order, which go, and whom that would concern."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.kubectl import MANAGED_BY

#: Each object of an add-on has its name in this label.
LABEL = "bramble.pi/add-on"
#: Where it is noted which objects an add-on has, in a ConfigMap for each.
NAMESPACE = "kube-system"
OWNER = "bramble-add-ons"
DEFINITION = "CustomResourceDefinition"
#: Kinds that others need to be there.
FIRST = ("Namespace", DEFINITION)
#: Kinds that bring pods, and are waited for.
WORKLOADS = ("Deployment", "DaemonSet", "StatefulSet")
#: What of a namespace is somebody's work or data.
_CONTENTS = (
    "deployments.apps,daemonsets.apps,statefulsets.apps,jobs.batch,cronjobs.batch,pods,services,"
    "persistentvolumeclaims"
)


class AddOnError(BrambleError):
    """An add-on that cannot be applied or removed."""


class Reference(NamedTuple):
    """What an object is known by."""

    api_version: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        """Return it as people and kubectl write it."""
        where = f" in the namespace {self.namespace}" if self.namespace else ""
        return f"{self.kind.lower()}/{self.name}{where}"

    @property
    def identity(self) -> tuple[str, str, str, str]:
        """What stays the same when an object is written in a newer version of its API."""
        return (group_of(self.api_version), *self[1:])

    def bare(self) -> dict[str, Any]:
        """Return an object with nothing but that."""
        metadata = {"name": self.name, **({"namespace": self.namespace} if self.namespace else {})}
        return {"apiVersion": self.api_version, "kind": self.kind, "metadata": metadata}


class AddOn(NamedTuple):
    """An add-on that is to be there."""

    name: str
    objects: Sequence[Mapping[str, Any]]
    #: Kind and name of what is waited for, such as deployment/web; None for all that brings pods.
    wait_for: Sequence[str] | None = None

    def references(self) -> list[Reference]:
        """Return what its objects are known by."""
        return [reference(thing) for thing in self.objects]


class Question(NamedTuple):
    """What to ask the cluster before an object goes."""

    #: What the objects of somebody are that would go with it, or be of no more use.
    resources: str
    namespace: str
    concerned: Callable[[Mapping[str, Any]], bool]


def group_of(api_version: str) -> str:
    """Return the API group; that of pods and services is empty."""
    return api_version.rpartition("/")[0]


def reference(thing: Mapping[str, Any]) -> Reference:
    """Return what an object is known by."""
    metadata = thing["metadata"]
    return Reference(thing["apiVersion"], thing["kind"], metadata.get("namespace", ""), metadata["name"])


def owner(thing: Mapping[str, Any]) -> str:
    """Return the add-on that an object belongs to; empty if it is somebody else's."""
    return str((thing["metadata"].get("labels") or {}).get(LABEL, ""))


def record_name(name: str) -> str:
    """Return the name of the ConfigMap of an add-on."""
    return f"bramble-add-on-{name}"


def record(name: str, references: Iterable[Reference]) -> dict[str, Any]:
    """Return the ConfigMap that notes which objects an add-on has."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": record_name(name),
            "namespace": NAMESPACE,
            "labels": {MANAGED_BY: OWNER, LABEL: name},
        },
        "data": {"objects": json.dumps([list(each) for each in references])},
    }


def read_records(config_maps: Iterable[Mapping[str, Any]]) -> dict[str, list[Reference]]:
    """Read which objects the add-ons have."""
    records = {}
    for config_map in config_maps:
        text = (config_map.get("data") or {}).get("objects", "")
        try:
            records[owner(config_map)] = [Reference(*map(str, each)) for each in json.loads(text)]
        except (TypeError, ValueError):
            name = config_map["metadata"]["name"]
            raise AddOnError(
                f"the ConfigMap {name} in the namespace {NAMESPACE} has {text[:80]!r} as 'objects'; expected "
                f"the list of its add-on's objects: run kubectl --namespace {NAMESPACE} delete configmap "
                f"{name}, and then the playbook bramble.pi.add_ons, which writes it again"
            ) from None
    return records


def gone(before: Iterable[Reference], after: Iterable[Reference]) -> list[Reference]:
    """Return what an add-on has no more."""
    stays = {each.identity for each in after}
    return [each for each in before if each.identity not in stays]


def both(before: Iterable[Reference], after: Sequence[Reference]) -> list[Reference]:
    """Return what an add-on had, has, or may have while it is changed."""
    return [*after, *gone(before, after)]


def defined(references: Iterable[Reference]) -> set[str]:
    """Return the API groups of the kinds that are defined by these objects."""
    return {each.name.partition(".")[2] for each in references if each.kind == DEFINITION}


def in_order(things: Iterable[Any], groups: set[str], *, key: Callable[[Any], Reference]) -> list[list[Any]]:
    """Part things into those that others need, those others, and those whose kinds the add-ons define.

    The last ones wait until what serves their kinds runs: it often checks them by a webhook.
    """
    parts: list[list[Any]] = [[], [], []]
    for thing in things:
        known_by = key(thing)
        own = group_of(known_by.api_version) in groups
        parts[0 if known_by.kind in FIRST else 2 if own else 1].append(thing)
    return parts


def removal_order(references: Iterable[Reference]) -> list[list[Reference]]:
    """Part objects into those that go one after the other: namespaces last, as all in them goes along."""
    found = list(references)
    first, others, own = in_order(found, defined(found), key=lambda each: each)
    kinds = [[each for each in first if each.kind == kind] for kind in reversed(FIRST)]
    return [part for part in (own, others, *kinds) if part]


def foreign(
    name: str, there: Iterable[Mapping[str, Any]], *, leaving: Mapping[str, Iterable[Reference]]
) -> Iterator[str]:
    """Say which objects of an add-on are there already, and are somebody else's.

    ``leaving`` are the add-ons that are removed before, with their objects.
    """
    for thing in there:
        whose, known_by = owner(thing), reference(thing)
        if whose == name or whose in leaving:
            continue
        what = f"belongs to the add-on {whose}" if whose else f"has no label {LABEL}"
        namespace = f" --namespace {known_by.namespace}" if known_by.namespace else ""
        yield (
            f"{known_by} is there and {what}; expected none, or one of the add-on {name}: take it out of "
            "one of "
            f"them in add_ons, or give it to this one by: kubectl label{namespace} --overwrite "
            f"{known_by.kind.lower()} {known_by.name} {LABEL}={name}"
        )


def _is_left(name: str) -> Callable[[Mapping[str, Any]], bool]:
    return lambda thing: owner(thing) != name and not thing["metadata"].get("ownerReferences")


def questions(name: str, going: Iterable[Reference]) -> Iterator[Question]:
    """Return what to ask the cluster before objects of an add-on go."""
    for each in going:
        if each.kind == DEFINITION:
            yield Question(each.name, "", lambda thing: owner(thing) != name)
        elif each.kind == "Namespace":
            yield Question(_CONTENTS, each.name, _is_left(name))
        elif each.kind == "CSIDriver":
            yield Question("persistentvolumes,storageclasses.storage.k8s.io", "", _driven_by(name, each.name))
        elif each.kind == "IngressClass":
            yield Question("ingresses.networking.k8s.io", "", _of_class(name, each.name))


def _driven_by(name: str, driver: str) -> Callable[[Mapping[str, Any]], bool]:
    def concerned(thing: Mapping[str, Any]) -> bool:
        of_volume = (thing.get("spec") or {}).get("csi") or {}
        return driver in (of_volume.get("driver"), thing.get("provisioner")) and owner(thing) != name

    return concerned


def _of_class(name: str, ingress_class: str) -> Callable[[Mapping[str, Any]], bool]:
    def concerned(thing: Mapping[str, Any]) -> bool:
        return bool(thing["spec"].get("ingressClassName") == ingress_class and owner(thing) != name)

    return concerned


def refusal(name: str, concerned: Sequence[Mapping[str, Any]], *, removed: bool) -> str:
    """Say which objects of somebody keep an add-on, or what it has no more, from being removed."""
    shown = ", ".join(str(reference(thing)) for thing in concerned[:5])
    more = f" and {len(concerned) - 5} more" if len(concerned) > 5 else ""
    what = f"the add-on {name}" if removed else f"what the add-on {name} has no more in its new version"
    return (
        f"{what} is needed by {shown}{more}; expected nobody's objects that would go with it or be of no "
        "more "
        "use: remove them, leave it in add_ons as it was, or set add_ons_remove_objects to a list with "
        f"{name}"
    )
