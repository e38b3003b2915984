#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.backup_receiver``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_receiver
short_description: Let a control plane add copies of its backups to this node, and do nothing else
version_added: '0.1.0'
description:
  - Creates the user C(bramble-backup), who has no rights, no password and a home that is root's, and enters
    the sender's key with one command that it can run. That adds a backup whose checksum is right, under a
    name that is not taken, while there is room; it reads, lists, replaces and removes nothing for the sender.
  - After each copy that comes, those that were made and came more than O(keep_days) days ago are removed, but
    the newest. In 24 hours a sender can add 48 at most, and a tenth of the disk.
  - What in the configuration of sshd keeps that user out, such as C(AllowUsers), is an error that names it.
author:
  - bramble.pi contributors (@bramble-pi)
extends_documentation_fragment:
  - bramble.pi.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details: Of the line in C(authorized_keys) only.
  idempotent:
    support: full
options:
  sender:
    description: The name of the node that sends, which is also that of its folder.
    type: str
    required: true
  state:
    description:
      - Whether it may add copies.
      - With V(absent) its line goes, and with the last one the user, its home and the program. Copies stay.
    type: str
    choices: [present, absent]
    default: present
  key:
    description:
      - The public half of the sender's key, as M(bramble.pi.backup_program) returns it; empty in check mode
        only.
    type: str
    default: ''
  folder:
    description: Where copies are kept, in a folder for each sender.
    type: path
    default: /var/lib/bramble-backup-copies
  keep_days:
    description: For how many days.
    type: int
    default: 30
"""

EXAMPLES = r"""
- name: Let pi-1 add its backups
  bramble.pi.backup_receiver:
    sender: pi-1
    key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGYPBWtAFNQ5YQbNGYPo8DRBZu1sBFHZ1bCDFMK+3Gah bramble-backup
"""

RETURN = r"""
changes:
  description: What was changed, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: [create the user bramble-backup, let pi-1 in to add copies]
host_keys:
  description: The keys by which sshd of this node is known.
  returned: success
  type: list
  elements: str
  sample: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGYPBWtAFNQ5YQbNGYPo8DRBZu1sBFHZ1bCDFMK+3Gah]
copies:
  description: How many copies of a sender who is not let in any more are still there.
  returned: success and O(state=absent)
  type: int
  sample: 12
folder:
  description: Where the sender's copies are.
  returned: success
  type: str
  sample: /var/lib/bramble-backup-copies/pi-1
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._backup import copies, receiver
from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import module_errors


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "sender": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "key": {"type": "str", "default": "", "no_log": False},
            "folder": {"type": "path", "default": "/var/lib/bramble-backup-copies"},
            "keep_days": {"type": "int", "default": 30},
        },
        supports_check_mode=True,
    )
    sender, folder = module.params["sender"], module.params["folder"]
    changes = Changes(check_mode=module.check_mode, run=module.run_command)
    result: dict[str, Any] = {}
    with module_errors(module, result=changes.result):
        if module.params["state"] == "present":
            receiver.let_in(
                sender=sender,
                key=module.params["key"],
                folder=folder,
                days=module.params["keep_days"],
                changes=changes,
                run=module.run_command,
            )
        else:
            result["copies"] = receiver.keep_out(sender=sender, folder=folder, changes=changes)
        result.update(host_keys=receiver.host_keys(), folder=copies.folder_of(folder, sender))
    module.exit_json(**changes.result(), **result)


if __name__ == "__main__":
    main()
