# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter bramble.pi.rack_hosts."""

from __future__ import annotations

from typing import Any, Callable

from ansible_collections.bramble.pi.plugins.plugin_utils._inventory import hosts

DOCUMENTATION = r"""
name: rack_hosts
short_description: List addresses and names of a rack, from its inventory alone
version_added: '0.1.0'
author: bramble.pi contributors (@bramble-pi)
description:
  - Returns an entry for each host in the groups C(nat_headnode), C(control_plane) and C(workers), whatever
    C(--limit) says, and connects to none of them.
  - The address is C(os_prep_address), else C(ansible_host), else the host's name in the inventory. The names
    are C(os_prep_hostname), if it is set, and the host's name in the inventory.
positional: _input, groups
options:
  _input:
    description: The variable C(hostvars).
    type: dict
    required: true
  groups:
    description: The variable C(groups).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show the rack
  ansible.builtin.debug:
    msg: "{{ hostvars | bramble.pi.rack_hosts(groups) }}"
"""

RETURN = r"""
_value:
  description: The entries, in the form that M(bramble.pi.node_settings#module) takes.
  type: list
  elements: dict
  sample:
    - address: 192.168.1.11
      names: [pi-1]
"""


def rack_hosts(hostvars: Any, groups: Any) -> list[dict[str, Any]]:
    """List the hosts of the rack."""
    return hosts.rack_hosts(hostvars=hostvars, groups=groups)


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name the filter."""
        return {"rack_hosts": rack_hosts}
