# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter bramble.pi.preflight_problems."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any, Callable

from ansible.utils.display import Display
from ansible_collections.bramble.pi.plugins.plugin_utils._preflight import check, inventory, values

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


def preflight_problems(
    hostvars: Mapping[str, Mapping[str, Any]],
    groups: Mapping[str, Sequence[str]],
    node_network: Any = "",
    known_variables: Any = None,
) -> list[str]:
    """List the problems, and warn of what is doubtful."""
    missing = [name for name in ("netaddr", "jmespath") if importlib.util.find_spec(name) is None]
    if missing:
        return [
            f"{' and '.join(missing)} not found on the controller: run pip install -r requirements.txt "
            "with the Python that runs Ansible"
        ]
    specs = inventory.role_options()
    checked = {*values.CONNECTION, *(name for options in specs.values() for name in options)}
    hosts = {host: inventory.read_variables(hostvars[host], checked) for host in hostvars}
    problems, warnings = check.validate(
        groups=groups,
        hosts=hosts,
        specs=specs,
        files=inventory.named_files(hosts),
        node_network=node_network,
        known_variables=[] if known_variables is None else known_variables,
    )
    for warning in warnings:
        Display().warning(warning)
    return problems


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name the filter."""
        return {"preflight_problems": preflight_problems}
