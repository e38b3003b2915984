# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter bramble.pi.card_node."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Callable

from ansible_collections.bramble.pi.plugins.plugin_utils._cards import node as cards_node

DOCUMENTATION = r"""
name: card_node
short_description: Read the inputs of the role flash as they count in the end
version_added: '0.1.0'
author: bramble.pi contributors (@bramble-pi)
description:
  - Returns the inputs with what stands for empty ones, such as the public keys of this user.
options:
  _input:
    description: The inputs of the role flash for a node, without their prefix, and its name.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show who may log in
  ansible.builtin.debug:
    msg: "{{ (values | bramble.pi.card_node).authorized_keys }}"
"""

RETURN = r"""
_value:
  description: The same inputs.
  type: dict
  sample: {name: pi-1, hostname: pi-1, user: pi, authorized_keys: [ssh-ed25519 AAAAC3Nza... you@laptop]}
"""


def card_node(values: Mapping[str, Any]) -> dict[str, Any]:
    """Read the inputs."""
    node = dataclasses.asdict(cards_node.card_node(values))
    return {key: list(value) if isinstance(value, tuple) else value for key, value in node.items()}


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name the filter."""
        return {"card_node": card_node}
