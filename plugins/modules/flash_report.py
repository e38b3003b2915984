#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action ``bramble.pi.flash_report``, which runs on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: flash_report
short_description: Make a table of what became of the cards of a rack
version_added: '0.1.0'
description:
  - Has a line for each node, also for those without a card. In check mode it tells what would become of them.
notes:
  - Runs on the controller and connects to no node.
author:
  - bramble.pi contributors (@bramble-pi)
extends_documentation_fragment:
  - bramble.pi.attributes
attributes:
  check_mode:
    support: full
    details:
      - Nothing is changed.
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  nodes:
    description: The nodes, by their names in the inventory.
    type: list
    elements: str
    required: true
  cards:
    description: What became of the cards, as RV(bramble.pi.sd_card#module:cards).
    type: list
    elements: dict
    required: true
seealso:
  - module: bramble.pi.sd_card
"""

EXAMPLES = r"""
- name: Make the table of the cards
  bramble.pi.flash_report:
    nodes: "{{ ansible_play_hosts }}"
    cards: "{{ written.cards }}"
  register: report
  run_once: true

- name: Show the cards
  ansible.builtin.debug:
    msg: "{{ report.table }}"
  run_once: true
"""

RETURN = r"""
table:
  description: The lines of the table, the first of which names the columns.
  returned: success
  type: list
  elements: str
  sample:
    - NODE  DEVICE    STATE    IMAGE                 WRITTEN  SECONDS  VERIFIED
    - pi-1  /dev/sdb  written  raspios-trixie.img    2.1 GB   61       yes
failures:
  description: Which cards failed, and why; empty if none did.
  returned: success
  type: str
  sample: ''
"""
