#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.cluster_restore``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_restore
short_description: Put a backup of the cluster onto a control plane
version_added: '0.1.0'
description:
  - Decrypts a backup that M(bramble.pi.cluster_backup) made, in memory, and checks all of it. Then it
    restores etcd with this node as its only member, puts kubeadm's files in place with the same CA and keys,
    and starts the kubelet.
  - Nothing is touched before everything was checked. A run that was killed is gone on with by the next one.
  - The container runtime, C(kubelet), C(kubectl) and C(age) have to be installed.
author:
  - bramble.pi contributors (@bramble-pi)
extends_documentation_fragment:
  - bramble.pi.attributes
attributes:
  check_mode:
    support: full
    details: The backup is decrypted and checked, as for real.
  diff_mode:
    support: none
  idempotent:
    support: none
    details: Onto a cluster that answers again a backup is refused, unless O(replace) is set.
options:
  src:
    description: The backup on the node, as it was encrypted.
    type: path
    required: true
  identity:
    description:
      - The secret key of one of its recipients, as C(age-keygen) wrote it, or an SSH private key.
      - It is kept in memory only. So that Ansible does not write it to a file of the node, pipelining has to
        be on for the task.
    type: str
    required: true
  ca_cert_hashes:
    description: Hashes of the CAs that other nodes have; the backup of another cluster is refused.
    type: list
    elements: str
    default: []
  replace:
    description: Whether it may be put onto a node that has a Kubernetes, and onto a cluster that answers.
    type: bool
    default: false
  timeout:
    description: How long to wait for the API server, and for what runs on this node, in seconds.
    type: int
    default: 600
"""

EXAMPLES = r"""
- name: Put the backup onto the control plane
  bramble.pi.cluster_restore:
    src: /var/tmp/backup.tar.gz.age
    identity: "{{ lookup('ansible.builtin.file', 'bramble-backup.key') }}"
  vars:
    ansible_pipelining: true
    ansible_ssh_pipelining: true
  no_log: true
  register: restored

- name: Remove the marker, once what watches the cluster was restarted
  ansible.builtin.file:
    path: "{{ restored.backup.marker }}"
    state: absent
"""

RETURN = r"""
backup:
  description: What was put there, or would be in check mode.
  returned: success
  type: dict
  contains:
    created:
      description: When the backup was made; what changed in the cluster since is lost.
      type: str
      returned: success
      sample: '2026-10-01T12:00:00Z'
    node:
      description: The control plane that it is of.
      type: str
      returned: success
      sample: pi-1
    members:
      description: The members that etcd had; this node is the only one now.
      type: list
      elements: str
      returned: success
      sample: [pi-1]
    ca_cert_hash:
      description: The hash of the cluster's CA.
      type: str
      returned: success
      sample: sha256:0fffefc56e995a82f8966f6d22d96bbe4ad95e32bfaa7f7a591a1fb935e9a206
    marker:
      description: The file on the node by which another run goes on; remove it once all is done.
      type: str
      returned: success
      sample: /var/lib/bramble/restore.json
    watchers_notice:
      description: Whether whoever watches the cluster notices by itself that it went back.
      type: bool
      returned: success
      sample: true
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._backup.restore import Wishes, restore
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import module_errors
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.node import Node


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "src": {"type": "path", "required": True},
            "identity": {"type": "str", "required": True, "no_log": True},
            "ca_cert_hashes": {"type": "list", "elements": "str", "default": []},
            "replace": {"type": "bool", "default": False},
            "timeout": {"type": "int", "default": 600},
        },
        supports_check_mode=True,
    )
    node = Node(run=module.run_command)
    parameters = module.params
    wishes = Wishes(
        src=parameters["src"],
        identity=parameters["identity"],
        expected=parameters["ca_cert_hashes"],
        replace=parameters["replace"],
        timeout=parameters["timeout"],
    )
    with module_errors(module):
        wishes.check()
        with node.locked(timeout=wishes.timeout):
            result = restore(node=node, wishes=wishes, check_mode=module.check_mode)
    module.exit_json(changed=True, backup=result)


if __name__ == "__main__":
    main()
