#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.certificates_program``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: certificates_program
short_description: Have the program on a control plane that renews its certificates without a controller
version_added: '0.1.0'
description:
  - Writes one file that the node's Python runs, which does what M(bramble.pi.certificates) does, and the
    settings that it reads. A timer of systemd may run it.
author:
  - bramble.pi contributors (@bramble-pi)
extends_documentation_fragment:
  - bramble.pi.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details: Of the settings only.
  idempotent:
    support: full
options:
  renew_before:
    description: How many days before its end a certificate is renewed, as of M(bramble.pi.certificates).
    type: int
    default: 60
  timeout:
    description: Seconds to wait for each program, as of M(bramble.pi.certificates).
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
  dest:
    description: Where the program is written.
    type: path
    default: /usr/local/lib/bramble/certificates.pyz
"""

EXAMPLES = r"""
- name: Install the program of the timer
  bramble.pi.certificates_program:
    kubeconfigs:
      - dest: ~pi/.kube/config
        owner: pi
"""

RETURN = r"""
changes:
  description: What was changed, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: [write /usr/local/lib/bramble/certificates.pyz]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common import program
from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import module_errors
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import renewal_timer
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.node import default_node_name
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.renewal import (
    OPTIONS,
    TIMER_SETTINGS,
    Wishes,
)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **OPTIONS,
            "dest": {"type": "path", "default": "/usr/local/lib/bramble/certificates.pyz"},
        },
        supports_check_mode=True,
    )
    changes = Changes(check_mode=module.check_mode)
    parameters = {**module.params, "node_name": module.params["node_name"] or default_node_name()}
    with module_errors(module, result=changes.result):
        changes.write(TIMER_SETTINGS, Wishes.of(parameters).settings())
        program.install(renewal_timer, module.params["dest"], changes)
    module.exit_json(**changes.result())


if __name__ == "__main__":
    main()
