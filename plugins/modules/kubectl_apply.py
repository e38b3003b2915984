#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.kubectl_apply``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kubectl_apply
short_description: Apply objects to the cluster with kubectl
version_added: '0.1.0'
description:
  - Runs C(kubectl apply) on a control-plane node, and takes from its answer what changed.
  - A ClusterRoleBinding that is to give another role is made again, as Kubernetes lets none be changed.
author:
  - bramble.pi contributors (@bramble-pi)
extends_documentation_fragment:
  - bramble.pi.attributes
attributes:
  check_mode:
    support: full
    details:
      - Asks the API server for a dry run. Where there is no cluster yet, everything counts as changed.
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  definition:
    description: The objects, as YAML or JSON.
    type: str
    required: true
  kubeconfig:
    description: The kubeconfig to use, on this host.
    type: path
    default: /etc/kubernetes/admin.conf
"""

EXAMPLES = r"""
- name: Make a namespace
  bramble.pi.kubectl_apply:
    definition: |
      apiVersion: v1
      kind: Namespace
      metadata:
        name: playground
"""

RETURN = r"""
objects:
  description: What became of each object.
  returned: success
  type: dict
  sample: {namespace/playground: created}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import module_errors
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import kubectl


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "definition": {"type": "str", "required": True},
            "kubeconfig": {"type": "path", "default": "/etc/kubernetes/admin.conf"},
        },
        supports_check_mode=True,
    )

    def run(command: list[str]) -> tuple[int, str, str]:
        code, output, errors = module.run_command(command, data=module.params["definition"])
        return code, output, errors

    with module_errors(module):
        result = kubectl.apply(run=run, kubeconfig=module.params["kubeconfig"], check_mode=module.check_mode)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
