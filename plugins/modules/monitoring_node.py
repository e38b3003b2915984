#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.monitoring_node``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: monitoring_node
short_description: Have a node tell Prometheus of itself
version_added: '0.1.0'
description:
  - Installs Debian's node-exporter, which listens at O(address) alone, and a timer that examines the node as
    M(bramble.pi.doctor) does. What that finds are metrics of node-exporter.
  - On a control plane it hands on the metrics of etcd, and nothing else of etcd, to O(admitted) alone.
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
    description: V(absent) removes all of it, the packages that it has installed too.
    type: str
    choices: [present, absent]
    default: present
  address:
    description: The node's address, at which it is asked. Required for O(state=present).
    type: str
  admitted:
    description: The address from which it is asked. Required for O(state=present).
    type: str
  interval:
    description: How many seconds lie between two examinations.
    type: int
    default: 300
  etcd_port:
    description: The port at which a control plane hands on etcd's metrics.
    type: int
    default: 12381
  name:
    description: The node's name in the inventory, for the commands that fix something, such as V(pi-2).
    type: str
  swap:
    description: Whether swap is to be V(off), or V(keep) if it is allowed.
    type: str
    choices: ['off', keep]
    default: 'off'
  time_sync:
    description: Whether the clock has to be synchronised.
    type: bool
    default: true
  pod_network:
    description: How pods reach each other, such as V(flannel), which needs vxlan.
    type: str
    default: flannel
  control_plane:
    description: Whether the node is, or is to be, a control plane, which needs more memory.
    type: bool
    default: false
  encrypt_secrets:
    description: Whether the cluster is to encrypt secrets in etcd, see M(bramble.pi.secrets_encryption).
    type: bool
    default: false
  certificate_days:
    description: How many days before its end a certificate is reported.
    type: int
    default: 30
  backup_days:
    description: How many days old the last proved backup of a control plane may be.
    type: int
    default: 2
  sandbox_image:
    description: The image that containerd was told to make pods' sandboxes of; without it any will do.
    type: str
  cni_bin_dir:
    description: The folder in which containerd was told to look for CNI plugins.
    type: path
    default: /opt/cni/bin
  fsync:
    description:
      - Whether to measure once a day how quickly the disk keeps what is written, beside etcd's data.
      - At most 200 writes of 2300 bytes, as etcd makes them, in at most 5 seconds.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Configure what the node tells of itself
  bramble.pi.monitoring_node:
    name: pi-2
    address: 10.0.0.2
    admitted: 10.0.0.1
"""

RETURN = r"""
changes:
  description: What was changed, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: [install prometheus-node-exporter, restart bramble-monitoring.timer]
kubernetes:
  description: What the node is, as M(bramble.pi.node_facts) has it.
  returned: success
  type: str
  sample: control_plane
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common import apt
from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import module_errors
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import node_files
from ansible_collections.bramble.pi.plugins.module_utils._monitoring.node import NodePart, NodeWishes
from ansible_collections.bramble.pi.plugins.module_utils._node.examination import OPTIONS


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "address": {"type": "str"},
            "admitted": {"type": "str"},
            "interval": {"type": "int", "default": 300},
            "etcd_port": {"type": "int", "default": 12381},
            **OPTIONS,
            "fsync": {"type": "bool", "default": False},
        },
        required_if=[("state", "present", ("address", "admitted"))],
        supports_check_mode=True,
    )
    module.run_command_environ_update = apt.ENVIRONMENT
    changes = Changes(check_mode=module.check_mode, run=module.run_command)
    parameters = module.params
    with module_errors(module, result=changes.result):
        part = NodePart(run=module.run_command, changes=changes)
        if parameters["state"] == "present":
            part.ensure(
                NodeWishes(
                    address=parameters["address"],
                    admitted=parameters["admitted"],
                    interval=parameters["interval"],
                    etcd_port=parameters["etcd_port"],
                    examination={name: parameters[name] for name in (*OPTIONS, "fsync")},
                )
            )
        else:
            part.remove()
    module.exit_json(**changes.result(), kubernetes=node_files.kubernetes_state())


if __name__ == "__main__":
    main()
