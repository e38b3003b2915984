#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.certificates``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: certificates
short_description: Renew the certificates of a control plane, and restart what has them open
version_added: '0.1.0'
description:
  - Has kubeadm renew the certificates that end soon, one after the other - those of etcd, the API server, the
    controller manager, the scheduler and the administrator. After those of each program that is restarted,
    and has to answer before the next one's turn.
  - A run that was killed is gone on with by the next one, be it at a certificate that is half written, or
    before a restart.
  - Where the API server does not answer because certificates have expired, the cluster is brought back; a
    kubelet whose own certificate has expired gets a new one, too.
  - Users' copies of the administrator's kubeconfig are brought up to date; those with more in them stay.
author:
  - bramble.pi contributors (@bramble-pi)
extends_documentation_fragment:
  - bramble.pi.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    details: Certificates have dates, and their keys are secrets.
  idempotent:
    support: partial
    details: With O(renew=all) all are renewed each time.
options:
  renew:
    description:
      - V(due) renews those that end within O(renew_before) days, or in the last third of their life if that
        is shorter; V(all) renews all of them; V(none) only lists, on any node.
    type: str
    choices: [none, due, all]
    default: due
  renew_before:
    description: How many days before its end a certificate is renewed, 1 to 120.
    type: int
    default: 60
  timeout:
    description:
      - Seconds to wait for each program to answer again, for the API server, and for another control plane
        that is renewing its own.
    type: int
    default: 300
  node_name:
    description: The node's name in Kubernetes; by default that of the system.
    type: str
  others:
    description: Whether the cluster has further control planes. One then waits for the other, by a Lease.
    type: bool
    default: false
  kubeconfigs:
    description: Users' copies of the administrator's kubeconfig on this node.
    type: list
    elements: dict
    default: []
    suboptions:
      dest:
        description: Where it is, such as V(~pi/.kube/config).
        type: str
        required: true
      owner:
        description: User who shall own it.
        type: str
"""

EXAMPLES = r"""
- name: Renew what ends within 60 days
  bramble.pi.certificates:
  throttle: 1

- name: List the certificates of a worker
  bramble.pi.certificates:
    renew: none
"""

RETURN = r"""
changes:
  description: What was done, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: [renew apiserver, restart kube-apiserver]
certificates:
  description: The certificates of the node.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: What kubeadm calls it; empty for what it does not renew.
      type: str
      returned: always
      sample: apiserver
    path:
      description: The file.
      type: str
      returned: always
      sample: /etc/kubernetes/pki/apiserver.crt
    expires:
      description: When it expires, in UTC; null if it cannot be read.
      type: str
      returned: always
      sample: '2027-10-01T12:00:00Z'
    days:
      description: The whole days until then, by the node's clock.
      type: int
      returned: always
      sample: 364
    error:
      description: Why it cannot be read.
      type: str
      returned: always
      sample: null
    renewed:
      description: Whether it was renewed, or would be in check mode.
      type: bool
      returned: always
      sample: true
kubelet_expired:
  description: Whether the kubelet's client certificate has expired.
  returned: success
  type: bool
  sample: false
notes:
  description: What cannot be renewed and ends soon, which are authorities.
  returned: success
  type: list
  elements: str
  sample: []
waiting:
  description:
    - Whether the cluster was down, and may answer only when the other control planes have renewed theirs.
  returned: success
  type: bool
  sample: false
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import module_errors
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import renew
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.node import Node, default_node_name
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.renewal import OPTIONS, Wishes


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "renew": {"type": "str", "choices": ["none", "due", "all"], "default": "due"},
            **OPTIONS,
        },
        supports_check_mode=True,
    )
    changes = Changes(check_mode=module.check_mode)
    parameters = {**module.params, "node_name": module.params["node_name"] or default_node_name()}
    with module_errors(module, result=changes.result):
        wishes = Wishes.of(parameters)
        if parameters["renew"] == "none":
            result = renew.look(wishes=wishes)
        else:
            result = renew.renew(node=Node(run=module.run_command), wishes=wishes, changes=changes)
    module.exit_json(**changes.result(), **result)


if __name__ == "__main__":
    main()
