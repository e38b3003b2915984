#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.cluster_backup``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_backup
short_description: Make a backup of the cluster on a control plane, and prove it
version_added: '0.1.0'
description:
  - Takes a snapshot of etcd, restores it beside, starts that on the loopback address, and compares revision,
    number of keys and hash with those of the cluster's own etcd at the same revision. Only what is proved so
    is kept.
  - The backup is one file - the snapshot, C(/etc/kubernetes) and the kubelet's configuration, and a manifest
    with what was proved and a checksum of each file. It is encrypted by C(age) before it reaches the disk;
    the plain text is in memory only.
  - etcd and its tools come from the image that the node's own etcd runs from. C(age) has to be installed.
  - How it went is written to C(/var/lib/bramble/backup-status.json), which the doctor and the report read.
author:
  - bramble.pi contributors (@bramble-pi)
extends_documentation_fragment:
  - bramble.pi.attributes
attributes:
  check_mode:
    support: partial
    details: That a backup would be made is all that is said.
  diff_mode:
    support: none
  idempotent:
    support: none
    details: Each run makes a backup.
options:
  recipients:
    description: Whom it is encrypted for - public keys of age, or lines of C(ssh-ed25519) or C(ssh-rsa).
    type: list
    elements: str
    required: true
  folder:
    description: Where backups are kept on the node.
    type: path
    default: /var/lib/bramble/backups
  keep:
    description: How many are kept there.
    type: int
    default: 14
  keep_days:
    description: How many days they are kept; the newest one stays.
    type: int
    default: 30
  copies:
    description:
      - The nodes that get a copy of each backup, by ssh, once M(bramble.pi.backup_program) and
        M(bramble.pi.backup_receiver) have set them up. One that cannot be reached fails nothing here.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The node's name.
        type: str
        required: true
      address:
        description: Where it is reached by ssh.
        type: str
        required: true
      port:
        description: The port of its sshd.
        type: int
        default: 22
"""

EXAMPLES = r"""
- name: Make a backup
  bramble.pi.cluster_backup:
    recipients: [age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p]
  register: backup

- name: Fetch it
  ansible.builtin.fetch:
    src: "{{ backup.backup.file }}"
    dest: backups/
    flat: true
"""

RETURN = r"""
backup:
  description: What was made; there is none in check mode.
  returned: success, not in check mode
  type: dict
  contains:
    file:
      description: Where it is.
      type: str
      returned: success
      sample: /var/lib/bramble/backups/bramble-20261001T120000Z-0fffefc56e99-pi-1.tar.gz.age
    created:
      description: When the snapshot was taken.
      type: str
      returned: success
      sample: '2026-10-01T12:00:00Z'
    proved:
      description: When it was proved.
      type: str
      returned: success
      sample: '2026-10-01T12:00:21Z'
    revision:
      description: The revision of etcd that it holds.
      type: int
      returned: success
      sample: 48211
    keys:
      description: How many keys it holds.
      type: int
      returned: success
      sample: 312
    size:
      description: The size of the file in bytes.
      type: int
      returned: success
      sample: 3145728
    sha256:
      description: The checksum of the file.
      type: str
      returned: success
      sample: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    ca_cert_hash:
      description: The hash of the cluster's CA.
      type: str
      returned: success
      sample: sha256:0fffefc56e995a82f8966f6d22d96bbe4ad95e32bfaa7f7a591a1fb935e9a206
    copies:
      description:
        - By node, when a copy last came there, which one is the newest there, which ones of this node's came,
          and why the last one did not.
      type: dict
      returned: success
      sample:
        pi-2:
          copied: '2026-10-01T12:00:25Z'
          file: bramble-20261001T120000Z-0fffefc56e99-pi-1.tar.gz.age
          names: [bramble-20261001T120000Z-0fffefc56e99-pi-1.tar.gz.age]
          error: null
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._backup import copies
from ansible_collections.bramble.pi.plugins.module_utils._backup.make import Wishes, make_backup
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import module_errors


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "recipients": {"type": "list", "elements": "str", "required": True},
            "folder": {"type": "path", "default": "/var/lib/bramble/backups"},
            "keep": {"type": "int", "default": 14},
            "keep_days": {"type": "int", "default": 30},
            "copies": copies.OPTION,
        },
        supports_check_mode=True,
    )
    wishes = Wishes.of(module.params)
    with module_errors(module):
        wishes.check()
        if module.check_mode:
            module.exit_json(changed=True)
        status = make_backup(run=module.run_command, wishes=wishes)
    module.exit_json(changed=True, backup=status)


if __name__ == "__main__":
    main()
