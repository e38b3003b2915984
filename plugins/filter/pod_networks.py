# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter bramble.pi.pod_networks."""

from __future__ import annotations

from typing import Any, Callable

from ansible.errors import AnsibleFilterError
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import pod_routes

DOCUMENTATION = r"""
name: pod_networks
short_description: Read the table of nodes and their pod CIDRs
version_added: '0.1.0'
author: bramble.pi contributors (@bramble-pi)
description:
  - Takes lines of name, pod CIDR and address, as kubectl's C(jsonpath) output prints them, and returns what
    the module M(bramble.pi.pod_routes) takes as its nodes.
options:
  _input:
    description: The lines.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Show the table
  ansible.builtin.debug:
    msg: "{{ 'pi-1 10.244.0.0/24 192.168.1.11' | bramble.pi.pod_networks }}"
"""

RETURN = r"""
_value:
  description: A dictionary for each node; the pod CIDR of a node that has none yet is empty.
  type: list
  elements: dict
  sample: [{name: pi-1, pod_cidr: 10.244.0.0/24, address: 192.168.1.11}]
"""


def pod_networks(table: str) -> list[dict[str, str]]:
    """Read the table."""
    try:
        return pod_routes.parse_table(str(table))
    except pod_routes.PodNetworkError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name the filter."""
        return {"pod_networks": pod_networks}
