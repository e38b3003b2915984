# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter bramble.pi.ssh_hosts."""

from __future__ import annotations

from typing import Any, Callable

from ansible_collections.bramble.pi.plugins.plugin_utils._inventory import ssh

DOCUMENTATION = r"""
name: ssh_hosts
short_description: List the hosts of a rack as a user reaches them by ssh
version_added: '0.1.0'
author: bramble.pi contributors (@bramble-pi)
description:
  - Returns an entry for each host in the groups C(nat_headnode), C(control_plane) and C(workers), whatever
    C(--limit) says, and connects to none of them.
  - All but the head are reached through the head, unless C(ssh_access_jump) says otherwise.
  - Host keys are those that M(ansible.builtin.setup#module) has gathered, for hosts where it has.
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
- name: Show how the rack is reached
  ansible.builtin.debug:
    msg: "{{ hostvars | bramble.pi.ssh_hosts(groups) }}"
"""

RETURN = r"""
_value:
  description:
    - For each host an entry in the form that M(bramble.pi.ssh_config#module) takes, and what
      M(bramble.pi.known_hosts#module) takes.
  type: list
  elements: dict
  sample:
    - entry: {names: [pi-2], address: 10.0.0.2, user: pi, port: 22, jump: pi-1}
      known: {name: pi-2, known_as: [10.0.0.2, pi-2], keys: []}
"""


def ssh_hosts(hostvars: Any, groups: Any) -> list[dict[str, Any]]:
    """List the hosts."""
    return ssh.rack_hosts(hostvars=hostvars, groups=groups)


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name the filter."""
        return {"ssh_hosts": ssh_hosts}
