#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.dhcp_renew``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: dhcp_renew
short_description: Renew a node's DHCP lease
version_added: '0.1.0'
description:
  - Has the interface with a given address renew its lease, through systemd-networkd, NetworkManager, dhcpcd
    or ifupdown, whichever manages it.
  - This happens a moment after the module has ended, as the connection may not outlive it.
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
    support: none
    details: Every run renews the lease.
options:
  address:
    description: The address that the interface has now.
    type: str
    required: true
  delay:
    description: How many seconds to wait before.
    type: int
    default: 3
"""

EXAMPLES = r"""
- name: Ask for an address again
  bramble.pi.dhcp_renew:
    address: 10.0.0.17
"""

RETURN = r"""
interface:
  description: The interface.
  returned: success
  type: str
  sample: eth0
command:
  description: What renews its lease.
  returned: success
  type: list
  elements: str
  sample: [networkctl, reconfigure, eth0]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common.addresses import interface_addresses
from ansible_collections.bramble.pi.plugins.module_utils._common.commands import output_of
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import module_errors
from ansible_collections.bramble.pi.plugins.module_utils._network import dhcp_renew
from ansible_collections.bramble.pi.plugins.module_utils._network.node import Node


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "address": {"type": "str", "required": True},
            "delay": {"type": "int", "default": 3},
        },
        supports_check_mode=True,
    )
    # What is parsed is in English.
    module.run_command_environ_update = {"LC_ALL": "C.UTF-8"}
    run = module.run_command
    node = Node(run=run, has=lambda program: module.get_bin_path(program) is not None)
    with module_errors(module):
        interface = dhcp_renew.interface_of(
            address=module.params["address"], interfaces=interface_addresses(run)
        )
        command = dhcp_renew.renew_command(node=node, interface=interface)
        if not module.check_mode:
            timer = ["systemd-run", "--collect", f"--on-active={module.params['delay']}"]
            output_of(run, [*timer, "--timer-property=AccuracySec=100ms", "--", *command])
    module.exit_json(changed=True, interface=interface, command=command)


if __name__ == "__main__":
    main()
