# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter bramble.pi.card_batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Callable

from ansible_collections.bramble.pi.plugins.plugin_utils._cards import rack

DOCUMENTATION = r"""
name: card_batches
short_description: Group cards by the image that they get
version_added: '0.1.0'
author: bramble.pi contributors (@bramble-pi)
description:
  - Cards with the same image are written in one go.
positional: _input, nodes, images, cards_dir, device
options:
  _input:
    description: The variable C(hostvars).
    type: dict
    required: true
  nodes:
    description: The nodes, by their names in the inventory.
    type: list
    elements: str
    required: true
  images:
    description: For each node, what M(bramble.pi.os_image#module) returned.
    type: dict
    required: true
  cards_dir:
    description: The folder with the nodes' seeds.
    type: path
    required: true
  device:
    description: The device of the card, instead of the one that the node has.
    type: str
    default: ''
"""

EXAMPLES = r"""
- name: Write all cards
  bramble.pi.sd_card:
    image: "{{ item.image }}"
    cards: "{{ item.cards }}"
  loop: "{{ hostvars | bramble.pi.card_batches(ansible_play_hosts, images, cards_dir) }}"
"""

RETURN = r"""
_value:
  description: An entry for each image, with what M(bramble.pi.sd_card#module) takes.
  type: list
  elements: dict
  sample:
    - image: /home/pi/.cache/bramble/images/9f86d081.img.zst
      cards: [{node: pi-1, device: /dev/sdb, seed: /home/pi/.cache/bramble/cards/pi-1/seed.json}]
"""


def card_batches(
    hostvars: Any, nodes: Sequence[str], images: Mapping[str, Any], cards_dir: str, device: str = ""
) -> list[dict[str, Any]]:
    """Group the cards."""
    return rack.batches(hostvars=hostvars, nodes=nodes, images=images, cards_dir=cards_dir, device=device)


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name the filter."""
        return {"card_batches": card_batches}
