#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.node_settings``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_settings
short_description: Set host name, hosts, kernel modules, sysctl and swap of a node in one step
version_added: '0.1.0'
description:
  - Puts the settings that Kubernetes wants into effect now and keeps them over reboots.
  - Options that are not given are left alone.
  - Files are replaced in one step. The parts of C(/etc/hosts) and C(/etc/fstab) that others wrote stay.
author:
  - bramble.pi contributors (@bramble-pi)
extends_documentation_fragment:
  - bramble.pi.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: partial
    details: Shows what changes in files, not what changes in the running kernel; RV(changes) names both.
  idempotent:
    support: full
options:
  hostname:
    description:
      - The host name, running and in C(/etc/hostname). A line C(127.0.1.1) in C(/etc/hosts) follows it.
      - Where cloud-init is installed it is told to leave the name alone, since it would set its own again.
    type: str
  hosts:
    description:
      - Entries for one marked block in C(/etc/hosts). An empty list takes the block away.
      - Where cloud-init is installed its template of that file is treated alike, because user-data can have
        the file written again from it at each boot.
    type: list
    elements: dict
    suboptions:
      address:
        description: IPv4 or IPv6 address.
        type: str
        required: true
      names:
        description: Names of the address, the main one first.
        type: list
        elements: str
        required: true
  kernel_modules:
    description:
      - Kernel modules to load now, and at each boot by C(/etc/modules-load.d/bramble.conf).
      - What is built into the kernel counts as loaded.
    type: list
    elements: str
  sysctl:
    description:
      - Kernel parameters and their values, set now if the running value is another, and at each boot by
        C(/etc/sysctl.d/99-bramble.conf).
    type: dict
  proxy_environment:
    description:
      - What the filter P(bramble.pi.proxy_environment#filter) returns, for apt, in
        C(/etc/apt/apt.conf.d/90-bramble-proxy). An empty one says that there is no proxy any more.
    type: dict
  swap:
    description:
      - V(off) switches swap off now and for good, whichever mechanism there is. It masks C(swap.target) and
        the services that are known to switch it on, such as C(dphys-swapfile), C(zramswap), C(zram-config)
        and C(swapspace), disables swap units that other targets want, sets C(Mechanism=none) for rpi-swap,
        and comments out the swap lines of C(/etc/fstab)
        (C(/etc/fstab.bramble-original) keeps the original).
      - V(keep) leaves swap as it is, for example on a USB disk of its own. The kubelet then needs
        C(failSwapOn=false).
    type: str
    choices: ['off', keep]
    default: keep
"""

EXAMPLES = r"""
- name: Prepare the node for Kubernetes
  bramble.pi.node_settings:
    hostname: pi-1
    hosts:
      - address: 192.168.1.11
        names: [pi-1]
      - address: 192.168.1.12
        names: [pi-2]
    kernel_modules: [overlay, br_netfilter]
    sysctl:
      net.bridge.bridge-nf-call-iptables: 1
      net.ipv4.ip_forward: 1
    swap: 'off'
"""

RETURN = r"""
changes:
  description: What was changed, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: [set net.ipv4.ip_forward from 0 to 1, mask swap.target]
pending:
  description: What takes effect with the next boot only.
  returned: success
  type: list
  elements: str
  sample: ['the kernel module br_netfilter is not loaded: /lib/modules/6.1.21-v8+ is gone since an upgrade']
reboot_required:
  description: Whether anything is pending.
  returned: success
  type: bool
  sample: false
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import module_errors
from ansible_collections.bramble.pi.plugins.module_utils._node.apply_settings import NodeSettings


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "hostname": {"type": "str"},
            "hosts": {
                "type": "list",
                "elements": "dict",
                "options": {
                    "address": {"type": "str", "required": True},
                    "names": {"type": "list", "elements": "str", "required": True},
                },
            },
            "kernel_modules": {"type": "list", "elements": "str"},
            "sysctl": {"type": "dict"},
            "proxy_environment": {"type": "dict"},
            "swap": {"type": "str", "choices": ["off", "keep"], "default": "keep"},
        },
        supports_check_mode=True,
    )

    def run(command: list[str]) -> tuple[int, str, str]:
        program = module.get_bin_path(command[0])
        if program is None:
            return 127, "", f"{command[0]} is not installed"
        status, stdout, stderr = module.run_command([program, *command[1:]])
        return int(status), str(stdout), str(stderr)

    parameters = module.params
    changes = Changes(check_mode=module.check_mode, run=run)
    settings = NodeSettings(run=run, warn=module.warn, changes=changes)
    with module_errors(module, result=settings.result):
        if parameters["hostname"] is not None:
            settings.set_hostname(parameters["hostname"])
        if parameters["hostname"] is not None or parameters["hosts"] is not None:
            settings.set_hosts(parameters["hostname"], parameters["hosts"])
        if parameters["proxy_environment"] is not None:
            settings.set_proxy(parameters["proxy_environment"])
        if parameters["kernel_modules"] is not None:
            settings.load_modules(parameters["kernel_modules"])
        if parameters["sysctl"] is not None:
            settings.set_sysctl(parameters["sysctl"])
        if parameters["swap"] == "off":
            settings.switch_swap_off()
    module.exit_json(**settings.result())


if __name__ == "__main__":
    main()
