# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The values of the inventory, each as the type that its role has specified.

They are read once, before all other checks: these get a value of the right type, or none.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.bramble.pi.plugins.plugin_utils._preflight.rack import (
    UNKNOWN,
    Finding,
    Undefined,
    is_template,
)

#: Of Ansible's own variables, those that the checks look at.
CONNECTION = {
    "ansible_connection": {"type": "str"},
    "ansible_host": {"type": "str"},
    "ansible_port": {"type": "int"},
}

_TYPES = {
    "str": "a string",
    "path": "a path",
    "int": "an integer",
    "float": "a number",
    "bool": "true or false",
    "list": "a list",
    "dict": "a dictionary",
}
_ELEMENTS = {"str": "strings", "path": "paths", "int": "integers", "dict": "dictionaries"}
_WHERE = "in group_vars or host_vars"
#: A message is a line or two, whatever a variable holds.
_LONGEST = 120


_CONTAINERS = (list, tuple, set, Mapping)


class _Lost(NamedTuple):
    """A value of another type, which ansible-core would convert, or the roles not all in the same way."""

    what: str
    value: Any
    expected: str


def _shown(value: Any) -> str:
    """Write a value as it stands in an inventory."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = str(value) if isinstance(value, datetime.date) else repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _expected(option: Mapping[str, Any], value: Any = None) -> str:
    kind, elements = option.get("type", "str"), option.get("elements")
    if "choices" in option:
        return f"{'a list of' if kind == 'list' else 'one of'} {', '.join(map(str, option['choices']))}"
    if elements in _ELEMENTS:
        return f"a list of {_ELEMENTS[elements]}"
    if kind in ("str", "path") and not (value is None or isinstance(value, (str, *_CONTAINERS))):
        return f"{_TYPES[kind]} in quotes"
    return _TYPES.get(kind, "a value")


def _is_scalar(value: Any, kind: str) -> bool:
    """Tell whether a value is of the type, as far as ansible-core does not look itself."""
    if value is None:
        return False
    if kind in ("str", "path"):
        # A number, a date or the word off would become its text in Python.
        return isinstance(value, str)
    return not (kind in ("int", "float") and isinstance(value, bool))


def _losses(what: str, value: Any, option: Mapping[str, Any]) -> Iterator[_Lost]:
    """Find what ansible-core's validation accepts and makes something else of."""
    kind = option.get("type", "str")
    if kind == "list" and isinstance(value, list):
        element = {"type": option.get("elements", "raw"), "options": option.get("options")}
        for number, item in enumerate(value, start=1):
            yield from _losses(f"entry {number} of {what}", item, element)
    elif kind == "dict" and isinstance(value, Mapping):
        for name, sub in (option.get("options") or {}).items():
            if name in value:
                yield from _losses(f"{name} of {what}", value[name], sub)
    elif kind in ("list", "dict") or not _is_scalar(value, kind):
        yield _Lost(what, value, _expected(option, value))


def _validated(name: str, value: Any, option: Mapping[str, Any]) -> tuple[Any, list[str]]:
    try:
        result = ArgumentSpecValidator({name: {**option, "required": False}}).validate({name: value})
    except (ArithmeticError, TypeError, ValueError) as error:
        # ansible-core does not catch all that its conversions raise: an infinite number is not an integer.
        return UNKNOWN, [str(error)]
    return result.validated_parameters.get(name), list(result.error_messages)


def _mistakes(name: str, value: Any, option: Mapping[str, Any], messages: Sequence[str]) -> Iterator[str]:
    """Say what is wrong with a value, by what ansible-core says of it and what it does not say."""
    losses = list(_losses(name, value, option))
    if option.get("no_log"):
        if messages or losses:
            yield f"{name} is a secret that is not shown here; expected {_expected(option, value)}"
    elif messages and not losses:
        # In a list or a dictionary it is not plain what is wrong.
        inside = isinstance(value, {"list": list, "dict": Mapping}.get(option.get("type", "str"), ()))
        detail = f" ({'; '.join(messages)})" if inside else ""
        yield f"{name} is {_shown(value)}; expected {_expected(option)}{detail}"
    for what, part, expected in losses if not option.get("no_log") else ():
        yield f"{what} is {_shown(part)}; expected {expected}"


def _remedy(name: str, value: Any, option: Mapping[str, Any]) -> str:
    if value is None:
        return f"set {name} {_WHERE}, or leave it out"
    if option.get("type", "str") in ("list", "dict") and isinstance(value, str):
        return (
            f'set {name} {_WHERE}, or on the command line as JSON, such as -e \'{{"variable": ["value"]}}\''
        )
    return f"set {name} {_WHERE}"


def read_value(name: str, value: Any, option: Mapping[str, Any]) -> tuple[Any, list[Finding]]:
    """Return a value as the option's type, else UNKNOWN, and what is wrong with it."""
    if isinstance(value, Undefined):
        return UNKNOWN, [
            Finding(
                f"{name} has the variable {value.name} in it, which is not defined; expected one of the "
                f"inventory: set {value.name} {_WHERE}, or correct its name in {name}"
            )
        ]
    if value is UNKNOWN or is_template(value):
        return UNKNOWN, []
    typed, messages = _validated(name, value, option)
    # The word off is a boolean to YAML. Where it is one of the choices, ansible-core restores it.
    restored = isinstance(value, bool) and typed in option.get("choices", ())
    mistakes = [] if restored else list(_mistakes(name, value, option, messages))
    if mistakes:
        return UNKNOWN, [Finding(f"{text}: {_remedy(name, value, option)}") for text in mistakes]
    return typed, []


def read_values(
    hosts: Mapping[str, Mapping[str, Any]], options: Mapping[str, Mapping[str, Any]]
) -> tuple[dict[str, dict[str, Any]], list[Finding]]:
    """Return the hosts with each known variable as its type, and what is wrong with the others' values."""
    findings: list[Finding] = []
    typed: dict[str, dict[str, Any]] = {}
    for host, variables in hosts.items():
        typed[host] = dict(variables)
        for name, value in variables.items():
            if name in options:
                typed[host][name], found = read_value(name, value, options[name])
                findings += [finding._replace(host=host) for finding in found]
    return typed, findings
