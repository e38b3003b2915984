# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter bramble.pi.node_problems."""

from __future__ import annotations

from typing import Any, Callable

from ansible_collections.bramble.pi.plugins.plugin_utils._inventory import hosts

DOCUMENTATION = r"""
name: node_problems
short_description: Say why a host cannot become a node of the cluster
version_added: '0.1.0'
author: bramble.pi contributors (@bramble-pi)
description:
  - Judges the facts that M(bramble.pi.node_facts#module) has read.
  - Refused are other operating systems than Raspberry Pi OS, Debian and Ubuntu, other architectures than
    amd64 and arm64, a machine-id that another host of the play has too, and a new host name for a node that
    is part of a cluster.
positional: _input, host, hostname, play_hosts
options:
  _input:
    description: The variable C(hostvars).
    type: dict
    required: true
  host:
    description: The host to judge, by its name in the inventory.
    type: str
    required: true
  hostname:
    description: The host name that it is to have.
    type: str
    required: true
  play_hosts:
    description: The hosts whose machine-id is compared, by their names in the inventory.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Refuse what cannot become a node
  ansible.builtin.assert:
    that: hostvars | bramble.pi.node_problems('pi-1', 'pi-1', ansible_play_hosts_all) | length == 0
"""

RETURN = r"""
_value:
  description: A sentence for each problem, with the value seen, the value wanted and what mends it.
  type: list
  elements: str
  sample:
    - 'the architecture of the packages is armhf; wanted is arm64 or amd64: install a 64-bit image on pi-1'
"""


def node_problems(hostvars: Any, host: str, hostname: str, play_hosts: list[str]) -> list[str]:
    """List what is in the way of a host."""
    facts = {name: hostvars[name].get("ansible_facts", {}).get("bramble") for name in {host, *play_hosts}}
    return hosts.node_problems(
        host=host,
        hostname=hostname,
        facts=facts[host],
        machine_ids={name: facts[name]["machine_id"] for name in play_hosts if facts[name]},
    )


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name the filter."""
        return {"node_problems": node_problems}
