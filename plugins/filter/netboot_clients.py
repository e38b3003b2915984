# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter bramble.pi.netboot_clients."""

from __future__ import annotations

from typing import Any, Callable

from ansible_collections.bramble.pi.plugins.plugin_utils._inventory import netboot

DOCUMENTATION = r"""
name: netboot_clients
short_description: List the nodes that boot over the network, and what the server gives to each
version_added: '0.1.0'
author: bramble.pi contributors (@bramble-pi)
description:
  - Returns the hosts of the group C(netboot), whatever C(--limit) says, and connects to none of them.
positional: _input, groups, folder
options:
  _input:
    description: The variable C(hostvars).
    type: dict
    required: true
  groups:
    description: The variable C(groups).
    type: dict
    required: true
  folder:
    description: The folder of the trees, as the role netboot_tree made them.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Show what is served to whom
  ansible.builtin.debug:
    msg: "{{ (hostvars | bramble.pi.netboot_clients(groups, '/srv/netboot')).exports }}"
"""

RETURN = r"""
_value:
  description:
    - In C(nodes) the name of each node, its tag in dnsmasq, address, MAC and serial number.
    - In C(exports) the folders that are served, each with the address that it is for.
  type: dict
  sample:
    nodes:
      - {name: pi-2, tag: pi-2, address: 10.0.0.12, mac: 'dc:a6:32:00:00:02', serial: 6a1b9c04}
    exports:
      - {path: /srv/netboot/nfs/pi-2, address: 10.0.0.12}
      - {path: /srv/netboot/tftp/6a1b9c04, address: 10.0.0.12}
"""


def netboot_clients(hostvars: Any, groups: Any, folder: str) -> dict[str, list[dict[str, str]]]:
    """List the nodes and the folders."""
    return netboot.netboot_clients(hostvars=hostvars, groups=groups, folder=folder)


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name the filter."""
        return {"netboot_clients": netboot_clients}
