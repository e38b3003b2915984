# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter bramble.pi.card_rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Callable

from ansible_collections.bramble.pi.plugins.plugin_utils._cards import rack

DOCUMENTATION = r"""
name: card_rows
short_description: List what became of each card
version_added: '0.1.0'
author: bramble.pi contributors (@bramble-pi)
description:
  - Takes the results of a loop over M(bramble.pi.sd_card#module), of which some may have failed.
options:
  _input:
    description: The results.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Note the cards down
  ansible.builtin.set_fact:
    cards: "{{ written.results | bramble.pi.card_rows }}"
"""

RETURN = r"""
_value:
  description: An entry for each card, as M(bramble.pi.sd_card#module) returns it.
  type: list
  elements: dict
  sample:
    - {node: pi-1, device: /dev/sdb, state: failed, error: no such device}
"""


def card_rows(results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """List the cards."""
    return rack.rows(results=results)


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name the filter."""
        return {"card_rows": card_rows}
