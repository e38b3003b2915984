# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter bramble.pi.reverse_zones."""

from __future__ import annotations

from typing import Any, Callable

from ansible.errors import AnsibleFilterError
from ansible_collections.bramble.pi.plugins.plugin_utils._inventory import addresses

DOCUMENTATION = r"""
name: reverse_zones
short_description: Name the zones of reverse look-ups of a network
version_added: '0.1.0'
author: bramble.pi contributors (@bramble-pi)
description:
  - Returns the zones of the domain name system that hold the names of an IPv4 network's addresses.
  - Zones are cut at whole bytes, so that a network that is not has several of them, or shares one.
requirements:
  - netaddr on the controller
options:
  _input:
    description: Network, such as V(10.0.0.0/24).
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Show the zones
  ansible.builtin.debug:
    msg: "{{ '10.0.2.0/23' | bramble.pi.reverse_zones }}"
"""

RETURN = r"""
_value:
  description: The zones.
  type: list
  elements: str
  sample: [2.0.10.in-addr.arpa, 3.0.10.in-addr.arpa]
"""


def reverse_zones(network: str) -> list[str]:
    """Name the zones of reverse look-ups of a network."""
    if not addresses.HAS_NETADDR:
        raise AnsibleFilterError("netaddr is missing on the controller: run pip install -r requirements.txt")
    try:
        return addresses.reverse_zones(network=network)
    except ValueError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name the filter."""
        return {"reverse_zones": reverse_zones}
