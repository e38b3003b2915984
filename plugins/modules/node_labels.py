#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep labels and taints of nodes in step with an inventory."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_labels
short_description: Keep labels and taints of nodes in step with an inventory
version_added: 0.1.0
description:
  - Sets labels and taints of nodes, by the administrator's kubeconfig of the control plane that it runs on.
  - What was named before and is named no more is removed. Which that is, the annotations C(bramble.pi/labels)
    and C(bramble.pi/taints) of the node say. All other labels and taints are left alone.
  - A node is changed in one request, and only if it differs.
extends_documentation_fragment: [bramble.pi.attributes]
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  nodes:
    description:
      - By the name of each node in the cluster, C(labels), a mapping of names to values, and C(taints), a
        list of C(key), C(effect) and, if need be, C(value).
      - Nodes that are not named are left alone.
    type: dict
    required: true
  kubeconfig:
    description: The kubeconfig to use, on this host.
    type: path
    default: /etc/kubernetes/admin.conf
  timeout:
    description: Seconds to wait for nodes that are not there yet.
    type: int
    default: 60
author:
  - bramble.pi contributors (@bramble-pi)
"""

EXAMPLES = r"""
- name: Set the zone of a node, and keep pods off it
  bramble.pi.node_labels:
    nodes:
      pi-2:
        labels:
          topology.kubernetes.io/zone: shelf-1
        taints:
          - key: disk
            value: slow
            effect: PreferNoSchedule
"""

RETURN = r"""
changes:
  description: What was changed (in check mode, what would be), one sentence each.
  returned: success
  type: list
  elements: str
  sample: ['pi-2: set the label topology.kubernetes.io/zone=shelf-1']
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import module_errors
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import node_labels
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.apply_node_labels import NodeLabels


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "nodes": {"type": "dict", "required": True},
            "kubeconfig": {"type": "path", "default": "/etc/kubernetes/admin.conf"},
            "timeout": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    changes = Changes(check_mode=module.check_mode)
    with module_errors(module, result=changes.result):
        nodes = module.params["nodes"]
        for name, told in nodes.items():
            node_labels.check_desired(name, told)
            node_labels.check_labels(told["labels"])
            node_labels.check_taints(told["taints"])
        NodeLabels(
            run=module.run_command,
            kubeconfig=module.params["kubeconfig"],
            changes=changes,
            timeout=module.params["timeout"],
        ).keep({name: node_labels.parse(told) for name, told in nodes.items()})
    module.exit_json(**changes.result())


if __name__ == "__main__":
    main()
