# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter bramble.pi.node_names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Callable

DOCUMENTATION = r"""
name: node_names
short_description: Name the nodes of a cluster, from its inventory alone
version_added: '0.1.0'
author: bramble.pi contributors (@bramble-pi)
description:
  - Returns the name in the cluster of each host in the groups C(control_plane) and C(workers), whatever
    C(--limit) says, and connects to none of them.
  - The name is C(os_prep_hostname), else the host's name in the inventory, in lower case as kubeadm has it.
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
- name: Show the names
  ansible.builtin.debug:
    msg: "{{ hostvars | bramble.pi.node_names(groups) }}"
"""

RETURN = r"""
_value:
  description: The names by host.
  type: dict
  sample: {pi-1: pi-1, 192.168.1.12: pi-2}
"""


def node_names(
    hostvars: Mapping[str, Mapping[str, Any]], groups: Mapping[str, Sequence[str]]
) -> dict[str, str]:
    """Name the nodes."""
    hosts = dict.fromkeys([*groups.get("control_plane", ()), *groups.get("workers", ())])
    return {host: str(hostvars[host].get("os_prep_hostname", host)).lower() for host in hosts}


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name the filter."""
        return {"node_names": node_names}
