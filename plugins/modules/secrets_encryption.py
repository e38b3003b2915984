#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.secrets_encryption``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: secrets_encryption
short_description: Tell the API server of a control plane by which keys it encrypts secrets
version_added: '0.1.0'
description:
  - Writes the file of keys, gives the API server the flag that names it, and waits until it runs with both
    and answers. What a run that was killed has written is brought into force by the next.
  - Without O(configuration) and O(new_key) it only returns what is there, with the keys, so that its task
    needs C(no_log).
  - In which order the control planes of a cluster are changed is what the filter
    P(bramble.pi.encryption_step#filter) says.
author:
  - bramble.pi contributors (@bramble-pi)
extends_documentation_fragment:
  - bramble.pi.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: partial
    details: Keys are in no diff.
  idempotent:
    support: partial
    details: Each run with O(new_key) makes a further key.
options:
  configuration:
    description:
      - The EncryptionConfiguration that the API server is to have, as P(bramble.pi.encryption_step#filter)
        returns it; empty for none, which stores secrets as plain text.
    type: str
  new_key:
    description:
      - Number of a key to make, by which the API server can read from then on, and does not write yet.
    type: int
  timeout:
    description: How long to wait for the API server, in seconds.
    type: int
    default: 300
"""

EXAMPLES = r"""
- name: Read by which keys secrets are encrypted
  bramble.pi.secrets_encryption:
  register: encryption
  no_log: true

- name: Store secrets as plain text, once all others can read it
  bramble.pi.secrets_encryption:
    configuration: ""
"""

RETURN = r"""
changes:
  description: What was changed, or would be in check mode.
  returned: with O(configuration) or O(new_key)
  type: list
  elements: str
  sample: [write /etc/kubernetes/pki/encryption.json, restart kube-apiserver]
present:
  description: Whether there is a control plane on this node.
  returned: without O(configuration) and O(new_key)
  type: bool
  sample: true
configuration:
  description: The EncryptionConfiguration in force, with its keys; empty for none.
  returned: without O(configuration) and O(new_key)
  type: str
  sample: ""
current:
  description: Whether the API server was started with just that.
  returned: without O(configuration) and O(new_key)
  type: bool
  sample: true
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import module_errors
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import encryption
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.apply_encryption import ApiServer


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "configuration": {"type": "str", "no_log": True},
            "new_key": {"type": "int", "no_log": False},
            "timeout": {"type": "int", "default": 300},
        },
        mutually_exclusive=[("configuration", "new_key")],
        supports_check_mode=True,
    )
    changes = Changes(check_mode=module.check_mode)
    server = ApiServer(changes=changes, timeout=module.params["timeout"])
    configuration, new_key = module.params["configuration"], module.params["new_key"]
    with module_errors(module, result=changes.result):
        if new_key is not None:
            server.add_key(number=new_key)
        elif configuration is not None:
            server.configure(encryption.parse(configuration) if configuration else encryption.Node())
        else:
            found = server.read()
            text = "" if found is None else encryption.dumped(providers=found.providers, keys=found.keys)
            module.exit_json(
                changed=False,
                present=found is not None,
                configuration=text,
                current=found is not None and found.current,
            )
    module.exit_json(**changes.result())


if __name__ == "__main__":
    main()
