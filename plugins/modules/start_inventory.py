#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action ``bramble.pi.start_inventory``, which runs on the controller alone."""

from __future__ import annotations

DOCUMENTATION = r"""
module: start_inventory
short_description: Write the first inventory of a rack
version_added: '0.1.0'
description:
  - Asks at the terminal for what cannot be found out, each question with a default and its reason,
    looks for the rest, and writes the folder of an inventory that the playbook preflight accepts.
  - An option that is set is not asked for. Where there is no terminal, each of the others takes its default.
  - The folder is there as a whole or not at all, also after Ctrl-C or a kill. One that exists is never
    changed.
author:
  - bramble.pi contributors (@bramble-pi)
extends_documentation_fragment:
  - bramble.pi.attributes
attributes:
  check_mode:
    support: full
    details:
      - Asks and looks, and writes nothing.
  diff_mode:
    support: none
  idempotent:
    support: none
    details:
      - A folder that exists is refused.
options:
  folder:
    description: Folder that is made. By default V(my-rack).
    type: str
  shape:
    description:
      - V(router) for nodes on a router, V(nat) for nodes on a switch behind a head, V(netboot) for the same
        with a card in the head alone. By default V(router).
    type: str
  search:
    description:
      - Network that is searched for boards, as M(bramble.pi.rack_scan) does it; V(none) for no search.
      - By default that of the controller's default gateway for O(shape=router), V(none) for others.
    type: str
  nodes:
    description: How many nodes there are, a head among them. By default as many as were found, at least 3.
    type: str
  address:
    description:
      - With O(shape=router), the address of the first node that was not found; others have the
        next free ones.
      - Otherwise the name or address that the head is reached at. By default that of a board that was found,
        else V(pi-1.local).
    type: str
  user:
    description: User that Ansible logs in as. By default V(pi).
    type: str
  wifi_ssid:
    description: Name of the Wi-Fi that the head joins, V(none) for none.
    type: str
  wifi_country:
    description: Country of that Wi-Fi, by its two letters. By default that of the controller's time zone.
    type: str
  wifi_psk:
    description: Key of that Wi-Fi, V(none) for an open one. It is written into a file of its own.
    type: str
  network:
    description:
      - Network of the nodes. By default O(search) or that of the controller's default gateway; behind a head,
        one that the controller has no route to.
    type: str
  gateway:
    description:
      - Default gateway and name server of new nodes with O(shape=router). By default the controller's own,
        if it is in O(network); V(none) leaves their addresses to the router's DHCP server.
    type: str
  boards:
    description:
      - Boards that are known, instead of a search. Each has C(mac), and may have C(address), C(serial) and
        C(hostname).
    type: list
    elements: dict
  image:
    description: OS image for cards, a URL or a file. By default the newest one of O(image_list).
    type: str
  image_list:
    description: List of OS images, a URL or a file; empty for the image that was the newest at the release.
    type: str
    default: https://downloads.raspberrypi.com/os_list_imagingutility_v4.json
  timezone:
    description: Time zone of the nodes. By default that of the controller.
    type: str
seealso:
  - module: bramble.pi.rack_scan
"""

EXAMPLES = r"""
- name: Write an inventory for four nodes on a router
  bramble.pi.start_inventory:
    folder: my-rack
    shape: router
    nodes: 4
    network: 192.168.1.0/24
    address: 192.168.1.101
"""

RETURN = r"""
folder:
  description: The folder.
  returned: success
  type: str
  sample: /home/ada/my-rack
files:
  description: The files in it.
  returned: success
  type: list
  elements: str
  sample: [group_vars/all.yml, hosts.yml]
next:
  description: The commands to run next, in their order.
  returned: success
  type: list
  elements: str
  sample: [ansible-playbook -i my-rack bramble.pi.site]
"""
