# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter bramble.pi.preflight_problems."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Callable

import yaml
from ansible.utils.display import Display
from ansible_collections.bramble.pi.plugins.plugin_utils._preflight import check
from ansible_collections.bramble.pi.plugins.plugin_utils._preflight.rack import UNKNOWN, Rack
from jinja2.exceptions import UndefinedError
from jinja2.runtime import Undefined

DOCUMENTATION = r"""
name: preflight_problems
short_description: List what is wrong with a rack, from its inventory alone
version_added: '0.1.0'
author: bramble.pi contributors (@bramble-pi)
description:
  - Checks all groups, hosts and variables of the inventory, whatever C(--limit) says, and connects to
    none of them.
  - What is doubtful but may work comes as a warning; what cannot work is returned.
  - Defaults and known variables are those of the argument specifications of the collection's roles.
positional: _input, groups
requirements:
  - netaddr and jmespath on the controller
options:
  _input:
    description: The variable C(hostvars).
    type: dict
    required: true
  groups:
    description: The variable C(groups).
    type: dict
    required: true
  node_network:
    description: The network that the nodes are in, such as V(192.168.1.0/24); empty if not told.
    type: str
    default: ''
  known_variables:
    description: Variables of your own whose names begin like those of the collection's roles.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Show what is wrong
  ansible.builtin.debug:
    msg: "{{ hostvars | bramble.pi.preflight_problems(groups, node_network='192.168.1.0/24') }}"
"""

RETURN = r"""
_value:
  description: A sentence for each problem, with the value seen, the value expected and the variable to set.
  type: list
  elements: str
  sample:
    - "control_plane_pod_cidr is '10.244.0.1/16', which has host bits set: the network is '10.244.0.0/16';
      set it in group_vars/all.yml"
"""

ROLES = Path(__file__).resolve().parents[2] / "roles"
#: Of Ansible's own variables, those that the checks look at.
CONNECTION = frozenset(["ansible_connection", "ansible_host"])


def _role_options() -> dict[str, dict[str, Any]]:
    specs = {}
    for path in sorted(ROLES.glob("*/meta/argument_specs.yml")):
        entry_points = yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"].values()
        specs[path.parts[-3]] = {
            name: option for entry in entry_points for name, option in entry.get("options", {}).items()
        }
    return specs


def _evaluated(value: Any) -> Any:
    """Evaluate a value to its ends; what cannot be known yet raises UndefinedError."""
    if isinstance(value, Undefined):
        raise UndefinedError
    if isinstance(value, Mapping):
        return {key: _evaluated(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_evaluated(item) for item in value]
    return value


def _variables(hostvars: Mapping[str, Any], checked: Collection[str]) -> dict[str, Any]:
    # Only what is checked is evaluated: other variables may ask a vault, or a person.
    variables = dict.fromkeys(hostvars, UNKNOWN)
    for name in checked:
        if name in hostvars:
            try:
                variables[name] = _evaluated(hostvars[name])
            except UndefinedError:
                # Made from facts, or from what exists only later.
                continue
    return variables


def _named_files(hosts: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Read the files that the inventory names."""
    texts = {}
    for variables in hosts.values():
        path = variables.get("rack_services_bootptab")
        if isinstance(path, str) and path and path not in texts and os.path.isfile(os.path.expanduser(path)):
            texts[path] = Path(path).expanduser().read_text(encoding="utf-8", errors="replace")
    return texts


def preflight_problems(
    hostvars: Mapping[str, Mapping[str, Any]],
    groups: Mapping[str, Sequence[str]],
    node_network: str = "",
    known_variables: Sequence[str] = (),
) -> list[str]:
    """List the problems, and warn of what is doubtful."""
    missing = [name for name in ("netaddr", "jmespath") if importlib.util.find_spec(name) is None]
    if missing:
        return [
            f"{' and '.join(missing)} not found on the controller: run pip install -r requirements.txt "
            "with the Python that runs Ansible"
        ]
    specs = _role_options()
    checked = CONNECTION.union(*specs.values())
    hosts = {host: _variables(hostvars[host], checked) for host in hostvars}
    rack = Rack(groups=groups, hosts=hosts, specs=specs, files=_named_files(hosts))
    problems, warnings = check.validate(rack=rack, node_network=node_network, known_variables=known_variables)
    for warning in warnings:
        Display().warning(warning)
    return problems


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name the filter."""
        return {"preflight_problems": preflight_problems}
