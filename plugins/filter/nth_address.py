# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter bramble.pi.nth_address."""

from __future__ import annotations

from typing import Any, Callable

from ansible.errors import AnsibleFilterError
from ansible_collections.bramble.pi.plugins.plugin_utils._inventory import addresses

DOCUMENTATION = r"""
name: nth_address
short_description: Take the n-th address of a network
version_added: '0.1.0'
author: bramble.pi contributors (@bramble-pi)
description:
  - Returns one address of a network by its number, counted from the network's own address, which is number 0.
positional: _input, n
requirements:
  - netaddr on the controller
options:
  _input:
    description: Network in CIDR notation, such as V(10.96.0.0/12).
    type: str
    required: true
  n:
    description: Number of the address; a negative one counts from the end, V(-1) being the last.
    type: int
    required: true
"""

EXAMPLES = r"""
- name: Show the address that Kubernetes gives to the cluster's DNS
  ansible.builtin.debug:
    msg: "{{ '10.96.0.0/12' | bramble.pi.nth_address(10) }}" # 10.96.0.10
"""

RETURN = r"""
_value:
  description: The address.
  type: str
  sample: 10.96.0.10
"""


def nth_address(cidr: str, n: int) -> str:
    """Take the n-th address."""
    if not addresses.HAS_NETADDR:
        raise AnsibleFilterError("netaddr is missing on the controller: run pip install -r requirements.txt")
    try:
        return addresses.nth_address(cidr=cidr, n=n)
    except ValueError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name the filter."""
        return {"nth_address": nth_address}
