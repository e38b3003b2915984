# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter bramble.pi.card_seed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Callable

from ansible_collections.bramble.pi.plugins.plugin_utils._cards import rack

DOCUMENTATION = r"""
name: card_seed
short_description: Build the seed of a node's card
version_added: '0.1.0'
author: bramble.pi contributors (@bramble-pi)
description:
  - Builds the files of the boot partition that make an OS image a certain node at its first boot, in the form
    that the image reads.
  - The result holds secrets, such as the node's SSH host key.
positional: _input, image, cards_dir
options:
  _input:
    description: The inputs of the role flash for this node, without their prefix, and its name.
    type: dict
    required: true
  image:
    description: What M(bramble.pi.os_image#module) returned.
    type: dict
    required: true
  cards_dir:
    description: The folder with the nodes' host keys.
    type: path
    required: true
"""

EXAMPLES = r"""
- name: Make the seed of a card
  ansible.builtin.copy:
    content: "{{ values | bramble.pi.card_seed(os_image.image, '/home/pi/.cache/bramble/cards') | to_json }}"
    dest: /home/pi/.cache/bramble/cards/pi-1/seed.json
    mode: "0600"
  no_log: true
"""

RETURN = r"""
_value:
  description: The seed document, in the form that M(bramble.pi.sd_card#module) takes.
  type: dict
  sample:
    id: pi-1-8d2f0c1a77e3
    node: pi-1
    files: {meta-data: "instance-id: pi-1-8d2f0c1a77e3\\n"}
    absent: []
    config_txt: []
    cmdline: {present: [cgroup_enable=memory], absent: [], set: {}}
"""


def card_seed(values: Mapping[str, Any], image: Mapping[str, Any], cards_dir: str) -> dict[str, Any]:
    """Build the seed."""
    return rack.seed(values=values, image=image, cards_dir=cards_dir)


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name the filter."""
        return {"card_seed": card_seed}
