#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.rack_scan``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rack_scan
short_description: Find the Raspberry Pis on a network
version_added: '0.1.0'
description:
  - Lists all devices with the MAC of a Raspberry Pi, as dnsmasq's leases, the neighbour table and requests
    for an address show them, and writes hosts for an inventory.
  - Runs on the controller or on the head, whichever is in the network of the Pis. Sends nothing but an empty
    datagram to each address of O(network), so that the kernel asks for its MAC.
  - Requests are heard while the module listens; a Pi asks when it is switched on. One that boots from the
    network also tells its serial number, when it asks for an address or for a file by TFTP, and its model.
author:
  - bramble.pi contributors (@bramble-pi)
extends_documentation_fragment:
  - bramble.pi.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  network:
    description: Network whose addresses are all tried, such as V(192.168.1.0/24); empty for none.
    type: str
    default: ''
  listen:
    description: How many seconds to listen to requests for an address; needs root privileges.
    type: int
    default: 0
  leases:
    description: dnsmasq's file of leases.
    type: path
    default: /var/lib/misc/dnsmasq.leases
"""

EXAMPLES = r"""
- name: Find the Pis
  bramble.pi.rack_scan:
    network: 192.168.1.0/24
    listen: 60
"""

RETURN = r"""
found:
  description: The Raspberry Pis.
  returned: success
  type: list
  elements: dict
  contains:
    mac:
      description: The MAC.
      type: str
      returned: success
      sample: dc:a6:32:01:36:c2
    address:
      description: The address; empty if none was seen.
      type: str
      returned: success
      sample: 192.168.1.23
    hostname:
      description: What it calls itself; empty if it did not say.
      type: str
      returned: success
      sample: raspberrypi
    serial:
      description: The last eight digits of the serial number; empty if it did not say.
      type: str
      returned: success
      sample: 6a1b9c04
    model:
      description: The model, or what the MAC tells of it.
      type: str
      returned: success
      sample: Raspberry Pi 4B
    seen:
      description: Where it was seen.
      type: list
      elements: str
      returned: success
      sample: [lease, neighbour]
inventory:
  description: Hosts for an inventory, in YAML.
  returned: success
  type: str
  sample: "all:\n  hosts:\n    pi-1:\n      ansible_host: 192.168.1.23\n"
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common.commands import output_of
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import module_errors
from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text
from ansible_collections.bramble.pi.plugins.module_utils._rack import discovery, scan


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "network": {"type": "str", "default": ""},
            "listen": {"type": "int", "default": 0},
            "leases": {"type": "path", "default": "/var/lib/misc/dnsmasq.leases"},
        },
        supports_check_mode=True,
    )
    with module_errors(module):
        if module.params["network"]:
            discovery.wake(module.params["network"])
        heard = discovery.listen(module.params["listen"]) if module.params["listen"] else []
        leases = scan.leases(text=read_text(module.params["leases"]) or "")
        table = output_of(module.run_command, ["ip", "-json", "neighbour", "show"])
    found = scan.merge([*leases, *scan.neighbours(ip_json=table), *heard])
    module.exit_json(
        changed=False, found=[pi._asdict() for pi in found], inventory=scan.inventory(found) if found else ""
    )


if __name__ == "__main__":
    main()
