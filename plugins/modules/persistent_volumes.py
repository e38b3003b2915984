#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.persistent_volumes``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: persistent_volumes
short_description: Bring the cluster's volumes to what the inventory has
version_added: '0.1.0'
description:
  - Runs kubectl on a control plane. Applies persistent volumes and their claims, and waits until these are
    bound.
  - Removes those that were applied before and are not among them, only where no pod uses them and nobody
    else's claim is bound. What is in them stays.
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
    description: The persistent volumes and claims, as P(bramble.pi.storage_objects#filter) makes them.
    type: list
    elements: dict
    required: true
  timeout:
    description: How many seconds the claims may take to be bound.
    type: int
    default: 60
  kubeconfig:
    description: The kubeconfig to use, on this host.
    type: path
    default: /etc/kubernetes/admin.conf
"""

EXAMPLES = r"""
- name: Create the volumes of the inventory
  bramble.pi.persistent_volumes:
    objects: "{{ hostvars | bramble.pi.storage_objects(groups, storage_volumes) }}"
"""

RETURN = r"""
changes:
  description: What was changed, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: [persistentvolume/photos created, persistentvolumeclaim/photos created]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.commands import Runner
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import module_errors
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.apply_volumes import Volumes


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "objects": {"type": "list", "elements": "dict", "required": True},
            "timeout": {"type": "int", "default": 60},
            "kubeconfig": {"type": "path", "default": "/etc/kubernetes/admin.conf"},
        },
        supports_check_mode=True,
    )

    def run_with_input(text: str) -> Runner:
        def run(command: list[str]) -> tuple[int, str, str]:
            code, output, errors = module.run_command(command, data=text)
            return code, output, errors

        return run

    changes = Changes(check_mode=module.check_mode, run=module.run_command)
    with module_errors(module, result=changes.result):
        Volumes(
            run=module.run_command,
            run_with_input=run_with_input,
            changes=changes,
            kubeconfig=module.params["kubeconfig"],
        ).ensure(module.params["objects"], timeout=module.params["timeout"])
    module.exit_json(**changes.result())


if __name__ == "__main__":
    main()
