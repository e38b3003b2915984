# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter bramble.pi.live_view_boards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Callable

DOCUMENTATION = r"""
name: live_view_boards
short_description: List the boards of a rack for the live view
version_added: '0.1.0'
author: bramble.pi contributors (@bramble-pi)
description:
  - Takes what each node printed of C(/proc/device-tree/model), and returns name and model of each, in that
    order. A node without a model, or that is off, is listed without.
positional: _input, names
options:
  _input:
    description: The results of a loop over the nodes, with the host as its item.
    type: list
    elements: dict
    required: true
  names:
    description: The names in the cluster by host, as P(bramble.pi.node_names#filter) returns them.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Ask the nodes for their model
  ansible.builtin.command: cat /proc/device-tree/model
  register: models
  loop: [pi-1, pi-2]
  delegate_to: "{{ item }}"
  changed_when: false

- name: Show the boards
  ansible.builtin.debug:
    msg: "{{ models.results | bramble.pi.live_view_boards({'pi-1': 'pi-1', 'pi-2': 'pi-2'}) }}"
"""

RETURN = r"""
_value:
  description: The boards.
  type: list
  elements: dict
  sample:
    - name: pi-1
      model: Raspberry Pi 4 Model B Rev 1.4
"""


def live_view_boards(results: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> list[dict[str, str]]:
    """List the boards."""
    # The kernel ends its texts with a zero byte.
    return [
        {"name": names[result["item"]], "model": str(result.get("stdout", "")).rstrip("\0")}
        for result in results
    ]


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name the filter."""
        return {"live_view_boards": live_view_boards}
