# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The objects of add-ons: what their manifests hold, with values put in and the label of the add-on."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import yaml
from ansible_collections.bramble.pi.plugins.module_utils._add_ons.plan import (
    DEFINITION,
    LABEL,
    WORKLOADS,
    group_of,
    reference,
)
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.plugin_utils._add_ons.entries import Entry, Source

_PLACE = re.compile(r"\$\{([a-zA-Z_][a-zA-Z0-9_]*)\}")
#: Those that are there without any add-on, and go with the cluster alone.
_CLUSTERS_OWN = ("default", "kube-node-lease", "kube-public", "kube-system")
#: Kinds of Kubernetes' own that are in no namespace, by their group.
_CLUSTER_WIDE = {
    "": ("Namespace", "Node", "PersistentVolume"),
    "admissionregistration.k8s.io": None,
    "apiextensions.k8s.io": None,
    "apiregistration.k8s.io": None,
    "certificates.k8s.io": ("CertificateSigningRequest", "ClusterTrustBundle"),
    "flowcontrol.apiserver.k8s.io": None,
    "networking.k8s.io": ("IngressClass", "IPAddress", "ServiceCIDR"),
    "node.k8s.io": None,
    "policy": ("PodSecurityPolicy",),
    "rbac.authorization.k8s.io": ("ClusterRole", "ClusterRoleBinding"),
    "scheduling.k8s.io": None,
    "storage.k8s.io": ("CSIDriver", "CSINode", "StorageClass", "VolumeAttachment", "VolumeAttributesClass"),
}
_BUILT_IN = ("apps", "autoscaling", "batch", "coordination.k8s.io", "discovery.k8s.io", "events.k8s.io")


class ObjectsError(BrambleError):
    """A manifest that is not the one expected, or that cannot be an add-on's."""


class _Loader(yaml.SafeLoader):
    """Reads YAML as kubectl does: a date is text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _checked(entry: Entry, source: Source, text: str) -> None:
    seen = hashlib.sha256(text.encode()).hexdigest()
    if source.sha256 and seen != source.sha256:
        raise ObjectsError(
            f"the SHA-256 of {source.url} is {seen}; expected {source.sha256}: look at what changed, then "
            "set "
            f"manifest and sha256 of {entry.name} in add_ons together"
        )


def _things(entry: Entry, source: Source, text: str) -> Iterator[dict[str, Any]]:
    try:
        documents = list(yaml.load_all(text, Loader=_Loader))
    except yaml.YAMLError as error:
        raise ObjectsError(f"{source.url} of the add-on {entry.name} is not YAML: {error}") from error
    for document in filter(None, documents):
        listed = isinstance(document, dict) and document.get("kind") == "List"
        for thing in document.get("items") or () if listed else (document,):
            metadata = thing.get("metadata") if isinstance(thing, dict) else None
            names = [thing.get("apiVersion"), thing.get("kind")] if isinstance(thing, dict) else []
            names.append(metadata.get("name") if isinstance(metadata, dict) else None)
            if not all(isinstance(name, str) and name for name in names):
                raise ObjectsError(
                    f"{source.url} of the add-on {entry.name} has {str(thing)[:80]!r}; expected objects with "
                    "apiVersion, kind and metadata.name: correct the manifest"
                )
            yield thing


def _filled(value: Any, values: Mapping[str, Any], used: set[str]) -> Any:
    """Put values in, within a text or, where it is nothing but its place, in its own type.

    It is done after YAML was read, so that no value can become part of the form.
    """
    if isinstance(value, dict):
        return {key: _filled(item, values, used) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, values, used) for item in value]
    if not isinstance(value, str):
        return value
    whole = _PLACE.fullmatch(value)
    if whole and whole[1] in values:
        used.add(whole[1])
        return values[whole[1]]

    def put(match: re.Match[str]) -> str:
        if match[1] not in values:
            return match[0]  # A shell's, say.
        used.add(match[1])
        given = values[match[1]]
        return str(given).lower() if isinstance(given, bool) else str(given)

    return _PLACE.sub(put, value)


def _is_cluster_wide(thing: Mapping[str, Any], scopes: Mapping[tuple[str, str], str]) -> bool | None:
    """Tell whether an object is in no namespace; None if that is not known here."""
    group, kind = group_of(thing["apiVersion"]), thing["kind"]
    if (group, kind) in scopes:
        return scopes[group, kind] == "Cluster"
    if group in _CLUSTER_WIDE:
        kinds = _CLUSTER_WIDE[group]
        return kinds is None or kind in kinds
    return False if group in _BUILT_IN else None


def _scopes(things: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], str]:
    return {
        (thing["spec"]["group"], thing["spec"]["names"]["kind"]): thing["spec"]["scope"]
        for thing in things
        if thing["kind"] == DEFINITION
    }


def _placed(entry: Entry, things: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Put what has no namespace into that of the add-on, and make it if no manifest does."""
    if not entry.namespace:
        return things
    scopes = _scopes(things)
    for thing in things:
        if not thing["metadata"].get("namespace") and _is_cluster_wide(thing, scopes) is False:
            thing["metadata"]["namespace"] = entry.namespace
    made = {thing["metadata"]["name"] for thing in things if thing["kind"] == "Namespace"}
    if entry.namespace in (*made, *_CLUSTERS_OWN):
        return things
    return [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": entry.namespace}}, *things]


def objects(entry: Entry, texts: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the objects of an add-on; ``texts`` are the manifests by their URLs."""
    found: list[dict[str, Any]] = []
    for source in entry.sources:
        # Ansible's own kinds of strings are none that PyYAML would read.
        text = str(texts[source.url])
        _checked(entry, source, text)
        found += _things(entry, source, text)
    if not found:
        raise ObjectsError(
            f"the manifest of the add-on {entry.name} has no objects; expected some: correct it"
        )
    used: set[str] = set()
    things = [_filled(thing, entry.values, used) for thing in found]
    unused = [name for name in entry.asked if name not in used]
    if unused:
        raise ObjectsError(
            f"values of {entry.name} in add_ons has {unused[0]}, for which its manifest has no place; "
            "expected "
            f"${{{unused[0]}}} there: take it out of values, or put the place into the manifest"
        )
    things = _placed(entry, things)
    for thing in things:
        known_by = reference(thing)
        if known_by.kind == "Namespace" and known_by.name in _CLUSTERS_OWN:
            raise ObjectsError(
                f"the manifest of the add-on {entry.name} has the namespace {known_by.name}, which is the "
                "cluster's own and would go with it; expected another: take it out of the manifest"
            )
        thing["metadata"] = {
            **thing["metadata"],
            "labels": {**(thing["metadata"].get("labels") or {}), LABEL: entry.name},
        }
    _check_waited(entry, things)
    return things


def _check_waited(entry: Entry, things: Iterable[Mapping[str, Any]]) -> None:
    there = [
        f"{each['kind'].lower()}/{each['metadata']['name']}" for each in things if each["kind"] in WORKLOADS
    ]
    for each in entry.wait_for or ():
        if each not in there:
            raise ObjectsError(
                f"wait_for of {entry.name} in add_ons has {each!r}, which its manifest has not; expected "
                "some of "
                f"{', '.join(there) or 'nothing, as it brings no pods'}: set add_ons"
            )


def definitions(entries: Sequence[Entry], texts: Mapping[str, str]) -> str:
    """Return all add-ons as the module cluster_add_ons takes them; no two may have one object."""
    whose: dict[tuple[str, ...], str] = {}
    told = []
    for entry in entries:
        things = objects(entry, texts)
        for thing in things:
            known_by = reference(thing)
            if known_by.identity in whose:
                raise ObjectsError(
                    f"{known_by} is in the manifests of the add-ons {whose[known_by.identity]} and "
                    f"{entry.name}; "
                    "expected it once: take it out of one of them"
                )
            whose[known_by.identity] = entry.name
        told.append({"name": entry.name, "objects": things, "wait_for": entry.wait_for})
    return json.dumps(told)
