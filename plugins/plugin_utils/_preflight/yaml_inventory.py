# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of an inventory in YAML is read by Ansible, and what is left out, some of it with a warning alone."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterator, Mapping
from typing import Any, NamedTuple

import yaml
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError

SECTIONS = ("hosts", "children", "vars")
_KINDS = {str: "a text", bool: "a boolean", int: "a number", float: "a number", list: "a list"}


class YamlInventoryError(BrambleError):
    """A text is not YAML; what and where is said as yaml says it."""


class Duplicate(NamedTuple):
    """A key that stands twice in one mapping, of which YAML keeps the last alone."""

    key: Any
    line: int


class _Loader(yaml.SafeLoader):
    """Reads values as they are, and notes keys that stand twice."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.duplicates: list[Duplicate] = []

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key_node, _value in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag == "tag:yaml.org,2002:merge":
                continue
            if (key_node.tag, key_node.value) in seen:
                self.duplicates.append(Duplicate(key_node.value, key_node.start_mark.line + 1))
            seen.add((key_node.tag, key_node.value))
        return super().construct_mapping(node, deep)


# Values with a tag, such as !vault, are none of ours.
_Loader.add_multi_constructor("!", lambda _loader, _suffix, _node: None)


def load(text: str) -> tuple[Any, list[Duplicate]]:
    """Read a text, and the keys that stand twice in it; YamlInventoryError says where it is not YAML."""
    try:
        # As Ansible does it: JSON may have tabs, which YAML has not.
        return json.loads(text), []
    except ValueError:
        pass
    try:
        loader = _Loader(text)
        return loader.get_single_data(), loader.duplicates
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise YamlInventoryError(f"{place}{error.problem or error.context}") from None
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise YamlInventoryError(" ".join(str(error).split())) from None


def _kind(value: Any) -> str:
    """Name what a value is; itself it may be a secret that is in the wrong place."""
    return "a mapping" if isinstance(value, Mapping) else _KINDS.get(type(value), f"a {type(value).__name__}")


def _name(value: Any) -> str:
    """Write a name of another type as it stands in the file."""
    return "null" if value is None else f"{_kind(value)}, {str(value).lower()}"


def is_inventory(data: Any) -> bool:
    """Tell whether a document is meant as an inventory: one of its keys is a group with a section."""
    return isinstance(data, Mapping) and any(
        name == "all" or (isinstance(group, Mapping) and any(section in group for section in SECTIONS))
        for name, group in data.items()
    )


def problems(data: Any, duplicates: list[Duplicate]) -> Iterator[str]:
    """Say what Ansible does not read of an inventory."""
    if data is not None and not isinstance(data, Mapping):
        yield f"it is {_kind(data)}; expected a mapping of groups, such as 'all:'"
    else:
        for name, group in (data or {}).items():
            yield from _group_problems(name, group)
    for key, line in duplicates:
        yield f"line {line}: {key} is a duplicate, and what the first one holds is lost; expected it once"


def _group_problems(name: Any, group: Any) -> Iterator[str]:
    if not isinstance(name, str):
        yield f"a group's name is {_name(name)}; expected a text: put it in quotes"
    if group is None:
        return
    if not isinstance(group, Mapping):
        yield f"group {name} is {_kind(group)}; expected a mapping with hosts, children or vars"
        return
    for section, value in group.items():
        if section not in SECTIONS:
            yield f"group {name} has the key {section!r}; expected one of hosts, children, vars"
        elif isinstance(value, str):
            # The one name of a host or group alone; for variables there is no such form.
            if section == "vars":
                yield f"vars of group {name} is {_kind(value)}; expected a mapping of variables"
        elif value is not None and not isinstance(value, Mapping):
            entries = "variables" if section == "vars" else f"{section}, each with a colon: 'pi-1:'"
            yield f"{section} of group {name} is {_kind(value)}; expected a mapping of {entries}"
        elif section == "children":
            for child, content in (value or {}).items():
                yield from _group_problems(child, content)
        elif section == "hosts":
            yield from _host_problems(name, value or {})


def _host_problems(group: Any, hosts: Mapping[Any, Any]) -> Iterator[str]:
    for host, variables in hosts.items():
        if not isinstance(host, str):
            yield f"a host's name in group {group} is {_name(host)}; expected a text: put it in quotes"
        elif variables is not None and not isinstance(variables, Mapping):
            yield (
                f"host {host} in group {group} is {_kind(variables)}; expected a mapping of variables, such "
                f"as '{{ansible_host: 192.168.1.101}}'"
            )
