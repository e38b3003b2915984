# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter bramble.pi.card_names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Callable

from ansible_collections.bramble.pi.plugins.plugin_utils._cards import rack

DOCUMENTATION = r"""
name: card_names
short_description: List the names under which ssh looks for the host keys of nodes
version_added: '0.1.0'
author: bramble.pi contributors (@bramble-pi)
description:
  - These are the address that Ansible connects to and the node's host name, with the port if it is not 22.
positional: _input, hostvars
options:
  _input:
    description: The cards, as P(bramble.pi.card_rows#filter) returns them.
    type: list
    elements: dict
    required: true
  hostvars:
    description: The variable C(hostvars).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show the names
  ansible.builtin.debug:
    msg: "{{ cards | bramble.pi.card_names(hostvars) }}"
"""

RETURN = r"""
_value:
  description: Pairs of a node and one of its names.
  type: list
  elements: list
  sample: [[pi-1, 192.168.1.101], [pi-1, pi-1]]
"""


def card_names(rows: Sequence[Mapping[str, Any]], hostvars: Any) -> list[list[str]]:
    """List the names."""
    return rack.names(rows=rows, hostvars=hostvars)


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name the filter."""
        return {"card_names": card_names}
