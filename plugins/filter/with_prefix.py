# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter bramble.pi.with_prefix."""

from __future__ import annotations

from typing import Any, Callable

from ansible.errors import AnsibleFilterError
from ansible_collections.bramble.pi.plugins.plugin_utils._inventory import addresses

DOCUMENTATION = r"""
name: with_prefix
short_description: Write an address with the prefix of its network
version_added: '0.1.0'
author: bramble.pi contributors (@bramble-pi)
description:
  - Returns an IPv4 address as an interface is given it, with the length of its network's prefix.
positional: _input, network
requirements:
  - netaddr on the controller
options:
  _input:
    description: Address, such as V(10.0.0.2).
    type: str
    required: true
  network:
    description: The network that it is in, such as V(10.0.0.0/24).
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Show what the interface is given
  ansible.builtin.debug:
    msg: "{{ '10.0.0.2' | bramble.pi.with_prefix('10.0.0.0/24') }}" # 10.0.0.2/24
"""

RETURN = r"""
_value:
  description: The address with its prefix.
  type: str
  sample: 10.0.0.2/24
"""


def with_prefix(address: str, network: str) -> str:
    """Write an address with the prefix of its network."""
    if not addresses.HAS_NETADDR:
        raise AnsibleFilterError("netaddr is missing on the controller: run pip install -r requirements.txt")
    try:
        return addresses.with_prefix(address=address, network=network)
    except ValueError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name the filter."""
        return {"with_prefix": with_prefix}
