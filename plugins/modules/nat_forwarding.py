#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.nat_forwarding``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: nat_forwarding
short_description: Forward between a rack and the outside, with NAT
version_added: '0.1.0'
description:
  - Makes a head node the default gateway of the nodes behind it. What leaves by the outer interface gets its
    address, answers come back, and nothing else is forwarded from outside but what is sent to a forwarded
    port. The head's own address inside is not to be reached from outside.
  - The rules stand in an nftables table of their own, C(bramble_nat), and in an iptables chain of their own,
    C(BRAMBLE-NAT), so that neither kube-proxy's rules nor Docker's are saved, flushed or overridden. The
    chain is there because Docker and firewalls drop in iptables whatever is not accepted there.
  - The unit C(bramble-nat.service) loads them at each boot, before the network is up, and whenever
    C(nftables.service) is restarted. C(/etc/sysctl.d/90-bramble-nat.conf) keeps forwarding switched on.
author:
  - bramble.pi contributors (@bramble-pi)
extends_documentation_fragment:
  - bramble.pi.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
requirements:
  - nftables
  - iptables
options:
  inner_interface:
    description: The interface to the rack, such as V(eth0).
    type: str
    required: true
  outer_interface:
    description: The interface to the outside, such as V(wlan0).
    type: str
    required: true
  ipv6:
    description:
      - V(off) forwards no IPv6 between the rack and the outside.
      - V(routed) forwards it without NAT. The router outside has to send the rack's prefix to the head, and
        the head has to have an address of that prefix at O(inner_interface). Nothing enters unasked either.
    type: str
    choices: ['off', routed]
    default: 'off'
  cluster_networks:
    description: IPv4 networks that neither side may overlap, such as those of pods and services.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Make the head the rack's default gateway
  bramble.pi.nat_forwarding:
    inner_interface: eth0
    outer_interface: wlan0
"""

RETURN = r"""
changes:
  description: What was changed, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: [write /etc/bramble/nat.nft, restart bramble-nat.service]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import module_errors
from ansible_collections.bramble.pi.plugins.module_utils._network import nat
from ansible_collections.bramble.pi.plugins.module_utils._network.forwarding import Forwarding


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "inner_interface": {"type": "str", "required": True},
            "outer_interface": {"type": "str", "required": True},
            "ipv6": {"type": "str", "choices": [nat.OFF, nat.ROUTED], "default": nat.OFF},
            "cluster_networks": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    changes = Changes(check_mode=module.check_mode)
    forwarding = Forwarding(run=module.run_command, find=module.get_bin_path, changes=changes)
    with module_errors(module, result=changes.result):
        forwarding.ensure(
            inner=module.params["inner_interface"],
            outer=module.params["outer_interface"],
            ipv6=module.params["ipv6"],
            cluster_networks=module.params["cluster_networks"],
        )
    module.exit_json(**changes.result())


if __name__ == "__main__":
    main()
