# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes within the text of a kubeconfig: all that is not changed stays as it was written.

A loader and a dumper would not do: they have another version of YAML than kubectl, for which 0123, no and
2017-06-27T16:11:31Z become other values, and they lose the comments.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9+/=._:@-]*[A-Za-z0-9+/=_-]")
_ALIAS = re.compile(r"[\s:-]*\*[^\s,\]}]+")
_WORDS = {"true", "false", "yes", "no", "on", "off", "null"}

_PLAINER = (
    "expected the form that kubectl writes: run 'kubectl config view --raw --flatten', and put its output "
    "in place of the file"
)


class KubeconfigTextError(BrambleError):
    """The text cannot be read or changed."""


def load(text: str) -> Any:
    """Return what the text says, with each scalar as the text that it is."""
    node = _composed(text)
    try:
        return None if node is None else _value(node)
    except RecursionError as error:
        raise KubeconfigTextError("it contains itself, by an alias of YAML") from error


def _composed(text: str) -> yaml.Node | None:
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise KubeconfigTextError(f"it is not YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise KubeconfigTextError("it is nested too deeply") from error


def _value(node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        # Of a key that is a duplicate, kubectl takes the last as well.
        return {str(key.value): _value(value) for key, value in node.value}
    if isinstance(node, yaml.SequenceNode):
        return [_value(value) for value in node.value]
    return None if node.tag == "tag:yaml.org,2002:null" else str(node.value)


def _scalar(value: str | None, *, plain: bool = True) -> str:
    if value is None:
        return "null"
    if plain and _PLAIN.fullmatch(value) and value.lower() not in _WORDS and not value.endswith(":"):
        return value
    return json.dumps(value, ensure_ascii=False)


def _flow(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _block(value: Any, indent: int) -> Iterator[str]:
    """Write a mapping or a list that is not empty, as kubectl does, in lines."""
    space = " " * indent
    if isinstance(value, list):
        for entry in value:
            first, *rest = _block(entry, indent + 2)
            yield f"{space}- {first[indent + 2 :]}"
            yield from rest
        return
    for key, inner in value.items():
        if isinstance(inner, (dict, list)) and inner:
            yield f"{space}{_scalar(key)}:"
            yield from _block(inner, indent + (2 if isinstance(inner, dict) else 0))
        else:
            written = _flow(inner) if isinstance(inner, (dict, list)) else _scalar(inner)
            yield f"{space}{_scalar(key)}: {written}"


class _Edit:
    """The changes to one text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._newline = "\r\n" if "\r\n" in text else "\n"
        self._changes: list[tuple[int, int, str]] = []

    def result(self) -> str:
        done, at = "", 0
        for start, end, new in sorted(self._changes, key=lambda change: change[0]):
            done += self._text[at : max(at, start)] + new
            at = max(at, end)
        return done + self._text[at:]

    def _line_end(self, index: int) -> int:
        """Return where the line ends, before its newline."""
        end = self._text.find("\n", index)
        end = len(self._text) if end < 0 else end
        return end - 1 if self._text[index:end].endswith("\r") else end

    def _end(self, node: yaml.Node, lower: int) -> int:
        """Return where the content of a node ends; comments behind it are none."""
        if node.start_mark.index < lower:
            # It stands elsewhere, and here is its alias.
            alias = _ALIAS.match(self._text, lower)
            return alias.end() if alias else lower
        end = int(node.end_mark.index)
        if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
            last = node.value[-1]
            key, value = last if isinstance(last, tuple) else (None, last)
            return self._end(value, key.end_mark.index if key is not None else node.start_mark.index)
        return len(self._text[:end].rstrip("\r\n")) if self._text[:end].endswith("\n") else end

    def _insert_below(self, index: int, lines: Iterator[str]) -> None:
        at = self._line_end(index)
        self._changes.append((at, at, "".join(self._newline + line for line in lines)))

    def _remove_lines(self, start: int, end: int) -> None:
        """Remove from the line of one index to that of another."""
        before = self._text.rfind("\n", 0, start)
        before = before - 1 if before > 0 and self._text[before - 1] == "\r" else before
        self._changes.append((max(before, 0), self._line_end(end), ""))

    def change(self, node: yaml.Node, new: Any, *, key: yaml.Node | None, flow: bool, indent: int) -> None:
        """Have a node say something else. ``indent`` is that of its key."""
        old = _value(node)
        if old == new:
            return
        lower = key.end_mark.index if key is not None else 0
        if node.start_mark.index < lower:
            raise KubeconfigTextError(f"it uses YAML's aliases where it has to be changed; {_PLAINER}")
        end = self._end(node, lower)
        if isinstance(node, yaml.MappingNode) and isinstance(new, dict) and node.value and new:
            self._mapping(node, new, flow=flow or bool(node.flow_style))
        elif isinstance(node, yaml.SequenceNode) and isinstance(new, list) and node.value and new:
            self._sequence(node, new, flow=flow or bool(node.flow_style))
        elif isinstance(new, (dict, list)) and new and not flow:
            self._changes.append((node.start_mark.index, end, ""))
            inner = indent + (2 if isinstance(new, dict) else 0)
            self._insert_below(end, _block(new, inner))
        elif isinstance(new, (dict, list)):
            self._replace_value(node, end, _flow(new), key)
        else:
            self._replace_value(node, end, _scalar(new, plain=not flow), key)

    def _replace_value(self, node: yaml.Node, end: int, new: str, key: yaml.Node | None) -> None:
        start = int(node.start_mark.index)
        if key is not None and isinstance(node, yaml.CollectionNode) and not node.flow_style:
            # A block below its key gives way to a value beside it.
            colon = self._text.index(":", key.end_mark.index) + 1
            self._changes.append((colon, colon, f" {new}"))
            self._remove_lines(start, end)
            return
        # Nothing at all, as in 'clusters:', has no room before it.
        gap = " " if start == end and self._text[start - 1 : start] == ":" else ""
        self._changes.append((start, end, gap + new))

    def _mapping(self, node: yaml.MappingNode, new: Mapping[str, Any], *, flow: bool) -> None:
        last = {str(key.value): number for number, (key, _value_node) in enumerate(node.value)}
        column = int(node.start_mark.column)
        for number, (key, value) in enumerate(node.value):
            name = str(key.value)
            if name not in new:
                self._remove(node, number, flow=flow)
            elif last[name] == number:
                self.change(value, new[name], key=key, flow=flow, indent=column)
        added = {name: value for name, value in new.items() if name not in last}
        self._add(node, added, flow=flow, column=column)

    def _sequence(self, node: yaml.SequenceNode, new: list[Any], *, flow: bool) -> None:
        desired = {entry["name"]: entry for entry in new}
        present = [str(_value(entry)["name"]) for entry in node.value]
        for number, (name, entry) in enumerate(zip(present, node.value)):
            if name in desired:
                self.change(entry, desired[name], key=None, flow=flow, indent=0)
            else:
                self._remove(node, number, flow=flow)
        added = [entry for entry in new if entry["name"] not in present]
        self._add(node, added, flow=flow, column=int(node.start_mark.column))

    def _add(self, node: yaml.CollectionNode, added: Any, *, flow: bool, column: int) -> None:
        if not added:
            return
        if flow:
            last = node.value[-1]
            at = int((last[1] if isinstance(last, tuple) else last).end_mark.index)
            self._changes.append((at, at, f", {_flow(added)[1:-1]}"))
        else:
            self._insert_below(self._end(node, 0), _block(added, column))

    def _remove(self, node: yaml.CollectionNode, number: int, *, flow: bool) -> None:
        spans = [
            (int(entry[0].start_mark.index), entry[1]) if isinstance(entry, tuple) else (None, entry)
            for entry in node.value
        ]
        starts = [start if start is not None else int(entry.start_mark.index) for start, entry in spans]
        ends = [self._end(entry, start) for start, (_key, entry) in zip(starts, spans)]
        if flow and number + 1 < len(starts):
            self._changes.append((starts[number], starts[number + 1], ""))
        elif flow:
            self._changes.append((ends[number - 1] if number else starts[number], ends[number], ""))
        else:
            start = starts[number]
            if isinstance(node, yaml.SequenceNode):
                start = self._text.rindex("-", ends[number - 1] if number else 0, start)
            self._remove_lines(start, ends[number])


def changed(text: str, desired: Mapping[str, Any]) -> str:
    """Return the text changed so that it says what is desired, and proved to say so."""
    node = _composed(text)
    edit = _Edit(text)
    if node is None or _value(node) is None:
        newline = "\r\n" if "\r\n" in text else "\n"
        head = text if not text or text.endswith("\n") else text + newline
        result = head + "".join(line + newline for line in _block(desired, 0))
    else:
        flow = isinstance(node, yaml.CollectionNode) and bool(node.flow_style)
        edit.change(node, dict(desired), key=None, flow=flow, indent=0)
        result = edit.result()
    try:
        right = load(result) == desired
    except KubeconfigTextError:
        right = False
    if not right:
        raise KubeconfigTextError(
            f"it is written in a way in which it cannot be changed with all else left as it is; {_PLAINER}"
        )
    return result
