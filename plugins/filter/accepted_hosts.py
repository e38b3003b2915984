# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter bramble.pi.accepted_hosts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Callable

from ansible.errors import AnsibleFilterError
from ansible_collections.bramble.pi.plugins.plugin_utils._remote_access import (
    accepted_hosts as remote_access_accepted_hosts,
)

DOCUMENTATION = r"""
name: accepted_hosts
short_description: Turn networks into an exact expression for C(kubectl proxy)
version_added: '0.1.0'
author: bramble.pi contributors (@bramble-pi)
description:
  - C(^192.168.1) also accepts 192.168.100.7 and 192.168.1.evil.example. This accepts the addresses of the
    networks and nothing else.
options:
  _input:
    description: IPv4 networks.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Show the expression for a network
  ansible.builtin.debug:
    msg: "{{ ['192.168.1.0/30'] | bramble.pi.accepted_hosts }}"
"""

RETURN = r"""
_value:
  description: The expression, anchored at both ends and without commas.
  type: str
  sample: ^(192[.]168[.]1[.](0|1|2|3))$
"""


def accepted_hosts(networks: Sequence[str]) -> str:
    """Make the expression."""
    try:
        return remote_access_accepted_hosts.accepted_hosts(networks)
    except remote_access_accepted_hosts.AcceptedHostsError as error:
        raise AnsibleFilterError(f"remote_access_proxy_networks: {error}") from error


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name the filter."""
        return {"accepted_hosts": accepted_hosts}
