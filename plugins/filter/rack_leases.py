# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter bramble.pi.rack_leases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Callable

from ansible.errors import AnsibleFilterError
from ansible_collections.bramble.pi.plugins.module_utils._rack.bootptab import Entry
from ansible_collections.bramble.pi.plugins.plugin_utils._inventory import addresses, leases

DOCUMENTATION = r"""
name: rack_leases
short_description: List names, addresses and MACs of a rack, from its inventory
version_added: '0.1.0'
author: bramble.pi contributors (@bramble-pi)
description:
  - Returns an entry for each host in the groups C(nat_headnode), C(control_plane) and C(workers), for each
    other host with C(rack_services_mac), and for each further host of a bootptab file, whatever C(--limit)
    says, and connects to none of them.
  - Hosts that the inventory knows by a name alone, and no address, are left out.
positional: _input, groups, bootptab
requirements:
  - netaddr on the controller
options:
  _input:
    description: The variable C(hostvars).
    type: dict
    required: true
  groups:
    description: The variable C(groups).
    type: dict
    required: true
  bootptab:
    description: The hosts of a bootptab file, as the filter P(bramble.pi.bootptab#filter) returns them.
    type: list
    elements: dict
    default: []
"""

EXAMPLES = r"""
- name: Show who gets which address
  ansible.builtin.debug:
    msg: "{{ hostvars | bramble.pi.rack_leases(groups) }}"
"""

RETURN = r"""
_value:
  description: The entries, in the form that M(bramble.pi.rack_services#module) takes.
  type: list
  elements: dict
  sample: [{name: pi-2, address: 10.0.0.2, mac: 'b8:27:eb:5b:0d:0f', bootfile: '', expected: true}]
"""


def rack_leases(
    hostvars: Mapping[str, Mapping[str, Any]],
    groups: Mapping[str, Sequence[str]],
    bootptab: Sequence[Mapping[str, Any]] = (),
) -> list[dict[str, Any]]:
    """List who gets which address."""
    if not addresses.HAS_NETADDR:
        raise AnsibleFilterError("netaddr is missing on the controller: run pip install -r requirements.txt")
    hosts, problems = leases.merge(
        hosts=leases.inventory_hosts(hostvars=hostvars, groups=groups),
        bootptab=[Entry(**entry) for entry in bootptab],
    )
    if problems:
        raise AnsibleFilterError("; ".join(problems))
    return [host._asdict() for host in hosts]


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name the filter."""
        return {"rack_leases": rack_leases}
