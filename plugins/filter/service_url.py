# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter bramble.pi.service_url."""

from __future__ import annotations

from typing import Any, Callable

from ansible_collections.bramble.pi.plugins.plugin_utils._inventory import urls

DOCUMENTATION = r"""
name: service_url
short_description: Write the URL of a service
version_added: '0.1.0'
author: bramble.pi contributors (@bramble-pi)
description:
  - Puts an address and a port together. A port that the address has already is kept, and an IPv6 address gets
    its brackets.
positional: _input, port
options:
  _input:
    description: A name or an address, with or without a port.
    type: str
    required: true
  port:
    description: The port if the address has none; that of the API server by default.
    type: int
    default: 6443
  scheme:
    description: How it is spoken to.
    type: str
    default: https
"""

EXAMPLES = r"""
- name: Show where the API server is
  ansible.builtin.debug:
    msg: "{{ '192.168.1.50' | bramble.pi.service_url }}" # https://192.168.1.50:6443
"""

RETURN = r"""
_value:
  description: The URL, without a slash at its end.
  type: str
  sample: https://192.168.1.50:6443
"""


def service_url(address: str, port: int = 6443, scheme: str = "https") -> str:
    """Write the URL."""
    return urls.service_url(address=str(address), port=int(port), scheme=scheme)


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name the filter."""
        return {"service_url": service_url}
