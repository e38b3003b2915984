#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.secrets_rewrite``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: secrets_rewrite
short_description: Have all secrets of a cluster stored by the key that API servers write by
version_added: '0.1.0'
description:
  - Replaces each secret by itself, which stores it by the first key of the API servers, or as plain text
    where that is first. Run it on a control plane.
  - It ends when none is stored in another way any more, so that older keys are not needed for secrets.
    Former revisions stay in etcd's files until these are compacted and defragmented.
  - Secrets are on no disk meanwhile, and in no command line.
author:
  - bramble.pi contributors (@bramble-pi)
extends_documentation_fragment:
  - bramble.pi.attributes
attributes:
  check_mode:
    support: partial
    details: In check mode nothing is asked, and a change is told.
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  timeout:
    description: How long to go on while others write the same secrets, in seconds.
    type: int
    default: 300
"""

EXAMPLES = r"""
- name: Rewrite all secrets
  bramble.pi.secrets_rewrite:
"""

RETURN = r"""
rewritten:
  description: How many secrets were stored in another way.
  returned: success, not in check mode
  type: int
  sample: 12
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import module_errors
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import apply_encryption
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.node import Node


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={"timeout": {"type": "int", "default": 300}}, supports_check_mode=True
    )
    if module.check_mode:
        module.exit_json(changed=True)
    timeout = module.params["timeout"]
    node = Node(run=module.run_command)
    with module_errors(module), node.locked(timeout=timeout):
        node.need("kubectl")
        rewritten = apply_encryption.rewrite(node=node, timeout=timeout)
    module.exit_json(changed=rewritten > 0, rewritten=rewritten)


if __name__ == "__main__":
    main()
