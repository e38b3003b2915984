#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.control_plane_vip``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: control_plane_vip
short_description: Hold one address by all control planes
version_added: '0.1.0'
description:
  - Has a control plane take part in holding an address, by keepalived of the distribution. One of those whose
    API server answers has it; if that one is lost, another takes it over.
  - Control planes alone are heard (VRRP from node to node, and a rule of nftables), and a holder that answers
    keeps the address.
  - An address that another machine has is refused.
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
options:
  state:
    description:
      - With V(absent) the node takes part no more - the service, its files and rules are removed, and
        keepalived if this module had installed it.
      - That is refused on a control plane whose cluster is reached at the address, unless it is O(reset).
    type: str
    choices: [present, absent]
    default: present
  reset:
    description: Whether the node is being reset, so that its cluster needs no address of it any more.
    type: bool
    default: false
  address:
    description: The address, of the nodes' network and of no host, such as V(192.168.1.10).
    type: str
  own_address:
    description: The node's own address, one of O(control_planes).
    type: str
  control_planes:
    description:
      - The addresses of all control planes, in their order.
      - When several want the address at the same moment, the first of them gets it.
    type: list
    elements: str
"""

EXAMPLES = r"""
- name: Take part in holding the address
  bramble.pi.control_plane_vip:
    address: 192.168.1.10
    own_address: 192.168.1.11
    control_planes: [192.168.1.11, 192.168.1.12, 192.168.1.13]

- name: Take part no more
  bramble.pi.control_plane_vip:
    state: absent
"""

RETURN = r"""
changes:
  description: What was changed, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: [install keepalived, write /etc/bramble/vip.conf, restart bramble-vip.service]
interface:
  description: The interface that gets the address.
  returned: with O(state=present)
  type: str
  sample: eth0
takes_over_after:
  description: For how many seconds nothing is heard of a holder when this node takes the address.
  returned: with O(state=present)
  type: float
  sample: 3.0234375
gives_up_after:
  description: Within how many seconds this node gives the address up, while its API server does not answer.
  returned: with O(state=present)
  type: int
  sample: 7
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common import apt
from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import module_errors
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import vip
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.vip_service import VipService


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "reset": {"type": "bool", "default": False},
            "address": {"type": "str"},
            "own_address": {"type": "str"},
            "control_planes": {"type": "list", "elements": "str"},
        },
        required_if=[("state", "present", ["address", "own_address", "control_planes"])],
        supports_check_mode=True,
    )
    module.run_command_environ_update = apt.ENVIRONMENT
    changes = Changes(check_mode=module.check_mode)
    service = VipService(run=module.run_command, changes=changes)
    seen = {}
    with module_errors(module, result=changes.result):
        if module.params["state"] == "absent":
            service.remove(reset=module.params["reset"])
        else:
            own, control_planes = module.params["own_address"], module.params["control_planes"]
            place = service.ensure(module.params["address"], own=own, control_planes=control_planes)
            after = vip.takes_over_after(vip.priority(own, control_planes))
            seen = {
                "interface": place.interface,
                "takes_over_after": after,
                "gives_up_after": vip.gives_up_after(silent=True),
            }
    module.exit_json(**changes.result(), **seen)


if __name__ == "__main__":
    main()
