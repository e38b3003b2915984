#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action ``bramble.pi.flash_seeds``, which runs on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: flash_seeds
short_description: Make host keys and seeds for the cards of a rack
version_added: '0.1.0'
description:
  - Makes an SSH host key for each node, unless it has one, and the seed of its card, which is what makes an
    OS image this node at its first boot, in the form that the image reads.
  - Checks before whether each seed goes with its image, and has C(cloud-init schema) check user-data of the
    user's own, where cloud-init is installed. If anything speaks against one of them, no seed is written.
  - Says how the cards are written, those with the same image in one go.
notes:
  - Runs on the controller and connects to no node.
  - Keys and seeds are secrets; their folders and files are readable by the user alone.
author:
  - bramble.pi contributors (@bramble-pi)
extends_documentation_fragment:
  - bramble.pi.attributes
attributes:
  check_mode:
    support: full
    details:
      - Keys and seeds are made in check mode as well, as what would be written to a card cannot be told
        without them. No card and no node is touched.
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
  images:
    description:
      - The results of a loop over RV(bramble.pi.flash_nodes#module:images) with M(bramble.pi.os_image).
      - Nodes whose image was not fetched, as in check mode, are left out.
    type: list
    elements: dict
    required: true
  cards_dir:
    description: The folder for the nodes' host keys and seeds, a folder in it for each node.
    type: path
    required: true
seealso:
  - module: bramble.pi.flash_nodes
  - module: bramble.pi.sd_card
"""

EXAMPLES = r"""
- name: Make the seeds of the cards
  bramble.pi.flash_seeds:
    nodes: "{{ ansible_play_hosts }}"
    images: "{{ images.results }}"
    cards_dir: ~/.cache/bramble/cards
  register: seeds
  run_once: true

- name: Write the cards that have a reader each
  bramble.pi.sd_card:
    image: "{{ item.image }}"
    cards: "{{ item.cards }}"
  loop: "{{ seeds.batches }}"
  become: true
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
problems:
  description: A sentence for each problem, with the value seen, the one expected and the variable to set.
  returned: success
  type: list
  elements: str
  sample: []
batches:
  description: For each image the cards that have a reader of their own, as M(bramble.pi.sd_card) takes them.
  returned: success
  type: list
  elements: dict
  sample:
    - image: /home/ada/.cache/bramble/images/9f86d081.img.zst
      cards: [{node: pi-1, device: /dev/sdb, seed: /home/ada/.cache/bramble/cards/pi-1/seed.json}]
one_reader:
  description: The cards that share one reader, with the size of their image in bytes.
  returned: success
  type: list
  elements: dict
  sample:
    - node: pi-2
      image: /home/ada/.cache/bramble/images/9f86d081.img.zst
      size: 2914000896
      seed: /home/ada/.cache/bramble/cards/pi-2/seed.json
known_hosts:
  description: What ssh is to know of the nodes, as M(bramble.pi.known_hosts) takes it.
  returned: success
  type: list
  elements: dict
  sample:
    - {name: pi-1, known_as: [192.168.1.101, pi-1], keys: [ssh-ed25519 AAAAC3Nza... root@pi-1]}
"""
