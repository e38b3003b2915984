# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter bramble.pi.bootptab."""

from __future__ import annotations

from typing import Any, Callable

from ansible.errors import AnsibleFilterError
from ansible_collections.bramble.pi.plugins.module_utils._rack.bootptab import BootptabError, parse_bootptab

DOCUMENTATION = r"""
name: bootptab
short_description: Read a bootptab file
version_added: '0.1.0'
author: bramble.pi contributors (@bramble-pi)
description:
  - Takes the text of a C(bootptab) file as macOS has it, with a section that is ignored, a line C(%%), and
    a line for each host with name, hardware type, MAC, address and boot file.
  - Bad lines are all named at once, with their numbers.
options:
  _input:
    description: The text.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Show the hosts of a bootptab file
  ansible.builtin.debug:
    msg: "{{ lookup('ansible.builtin.file', '/etc/bootptab') | bramble.pi.bootptab }}"
"""

RETURN = r"""
_value:
  description: A dictionary for each host, with the number of its line; without a boot file that one is empty.
  type: list
  elements: dict
  sample: [{line: 8, name: rpi1, mac: 'b8:27:eb:5b:0d:0f', address: 192.168.2.101, bootfile: boot}]
"""


def bootptab(text: str) -> list[dict[str, Any]]:
    """Read the file."""
    try:
        return [entry._asdict() for entry in parse_bootptab(text=str(text))]
    except BootptabError as error:
        raise AnsibleFilterError(
            f"the bootptab file (rack_services_bootptab) is not as it should be: {error}"
        ) from error


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name the filter."""
        return {"bootptab": bootptab}
