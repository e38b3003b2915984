#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.kubectl_delete``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kubectl_delete
short_description: Delete objects of the cluster with kubectl
version_added: '0.1.0'
description:
  - Runs C(kubectl delete) on a control-plane node, and waits until the objects are gone, but not for ever.
    What holds them then is named.
  - With O(managed_by) it deletes nothing that somebody else has made. Check mode tells whether it would.
author:
  - bramble.pi contributors (@bramble-pi)
extends_documentation_fragment:
  - bramble.pi.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  objects:
    description: The objects, each as kind and name, such as V(namespace/playground).
    type: list
    elements: str
    required: true
  namespace:
    description: The namespace that they are in, unless they are the whole cluster's.
    type: str
  managed_by:
    description:
      - The label C(app.kubernetes.io/managed-by) that they have to have. If one of them has another or none,
        nothing is deleted, and the module fails.
    type: str
  variable:
    description: The variable in which another name of theirs can be set, for that message.
    type: str
    default: objects
  timeout:
    description: How long to wait until they are gone, in seconds.
    type: int
    default: 60
  kubeconfig:
    description: The kubeconfig to use, on this host.
    type: path
    default: /etc/kubernetes/admin.conf
"""

EXAMPLES = r"""
- name: Remove a namespace
  bramble.pi.kubectl_delete:
    objects: [namespace/playground]
    managed_by: playground

- name: Fail on a namespace of another owner
  bramble.pi.kubectl_delete:
    objects: [namespace/playground]
    managed_by: playground
  check_mode: true
  changed_when: false
"""

RETURN = r"""
removed:
  description: The objects that were there.
  returned: success
  type: list
  elements: str
  sample: [namespace/playground]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import module_errors
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import kubectl


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "objects": {"type": "list", "elements": "str", "required": True},
            "namespace": {"type": "str"},
            "managed_by": {"type": "str"},
            "variable": {"type": "str", "default": "objects"},
            "timeout": {"type": "int", "default": 60},
            "kubeconfig": {"type": "path", "default": "/etc/kubernetes/admin.conf"},
        },
        supports_check_mode=True,
    )
    with module_errors(module):
        removed = kubectl.delete(run=module.run_command, check_mode=module.check_mode, **module.params)
    module.exit_json(changed=bool(removed), removed=removed)


if __name__ == "__main__":
    main()
