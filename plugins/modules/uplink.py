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
  - Refuses to change the interface that the connection of Ansible itself comes by.
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
    choices: [auto, networkmanager, netplan, dhcpcd, ifupdown, networkd]
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

import glob
import json
import os
import stat

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text, write_text
from ansible_collections.bramble.pi.plugins.module_utils._network import uplink

_UNITS = ("NetworkManager", "dhcpcd", "systemd-networkd")


def _manager(module: AnsibleModule) -> str:
    if module.params["manager"] != "auto":
        return str(module.params["manager"])
    states = module.run_command(["systemctl", "is-active", *_UNITS])[1].split()
    return uplink.choose_manager(
        active=[unit for unit, state in zip(_UNITS, states) if state == "active"],
        netplan=bool(glob.glob("/etc/netplan/*.yaml")),
        ifupdown=os.path.exists("/etc/network/interfaces") and module.get_bin_path("ifup") is not None,
    )


def _carries_ssh(module: AnsibleModule, interface: str) -> bool:
    status, stdout, _stderr = module.run_command(["ip", "-json", "-4", "address", "show", "dev", interface])
    links = json.loads(stdout) if status == 0 else []
    addresses = [entry["local"] for link in links for entry in link.get("addr_info", ())]
    return uplink.carries_ssh(tcp=read_text("/proc/net/tcp") or "", addresses=addresses)


def _apply(module: AnsibleModule, commands: list[list[str]]) -> None:
    for command in commands:
        if module.get_bin_path(command[0], opt_dirs=["/usr/sbin", "/sbin"]) is None:
            continue
        status, stdout, stderr = module.run_command(command)
        # Out of reach of the network, or before the driver is there, it comes up later by itself.
        if status != 0:
            module.warn(f"{' '.join(command)} ended with {status}: {(stderr or stdout).strip()}")


def ensure(module: AnsibleModule) -> tuple[str, list[str]]:
    """Ensure that the interface is configured; return the manager and what was changed."""
    parameters = module.params
    wifi = None
    if parameters["ssid"]:
        wifi = uplink.Wifi(*(parameters[name] for name in uplink.Wifi._fields))
        uplink.check_wifi(wifi)
    interface = parameters["interface"]
    manager = _manager(module)
    changes = []
    differing = [
        file
        for file in uplink.files(manager=manager, interface=interface, wifi=wifi)
        if read_text(file.path) != file.text or stat.S_IMODE(os.stat(file.path).st_mode) != file.mode
    ]
    if differing and not parameters["force"] and _carries_ssh(module, interface):
        raise uplink.UplinkError(
            f"{interface} would change ({', '.join(file.path for file in differing)}), and the connection to "
            "this node comes by it; wanted is a connection that outlives a mistake: connect over the rack's "
            "switch, set nat_headnode_uplink to keep if the interface is as it should be, or consent by "
            "nat_headnode_uplink_force=true"
        )
    for file in differing:
        changes.append(f"write {file.path}")
        if not module.check_mode:
            write_text(file.path, file.text, mode=file.mode)
            os.chmod(file.path, file.mode)
    if differing:
        changes.append(f"bring {interface} up")
        if not module.check_mode:
            _apply(module, uplink.commands(manager=manager, interface=interface, wifi=wifi))
    return manager, changes


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "interface": {"type": "str", "required": True},
            "ssid": {"type": "str", "default": ""},
            "psk": {"type": "str", "default": "", "no_log": True},
            "country": {"type": "str", "default": ""},
            "hidden": {"type": "bool", "default": False},
            "manager": {"type": "str", "choices": ["auto", *uplink.MANAGERS], "default": "auto"},
            "force": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    module.run_command_environ_update = {"LC_ALL": "C.UTF-8"}
    try:
        manager, changes = ensure(module)
    except PermissionError as error:
        module.fail_json(msg=f"{error}; wanted are the rights of root: set become to true")
    except (ValueError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(changes), manager=manager, changes=changes)


if __name__ == "__main__":
    main()
