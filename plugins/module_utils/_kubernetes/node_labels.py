# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The labels and taints of nodes that an inventory names: which may be set, and what to change for them.

What it names is the inventory's from then on, as an annotation of the node says, and is removed when it names
it no more. All others belong to somebody else and are left alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._common.values import (
    described,
    mapping_problem,
    text_problem,
)

OUR_LABELS = "bramble.pi/labels"
OUR_TAINTS = "bramble.pi/taints"
ZONE = "topology.kubernetes.io/zone"
EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")

#: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_PREFIX = re.compile(r"(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*")
_RESERVED = re.compile(r"(?:.+\.)?(?:kubernetes\.io|k8s\.io)")
#: Of the reserved ones, those that administrators set.
_FREE_LABELS = ("topology.kubernetes.io", "node-role.kubernetes.io", "node-restriction.kubernetes.io")
_FREE_TAINTS = ("node-role.kubernetes.io", "node-restriction.kubernetes.io")
#: Those are kubeadm's.
_KUBEADM = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")


class NodeLabelsError(BrambleError):
    """Labels or taints that cannot be set."""


def _check_key(key: str, what: str, free: Sequence[str]) -> None:
    prefix, slash, name = key.rpartition("/")
    if not _NAME.fullmatch(name) or (slash and not _PREFIX.fullmatch(prefix)):
        raise NodeLabelsError(
            f"{what} is {key!r}; expected at most 63 letters, digits, hyphens, underscores and dots, with a "
            "letter or digit at both ends, and, if need be, a domain and a slash before them"
        )
    if key in _KUBEADM or (_RESERVED.fullmatch(prefix) and prefix not in free):
        raise NodeLabelsError(
            f"{what} is {key!r}, which Kubernetes keeps itself; expected one of your own, or one that begins "
            f"with {' or '.join(f'{prefix}/' for prefix in free)}"
        )


def _check_value(value: Any, what: str) -> None:
    problem = text_problem(value)
    if problem:
        raise NodeLabelsError(f"{what} {problem}")
    if value and not _NAME.fullmatch(value):
        raise NodeLabelsError(
            f"{what} is {value!r}; expected nothing or at most 63 letters, digits, hyphens, underscores and "
            "dots, with a letter or digit at both ends"
        )


def check_labels(labels: Any) -> None:
    """Refuse labels that Kubernetes would not take, or would set itself."""
    problem = mapping_problem(labels)
    if problem:
        raise NodeLabelsError(f"the labels of a node: the value {problem}")
    for key, value in labels.items():
        _check_key(key, "a label", _FREE_LABELS)
        _check_value(value, f"the label {key}")


def check_taints(taints: Any) -> None:
    """Refuse taints that Kubernetes would not take, or would set itself."""
    if not isinstance(taints, (list, tuple)):
        raise NodeLabelsError(f"the taints of a node: the value is {described(taints)}; expected a list")
    seen = set()
    for taint in taints:
        if not isinstance(taint, Mapping) or not {"key", "effect"} <= set(taint) <= {
            "key",
            "value",
            "effect",
        }:
            told = (
                f"has {', '.join(map(str, taint))}"
                if isinstance(taint, Mapping)
                else f"is {described(taint)}"
            )
            raise NodeLabelsError(f"a taint {told}; expected key, effect and, if need be, value")
        key, effect = taint["key"], taint["effect"]
        _check_key(str(key), "a taint", _FREE_TAINTS)
        _check_value(taint.get("value") or "", f"the value of the taint {key}")
        if effect not in EFFECTS:
            raise NodeLabelsError(
                f"the effect of the taint {key} is {effect!r}; expected one of {', '.join(EFFECTS)}"
            )
        if (key, effect) in seen:
            raise NodeLabelsError(f"the taint {key} with {effect} is a duplicate; expected it once")
        seen.add((key, effect))


@dataclass(frozen=True)
class Desired:
    """What the inventory names for a node."""

    labels: Mapping[str, str] = field(default_factory=dict)
    taints: Sequence[Mapping[str, str]] = ()

    def __bool__(self) -> bool:
        """Tell whether it names anything."""
        return bool(self.labels or self.taints)


def check_desired(name: str, desired: Any) -> None:
    """Refuse what is not labels and taints of a node."""
    if not isinstance(desired, Mapping) or set(desired) != {"labels", "taints"}:
        seen = sorted(map(str, desired)) if isinstance(desired, Mapping) else type(desired).__name__
        raise NodeLabelsError(f"what is desired of {name} is {seen}; expected labels and taints")


def parse(desired: Mapping[str, Any]) -> Desired:
    """Read what is desired for a node; its labels and taints were checked."""
    taints = [
        {name: str(taint[name]) for name in ("key", "value", "effect") if taint.get(name)}
        for taint in desired["taints"]
    ]
    return Desired(labels=dict(desired["labels"]), taints=taints)


def seen_nodes(text: str) -> dict[str, dict[str, Any]]:
    """Read what ``kubectl get nodes --output=json`` says of labels and taints, by the nodes' names."""
    found = {}
    for item in json.loads(text)["items"]:
        metadata = item["metadata"]
        annotations = metadata.get("annotations") or {}
        found[metadata["name"]] = {
            "labels": metadata.get("labels") or {},
            "annotations": {
                name: annotations[name] for name in (OUR_LABELS, OUR_TAINTS) if name in annotations
            },
            "taints": item.get("spec", {}).get("taints") or [],
            "version": metadata.get("resourceVersion", ""),
        }
    return found


@dataclass(frozen=True)
class Plan:
    """The changes of a node: as a merge patch, and in words."""

    patch: dict[str, Any]
    changes: list[str]


def _identity(taint: Mapping[str, Any]) -> str:
    return f"{taint['key']}:{taint['effect']}"


def _ours(seen: Mapping[str, Any], annotation: str) -> set[str]:
    return {name for name in seen.get("annotations", {}).get(annotation, "").split(",") if name}


def _annotations(seen: Mapping[str, Any], names: Mapping[str, Iterable[str]]) -> dict[str, str | None]:
    """Return the annotations that change; null removes one."""
    now = seen.get("annotations", {})
    desired = {annotation: ",".join(sorted(found)) or None for annotation, found in names.items()}
    return {annotation: text for annotation, text in desired.items() if text != now.get(annotation)}


def _label_changes(seen: Mapping[str, Any], desired: Desired) -> Iterator[tuple[str, str | None, str]]:
    now = seen.get("labels", {})
    for key in sorted((_ours(seen, OUR_LABELS) - set(desired.labels)) & set(now)):
        yield key, None, f"remove the label {key}"
    for key, value in desired.labels.items():
        if now.get(key) != value:
            yield key, value, f"set the label {key}={value}"


def _taint_changes(seen: Mapping[str, Any], desired: Desired) -> tuple[list[Mapping[str, Any]], list[str]]:
    there = {_identity(taint): taint for taint in seen.get("taints", ())}
    wished = {_identity(taint): taint for taint in desired.taints}
    gone = [name for name in there if name in _ours(seen, OUR_TAINTS) and name not in wished]
    new = [
        name
        for name, taint in wished.items()
        if name not in there or there[name].get("value", "") != taint.get("value", "")
    ]
    kept = [taint for name, taint in there.items() if name not in (*gone, *new)]
    told = [f"remove the taint {name}" for name in gone]
    for name in new:
        value = wished[name].get("value", "")
        told.append(f"set the taint {name.replace(':', f'={value}:' if value else ':', 1)}")
    return [*kept, *(wished[name] for name in new)], told


def plan(*, name: str, seen: Mapping[str, Any], desired: Desired) -> Plan | None:
    """Say how a node comes from what is seen to what is desired; None if it is so."""
    labels = list(_label_changes(seen, desired))
    taints, told = _taint_changes(seen, desired)
    annotations = _annotations(
        seen, {OUR_LABELS: desired.labels, OUR_TAINTS: [_identity(taint) for taint in desired.taints]}
    )
    metadata: dict[str, Any] = {}
    patch: dict[str, Any] = {"metadata": metadata}
    if labels:
        metadata["labels"] = {key: value for key, value, _text in labels}
    if annotations:
        metadata["annotations"] = annotations
    if told:
        patch["spec"] = {"taints": taints}
        # The list is replaced as a whole: somebody else's change of it meanwhile has to count.
        metadata["resourceVersion"] = seen.get("version", "")
    words = [f"{name}: {text}" for text in (*(text for _key, _value, text in labels), *told)]
    if annotations and not words:
        words = [f"{name}: note which labels and taints the inventory names"]
    return Plan(patch=patch, changes=words) if words else None
