# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter bramble.pi.card_problems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Callable

from ansible_collections.bramble.pi.plugins.plugin_utils._cards import rack

DOCUMENTATION = r"""
name: card_problems
short_description: Say what is wrong with what the cards of a rack are to hold
version_added: '0.1.0'
author: bramble.pi contributors (@bramble-pi)
description:
  - Judges the inputs of the role flash for all nodes at once, as the role has read them.
  - With the images, it also judges whether each node's seed goes with its image, and has C(cloud-init schema)
    judge user-data of the user's own, where cloud-init is installed.
positional: _input, nodes, images, cards_dir
options:
  _input:
    description: The variable C(hostvars).
    type: dict
    required: true
  nodes:
    description: The nodes to judge, by their names in the inventory.
    type: list
    elements: str
    required: true
  images:
    description: For each node, what M(bramble.pi.os_image#module) returned.
    type: dict
  cards_dir:
    description: The folder with the nodes' host keys.
    type: path
"""

EXAMPLES = r"""
- name: Judge what the cards are to hold
  ansible.builtin.assert:
    that: hostvars | bramble.pi.card_problems(ansible_play_hosts) | length == 0
"""

RETURN = r"""
_value:
  description: A sentence for each problem, with the value seen, the value wanted and the variable to set.
  type: list
  elements: str
  sample:
    - 'pi-2: flash_wifi_psk has 7 characters: wanted are 8 to 63 of ASCII, or 64 hexadecimal digits'
"""


def card_problems(
    hostvars: Any, nodes: Sequence[str], images: Mapping[str, Any] | None = None, cards_dir: str = ""
) -> list[str]:
    """List the problems."""
    return rack.problems(hostvars=hostvars, nodes=nodes, images=images, cards_dir=cards_dir)


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name the filter."""
        return {"card_problems": card_problems}
