# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter bramble.pi.card_table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Callable

from ansible_collections.bramble.pi.plugins.plugin_utils._cards import rack

DOCUMENTATION = r"""
name: card_table
short_description: Make a table of the cards of a rack
version_added: '0.1.0'
author: bramble.pi contributors (@bramble-pi)
description:
  - Has a line for each node, also for those without a card.
positional: _input, nodes, check_mode
options:
  _input:
    description: What became of the cards, as P(bramble.pi.card_rows#filter) returns it.
    type: list
    elements: dict
    required: true
  nodes:
    description: The nodes, by their names in the inventory.
    type: list
    elements: str
    required: true
  check_mode:
    description: Whether it tells what would become of them.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Show the cards
  ansible.builtin.debug:
    msg: "{{ cards | bramble.pi.card_table(ansible_play_hosts) }}"
"""

RETURN = r"""
_value:
  description: The lines of the table, the first of which names the columns.
  type: list
  elements: str
  sample:
    - NODE  DEVICE    STATE    IMAGE                 WRITTEN  SECONDS  VERIFIED
    - pi-1  /dev/sdb  written  raspios-trixie.img    2.1 GB        61  yes
"""


def card_table(
    rows: Sequence[Mapping[str, Any]], nodes: Sequence[str], check_mode: bool = False
) -> list[str]:
    """Make the table."""
    return rack.table(rows=rows, nodes=nodes, check_mode=check_mode)


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name the filter."""
        return {"card_table": card_table}
