#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Return what a node needs to join the cluster of this control plane."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kubeadm_join_info
short_description: Return what a node needs to join the cluster of this control plane
version_added: 0.1.0
description:
  - Runs on a control plane and returns the API server's address, the hash of the CA's public key and, on
    wish, a short-lived token and a certificate key.
  - The hash is computed from the CA certificate itself, and compared with the one that kubeadm prints.
  - The return values hold secrets, so tasks with this module need C(no_log).
extends_documentation_fragment: [bramble.pi.attributes]
attributes:
  check_mode:
    support: partial
    details: In check mode no token and no certificate key are made, so they are not returned.
  diff_mode:
    support: none
  idempotent:
    support: partial
    details: Each run with O(create_token=true) makes a further token.
options:
  create_token:
    description: Whether to make a token.
    type: bool
    default: true
  token_ttl:
    description: How long the token lives, such as V(30m) or V(2h). V(0) would be for ever, and is refused.
    type: str
    default: 30m
  description:
    description: What the token is for, as C(kubeadm token list) shows it.
    type: str
    default: made by bramble.pi to join nodes
  certificate_key:
    description: Whether to upload the certificates for further control planes. They live two hours.
    type: bool
    default: false
  cri_socket:
    description: Socket of the container runtime. Needed with O(certificate_key=true) where there are several.
    type: str
author:
  - bramble.pi contributors (@bramble-pi)
"""

EXAMPLES = r"""
- name: Ask the control plane how to join
  bramble.pi.kubeadm_join_info:
  delegate_to: pi-1
  register: join_info
  no_log: true

- name: Ask only which cluster it is
  bramble.pi.kubeadm_join_info:
    create_token: false
  register: cluster
"""

RETURN = r"""
endpoint:
  description: Address and port of the API server.
  returned: success
  type: str
  sample: 192.168.1.10:6443
ca_cert_hash:
  description: Hash of the cluster CA's public key.
  returned: success
  type: str
  sample: sha256:f9ff1529ab426b391a665cda3b1df7d9a3950da11045dd8c634e605ef835a58c
token:
  description: The token.
  returned: when O(create_token=true), not in check mode
  type: str
  sample: abcdef.0123456789abcdef
expires:
  description: When the token expires.
  returned: when O(create_token=true), not in check mode
  type: str
  sample: '2026-11-21T06:08:13Z'
certificate_key:
  description: The key of the uploaded certificates.
  returned: when O(certificate_key=true), not in check mode
  type: str
  sample: f8902e114ef118304e561c3ecd4d0b543adc226b7a07f675f56564185ffe0c07
encryption_configuration:
  description: The keys by which secrets are encrypted in etcd; empty if they are not.
  returned: when O(certificate_key=true), not in check mode
  type: str
  sample: ""
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import module_errors
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.join_info import join_info
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.node import Node

# A kubeadm that another task has started is not waited for longer than it may take itself.
_LOCK_TIMEOUT = 300


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "create_token": {"type": "bool", "default": True, "no_log": False},
            "token_ttl": {"type": "str", "default": "30m", "no_log": False},
            "description": {"type": "str", "default": "made by bramble.pi to join nodes"},
            "certificate_key": {"type": "bool", "default": False, "no_log": False},
            "cri_socket": {"type": "str"},
        },
        supports_check_mode=True,
    )
    node = Node(run=module.run_command)
    with module_errors(module), node.locked(timeout=_LOCK_TIMEOUT):
        result = join_info(node=node, parameters=module.params, check_mode=module.check_mode)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
