#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.pod_routes``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pod_routes
short_description: Connect the pods of nodes on one switch by plain routes
version_added: '0.1.0'
description:
  - Gives a node what its pods need to reach those of the other nodes without a daemon. That is a CNI
    configuration (bridge, host-local and portmap), a route to each other node's share of the pod network,
    and rules that let the pods' packets through and give them the node's address where they leave the
    pod network.
  - A systemd unit puts routes and rules back at every boot.
  - The nodes have to be on one switch, because each is the others' gateway.
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
    description: Whether the node shall have them, or nothing of them.
    type: str
    choices: [present, absent]
    default: present
  node:
    description: Name of this node in the cluster, such as V(pi-2). Required for O(state=present).
    type: str
  cluster_cidr:
    description: Network of all pods, such as V(10.244.0.0/16). Required for O(state=present).
    type: str
  nodes:
    description: All nodes of the cluster, this one among them. Required for O(state=present).
    type: list
    elements: dict
    suboptions:
      name:
        description: Name of the node, such as V(pi-1).
        type: str
        required: true
      pod_cidr:
        description: The node's share of the pod network, such as V(10.244.0.0/24).
        type: str
        required: true
      address:
        description: Address of the node, such as V(192.168.1.11).
        type: str
        required: true
"""

EXAMPLES = r"""
- name: Connect the pods of two nodes
  bramble.pi.pod_routes:
    node: "{{ inventory_hostname }}"
    cluster_cidr: 10.244.0.0/16
    nodes:
      - name: pi-1
        pod_cidr: 10.244.0.0/24
        address: 192.168.1.11
      - name: pi-2
        pod_cidr: 10.244.1.0/24
        address: 192.168.1.12

- name: Take routes, rules and the unit away
  bramble.pi.pod_routes:
    state: absent
"""

RETURN = r"""
routes:
  description: The routes that the node has to have, by destination.
  returned: success
  type: dict
  sample: {10.244.1.0/24: 192.168.1.12}
changes:
  description: What was corrected (in check mode, what would be), one sentence each.
  returned: success
  type: list
  elements: str
  sample: [write /etc/cni/net.d/10-bramble.conflist, 'add the route to 10.244.1.0/24 via 192.168.1.12']
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import module_errors
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import apply_pod_routes, pod_routes


def main() -> None:
    """Run the module."""
    node = {
        "name": {"type": "str", "required": True},
        "pod_cidr": {"type": "str", "required": True},
        "address": {"type": "str", "required": True},
    }
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "node": {"type": "str"},
            "cluster_cidr": {"type": "str"},
            "nodes": {"type": "list", "elements": "dict", "options": node},
        },
        required_if=[("state", "present", ("node", "cluster_cidr", "nodes"))],
        supports_check_mode=True,
    )
    parameters = module.params
    changes = Changes(check_mode=module.check_mode)
    routes: dict[str, str] = {}
    with module_errors(module, result=changes.result):
        if parameters["state"] == "present":
            plan = pod_routes.make_plan(
                node=parameters["node"],
                nodes=[pod_routes.Node(**node) for node in parameters["nodes"]],
                cluster_cidr=parameters["cluster_cidr"],
            )
            routes = plan.routes
            apply_pod_routes.install(plan=plan, run=module.run_command, changes=changes)
        else:
            apply_pod_routes.remove(run=module.run_command, changes=changes)
    module.exit_json(**changes.result(), routes=routes)


if __name__ == "__main__":
    main()
