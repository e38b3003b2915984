#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.rack_services``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rack_services
short_description: Serve DHCP, DNS and time to a rack's own network
version_added: '0.1.0'
description:
  - Configures dnsmasq to give names, and addresses by DHCP to hosts whose MAC is known, and chrony to give
    the time. Both listen at one interface alone, beside whatever else resolves names on the node.
  - Writes C(/etc/dnsmasq.d/bramble.conf) and C(/etc/chrony/conf.d/bramble.conf), starts both services, and
    has them started at each boot. dnsmasq tests its file before it takes the place of the former one.
  - Leases that stand against the static addresses are released. Where a host has to move to another address
    by that, its lease stays and it is named, so that it can be told to renew it, which dnsmasq then refuses;
    what is left is released with O(release).
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
  - dnsmasq
  - chrony 4.0 or newer
options:
  interface:
    description: The interface to the rack, such as V(eth0).
    type: str
    required: true
  address:
    description: The node's own address there, such as V(10.0.0.1).
    type: str
    required: true
  network:
    description: The rack's network, such as V(10.0.0.0/24).
    type: str
    required: true
  domain:
    description: The domain of the rack's names.
    type: str
    required: true
  hosts:
    description: The hosts of the rack.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Its name, without or with the domain.
        type: str
        required: true
      address:
        description: Its address.
        type: str
        required: true
      mac:
        description: Its MAC address, by which it gets the address; empty if it gets none.
        type: str
        default: ''
      bootfile:
        description: File that it is told to boot from; empty for none.
        type: str
        default: ''
      expected:
        description: Whether O(timeout) is for this host as well, if it has a MAC.
        type: bool
        default: false
  reverse_zones:
    description: Zones of the network's reverse names, such as V(0.0.10.in-addr.arpa).
    type: list
    elements: str
    default: []
  dhcp_range:
    description: Addresses for hosts whose MAC is not known, such as V(10.0.0.100-10.0.0.199); empty for none.
    type: str
    default: ''
  lease_time:
    description: How long a lease lasts, as dnsmasq writes it.
    type: str
    default: 12h
  router:
    description: The default gateway that leases name; empty for none.
    type: str
    default: ''
  resolvers:
    description: Name servers that are asked for all other names; empty for those that the node itself has.
    type: list
    elements: str
    default: []
  dnsmasq_options:
    description: Further lines for dnsmasq's configuration.
    type: list
    elements: str
    default: []
  ntp_servers:
    description: Time servers that are asked beside those that chrony comes with.
    type: list
    elements: str
    default: []
  ipv6:
    description: Whether to advertise the IPv6 prefix that O(interface) has.
    type: bool
    default: false
  release:
    description: Whether to release the leases of hosts that have to move.
    type: bool
    default: false
  timeout:
    description:
      - How many seconds to wait for expected hosts after a change; a warning names those that were not seen.
      - With V(0) there is no waiting.
      - Where hosts have to move yet, there is waiting only with O(release), and then for their new leases.
    type: int
    default: 0
"""

EXAMPLES = r"""
- name: Serve DHCP, DNS and time to the rack
  bramble.pi.rack_services:
    interface: eth0
    address: 10.0.0.1
    network: 10.0.0.0/24
    domain: rack.internal
    router: 10.0.0.1
    hosts:
      - name: pi-2
        mac: b8:27:eb:5b:0d:0f
        address: 10.0.0.2
"""

RETURN = r"""
changes:
  description: What was changed, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: [write /etc/dnsmasq.d/bramble.conf, restart dnsmasq]
arrived:
  description: Addresses of the hosts that were waited for, and have them.
  returned: success
  type: list
  elements: str
  sample: [10.0.0.2, 10.0.0.3]
moves:
  description: Hosts that have a lease of another address than the one they are to have.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The host.
      type: str
      returned: success
      sample: pi-2
    old:
      description: The address of its lease.
      type: str
      returned: success
      sample: 10.0.0.17
    new:
      description: The address that it is to have.
      type: str
      returned: success
      sample: 10.0.0.2
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import module_errors
from ansible_collections.bramble.pi.plugins.module_utils._rack.server import RackServer
from ansible_collections.bramble.pi.plugins.module_utils._rack.services import Host, Services


def main() -> None:
    """Run the module."""
    texts = {"type": "list", "elements": "str", "default": []}
    module = AnsibleModule(
        argument_spec={
            "interface": {"type": "str", "required": True},
            "address": {"type": "str", "required": True},
            "network": {"type": "str", "required": True},
            "domain": {"type": "str", "required": True},
            "hosts": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    "address": {"type": "str", "required": True},
                    "mac": {"type": "str", "default": ""},
                    "bootfile": {"type": "str", "default": ""},
                    "expected": {"type": "bool", "default": False},
                },
            },
            "reverse_zones": texts,
            "dhcp_range": {"type": "str", "default": ""},
            "lease_time": {"type": "str", "default": "12h"},
            "router": {"type": "str", "default": ""},
            "resolvers": texts,
            "dnsmasq_options": texts,
            "ntp_servers": texts,
            "ipv6": {"type": "bool", "default": False},
            "release": {"type": "bool", "default": False},
            "timeout": {"type": "int", "default": 0},
        },
        supports_check_mode=True,
    )
    # Messages of the tools are read by people only, but in a language that all of them know.
    module.run_command_environ_update = {"LC_ALL": "C.UTF-8"}
    services = Services(
        **{name: module.params[name] for name in Services._fields if name != "hosts"},
        hosts=[Host(**host) for host in module.params["hosts"]],
    )
    changes = Changes(check_mode=module.check_mode)
    server = RackServer(run=module.run_command, find=module.get_bin_path, changes=changes, warn=module.warn)
    with module_errors(module, result=changes.result):
        moves = server.ensure(services, release=module.params["release"])
        waits = module.params["timeout"] > 0 and (module.params["release"] or not moves)
        arrived = []
        if changes and not module.check_mode and waits:
            arrived = server.wait(services, moves=moves, timeout=module.params["timeout"])
    module.exit_json(moves=[move._asdict() for move in moves], arrived=arrived, **changes.result())


if __name__ == "__main__":
    main()
