# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the checks need of Ansible: the roles' options, the hosts' variables and the files that they name."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.bramble.pi.plugins.plugin_utils._preflight.rack import UNKNOWN
from jinja2.exceptions import UndefinedError
from jinja2.runtime import Undefined

ROLES = Path(__file__).resolve().parents[3] / "roles"


def role_options() -> dict[str, dict[str, dict[str, Any]]]:
    """Read the options of all roles, by role."""
    specs = {}
    for path in sorted(ROLES.glob("*/meta/argument_specs.yml")):
        entry_points = yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"].values()
        specs[path.parts[-3]] = {
            name: option for entry in entry_points for name, option in entry.get("options", {}).items()
        }
    return specs


def evaluated(value: Any) -> Any:
    """Evaluate a value to its ends; what cannot be known yet raises UndefinedError."""
    if isinstance(value, Undefined):
        raise UndefinedError
    if isinstance(value, Mapping):
        return {key: evaluated(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [evaluated(item) for item in value]
    return value


def read_variables(hostvars: Mapping[str, Any], checked: Collection[str]) -> dict[str, Any]:
    """Read the variables of a host, with the values of those that are checked.

    Others are not evaluated: they may ask a vault, or a person. A name that is no string, such as 5, is none
    of ours; Ansible has a warning for it.
    """
    variables: dict[str, Any] = dict.fromkeys((name for name in hostvars if isinstance(name, str)), UNKNOWN)
    for name in checked:
        if name in hostvars:
            try:
                variables[name] = evaluated(hostvars[name])
            except UndefinedError:
                # Made from facts, or from what exists only later.
                continue
    return variables


def named_files(hosts: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Read the files on the controller that the inventory names; those that are not there are left out."""
    texts = {}
    for variables in hosts.values():
        path = variables.get("rack_services_bootptab")
        if isinstance(path, str) and path and path not in texts:
            try:
                texts[path] = Path(path).expanduser().read_text(encoding="utf-8", errors="replace")
            except (OSError, RuntimeError, ValueError):
                # No such file or home, or a name that no file can have: check_services reports it.
                continue
    return texts
