#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.kubelet_certificate``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kubelet_certificate
short_description: Give a kubelet a new client certificate when its own has expired
version_added: '0.1.0'
description:
  - A kubelet renews its client certificate by itself while it runs. One that was off until it had expired
    does not start any more.
  - On a control plane a new one is signed, with O(issue_for). On the node it is installed, with O(pem), and
    the kubelet is restarted. A certificate that has not expired is left alone.
author:
  - bramble.pi contributors (@bramble-pi)
extends_documentation_fragment:
  - bramble.pi.attributes
attributes:
  check_mode:
    support: full
    details: In check mode nothing is signed, so RV(pem) is not returned.
  diff_mode:
    support: none
    details: A certificate with its key is a secret.
  idempotent:
    support: partial
    details: With O(issue_for) another one is signed each time.
options:
  issue_for:
    description: The name in Kubernetes of the node that one is signed for.
    type: str
  pem:
    description: The certificate with its key that is installed on this node. Empty in check mode.
    type: str
  timeout:
    description: Seconds to wait for a run of kubeadm that is going on on the control plane.
    type: int
    default: 300
"""

EXAMPLES = r"""
- name: Sign a certificate for pi-2
  bramble.pi.kubelet_certificate:
    issue_for: pi-2
  delegate_to: pi-1
  register: signed
  no_log: true

- name: Give it to the kubelet
  bramble.pi.kubelet_certificate:
    pem: "{{ signed.pem }}"
"""

RETURN = r"""
changes:
  description: What was changed, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: [renew the kubelet's certificate, restart kubelet]
pem:
  description: The certificate with its key, a secret.
  returned: with O(issue_for), not in check mode
  type: str
  sample: VALUE_SPECIFIED_IN_NO_LOG_PARAMETER
"""

from datetime import datetime, timezone

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import module_errors
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import kubelet_certificate
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.node import Node


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "issue_for": {"type": "str"},
            "pem": {"type": "str", "no_log": True},
            "timeout": {"type": "int", "default": 300},
        },
        mutually_exclusive=[("issue_for", "pem")],
        required_one_of=[("issue_for", "pem")],
        supports_check_mode=True,
    )
    changes = Changes(check_mode=module.check_mode)
    node = Node(run=module.run_command)
    issued = {}
    with module_errors(module, result=changes.result):
        name = module.params["issue_for"]
        if name is None:
            kubelet_certificate.renew(
                node=node, changes=changes, pem=lambda: module.params["pem"], now=datetime.now(timezone.utc)
            )
        elif changes.note(f"sign a certificate for {name}"):
            with node.locked(timeout=module.params["timeout"]):
                issued["pem"] = kubelet_certificate.issue(node, node_name=name)
    module.exit_json(**changes.result(), **issued)


if __name__ == "__main__":
    main()
