#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.uplink``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: uplink
short_description: Connect an interface to the outside, by Wi-Fi or by wire
version_added: '0.1.0'
description:
  - Has an interface take its address by DHCP, and join a Wi-Fi network if one is given, through the network
    manager that is in charge (NetworkManager, netplan, dhcpcd, ifupdown or systemd-networkd).
  - Refuses to change the interface that the connection of Ansible itself comes by, over IPv4 or IPv6.
author:
  - bramble.pi contributors (@bramble-pi)
extends_documentation_fragment:
  - bramble.pi.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    details: The files hold the key of the Wi-Fi network.
  idempotent:
    support: full
options:
  interface:
    description: The interface, such as V(wlan0) or V(eth1).
    type: str
    required: true
  ssid:
    description: Name of the Wi-Fi network; empty for a wired interface.
    type: str
    default: ''
  psk:
    description: Its passphrase or key; empty if it is open.
    type: str
    default: ''
  country:
    description: The country that the Wi-Fi is in, such as V(DE); required with O(ssid).
    type: str
    default: ''
  hidden:
    description: Whether the network does not tell its name.
    type: bool
    default: false
  manager:
    description: The network manager; V(auto) finds it.
    type: str
    choices: [auto, ifupdown, netplan, networkmanager, dhcpcd, networkd]
    default: auto
  force:
    description: Consent to change the interface that the connection comes by.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Join the Wi-Fi
  bramble.pi.uplink:
    interface: wlan0
    ssid: Our home
    psk: "{{ vault_wifi_psk }}"
    country: DE
"""

RETURN = r"""
manager:
  description: The network manager in charge.
  returned: success
  type: str
  sample: networkmanager
changes:
  description: What was changed, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: [write /etc/netplan/90-bramble-uplink.yaml, bring wlan0 up]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import module_errors
from ansible_collections.bramble.pi.plugins.module_utils._network import detect, uplink
from ansible_collections.bramble.pi.plugins.module_utils._network.node import Node
from ansible_collections.bramble.pi.plugins.module_utils._network.wifi import Wifi, check


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "interface": {"type": "str", "required": True},
            "ssid": {"type": "str", "default": ""},
            "psk": {"type": "str", "default": "", "no_log": True},
            "country": {"type": "str", "default": ""},
            "hidden": {"type": "bool", "default": False},
            "manager": {"type": "str", "choices": ["auto", *detect.MANAGERS], "default": "auto"},
            "force": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    module.run_command_environ_update = {"LC_ALL": "C.UTF-8"}
    node = Node(run=module.run_command, has=lambda program: module.get_bin_path(program) is not None)
    changes = Changes(check_mode=module.check_mode)
    interface = module.params["interface"]
    with module_errors(module, result=changes.result):
        wifi = None
        if module.params["ssid"]:
            wifi = Wifi(*(module.params[name] for name in Wifi._fields))
            check(wifi, variables="nat_headnode_wifi")
        if module.params["manager"] == "auto":
            manager = detect.for_uplink(node=node, interface=interface)
        else:
            manager = detect.MANAGERS[module.params["manager"]]
        uplink.ensure(
            node=node,
            changes=changes,
            manager=manager,
            interface=interface,
            wifi=wifi,
            force=module.params["force"],
            warn=module.warn,
        )
    module.exit_json(manager=manager.name, **changes.result())


if __name__ == "__main__":
    main()
