#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action ``bramble.pi.flash_nodes``, which runs on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: flash_nodes
short_description: Read and check what the nodes of a rack are to be
version_added: '0.1.0'
description:
  - Reads the inputs of the role flash for all nodes at once, with what stands for empty ones, such as the
    public keys of this user, and names all that is wrong with them.
  - For the roles flash and netboot_tree, after the task file C(values) of the role flash.
  - The result holds secrets, such as keys of Wi-Fi networks; set C(no_log) on the task.
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
"""

EXAMPLES = r"""
- name: Read what the nodes are to be
  bramble.pi.flash_nodes:
    nodes: "{{ ansible_play_hosts }}"
  register: read
  no_log: true
  run_once: true

- name: Check what the nodes are to be
  ansible.builtin.assert:
    that: read.problems | length == 0
"""

RETURN = r"""
nodes:
  description:
    - For each node the inputs of the role flash, without their prefix.
    - Beside them C(image), how to come by its image as M(bramble.pi.os_image) takes it, C(image_number), its
      place in RV(images), and C(known_as), the names under which ssh looks for its host key.
  returned: success
  type: dict
  sample:
    pi-1:
      hostname: pi-1
      user: pi
      authorized_keys: [ssh-ed25519 AAAAC3Nza... you@laptop]
      image: {src: 'https://example.org/trixie.img.xz', checksum: ''}
      image_number: 0
      known_as: [192.168.1.101, pi-1]
images:
  description: How to come by each image that some node needs, each once.
  returned: success
  type: list
  elements: dict
  sample:
    - {src: 'https://example.org/trixie.img.xz', checksum: ''}
image_names:
  description: For each of RV(images) where it comes from, without user and password.
  returned: success
  type: list
  elements: str
  sample: ['https://example.org/trixie.img.xz']
problems:
  description: A sentence for each problem, with the value seen, the one expected and the variable to set.
  returned: success
  type: list
  elements: str
  sample:
    - 'pi-2: flash_image is not set: set it in group_vars/all.yml to the address or the file of an OS image'
"""
