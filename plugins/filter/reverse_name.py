# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter bramble.pi.reverse_name."""

from __future__ import annotations

from typing import Any, Callable

from ansible.errors import AnsibleFilterError
from ansible_collections.bramble.pi.plugins.plugin_utils._inventory import addresses

DOCUMENTATION = r"""
name: reverse_name
short_description: Name an address as reverse look-ups do
version_added: '0.1.0'
author: bramble.pi contributors (@bramble-pi)
description:
  - Returns the name under which the domain name system has the name of an address.
requirements:
  - netaddr on the controller
options:
  _input:
    description: Address, such as V(10.0.0.2).
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Show the name
  ansible.builtin.debug:
    msg: "{{ '10.0.0.2' | bramble.pi.reverse_name }}" # 2.0.0.10.in-addr.arpa
"""

RETURN = r"""
_value:
  description: The name, without a dot at its end.
  type: str
  sample: 2.0.0.10.in-addr.arpa
"""


def reverse_name(address: str) -> str:
    """Name an address as reverse look-ups do."""
    if not addresses.HAS_NETADDR:
        raise AnsibleFilterError("netaddr is missing on the controller: run pip install -r requirements.txt")
    try:
        return addresses.reverse_name(address=address)
    except ValueError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name the filter."""
        return {"reverse_name": reverse_name}
