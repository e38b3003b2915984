#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.failover_timeline``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: failover_timeline
short_description: Measure what happens when a node of a cluster is lost
version_added: '0.1.0'
description:
  - Runs on a control plane. Watches a node, the pods of a namespace and a service, waits until the node is
    lost, and then until all its pods run on other nodes and the service answers.
  - It stops nothing itself, and changes nothing.
author:
  - bramble.pi contributors (@bramble-pi)
extends_documentation_fragment:
  - bramble.pi.attributes
attributes:
  check_mode:
    support: full
    details:
      - Says what to expect, and waits for nothing.
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  node:
    description: The name of the node in the cluster.
    type: str
    required: true
  namespace:
    description: The namespace of the pods and the service.
    type: str
    required: true
  service:
    description: The name of the service, which answers HTTP at its first port.
    type: str
    required: true
  path:
    description: The path that is asked for.
    type: str
    default: /
  replicas:
    description: How many pods there are to be.
    type: int
    required: true
  loss_timeout:
    description: How long to wait for the loss, in seconds.
    type: int
    default: 300
  timeout:
    description: How long after the loss to wait for the rest, in seconds.
    type: int
    default: 600
  kubeconfig:
    description: The kubeconfig to use, on this host.
    type: path
    default: /etc/kubernetes/admin.conf
"""

EXAMPLES = r"""
- name: Watch pi-3 be lost
  bramble.pi.failover_timeline:
    node: pi-3
    namespace: failover
    service: failover
    replicas: 4
"""

RETURN = r"""
expected:
  description: What to expect, in words.
  returned: success
  type: str
  sample: A node that is lost is NotReady after 10 to 16 s
longest:
  description: The longest time after which its pods are given up, in seconds.
  returned: success
  type: int
  sample: 21
timeline:
  description: What happened.
  returned: success, not in check mode
  type: list
  elements: dict
  contains:
    event:
      description: What.
      type: str
      returned: success
      sample: the node is NotReady
    expected:
      description: When it is expected.
      type: str
      returned: success
      sample: 10 to 16 s
    seconds:
      description: When it was, in seconds after the loss; none for what was not seen.
      type: float
      returned: success
      sample: 12.4
table:
  description: The same as lines of text.
  returned: success, not in check mode
  type: list
  elements: str
  sample: [EVENT                 EXPECTED    MEASURED, the node is NotReady  10 to 16 s    12.4 s]
pods:
  description: The pods that were on the node.
  returned: success, not in check mode
  type: list
  elements: str
  sample: [failover-5fd79744c5-dnxvm]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import module_errors
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.measure_failover import (
    Demonstration,
    expectation,
    measure,
)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "node": {"type": "str", "required": True},
            "namespace": {"type": "str", "required": True},
            "service": {"type": "str", "required": True},
            "path": {"type": "str", "default": "/"},
            "replicas": {"type": "int", "required": True},
            "loss_timeout": {"type": "int", "default": 300},
            "timeout": {"type": "int", "default": 600},
            "kubeconfig": {"type": "path", "default": "/etc/kubernetes/admin.conf"},
        },
        supports_check_mode=True,
    )
    module.run_command_environ_update = {"LC_ALL": "C.UTF-8"}
    with module_errors(module):
        expected = expectation()
        result = (
            {}
            if module.check_mode
            else measure(
                run=module.run_command, demonstration=Demonstration(**module.params), expected=expected
            )
        )
    module.exit_json(changed=False, expected=str(expected), longest=expected.evicted[1], **result)


if __name__ == "__main__":
    main()
