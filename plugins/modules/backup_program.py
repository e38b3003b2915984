#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.backup_program``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_program
short_description: Have the program on a control plane that makes backups without a controller
version_added: '0.1.0'
description:
  - Writes one file that the node's Python runs, which does what M(bramble.pi.cluster_backup) does, and the
    settings that it reads. A timer of systemd may run it.
  - With O(copies) it makes the key that copies are sent with, which never leaves the node; without, it
    removes it.
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
  recipients:
    description: Whom backups are encrypted for, as of M(bramble.pi.cluster_backup).
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
      - The nodes that get a copy of each backup, as M(bramble.pi.cluster_backup) has them. What they need for
        that is done by M(bramble.pi.backup_receiver).
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
  forget:
    description: Nodes of RV(former) that do not let this one in any more.
    type: list
    elements: str
    default: []
  dest:
    description: Where the program is written.
    type: path
    default: /usr/local/lib/bramble/backup.pyz
"""

EXAMPLES = r"""
- name: Install the program of the timer
  bramble.pi.backup_program:
    recipients: [age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p]
"""

RETURN = r"""
changes:
  description: What was changed, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: [write /usr/local/lib/bramble/backup.pyz]
public_key:
  description:
    - The public half of the key that copies are sent with; empty without one, and in check mode before it is
      made.
  returned: success
  type: str
  sample: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGYPBWtAFNQ5YQbNGYPo8DRBZu1sBFHZ1bCDFMK+3Gah bramble-backup
former:
  description: The nodes that got copies, get none now, and may still let this one in.
  returned: success
  type: list
  elements: str
  sample: [pi-3]
"""

import json
from dataclasses import asdict

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._backup import copies, send, timer
from ansible_collections.bramble.pi.plugins.module_utils._backup import status as backup_status
from ansible_collections.bramble.pi.plugins.module_utils._backup.make import Wishes
from ansible_collections.bramble.pi.plugins.module_utils._backup.status import SETTINGS
from ansible_collections.bramble.pi.plugins.module_utils._common import program
from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import module_errors
from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "recipients": {"type": "list", "elements": "str", "required": True},
            "folder": {"type": "path", "default": "/var/lib/bramble/backups"},
            "keep": {"type": "int", "default": 14},
            "keep_days": {"type": "int", "default": 30},
            "copies": copies.OPTION,
            "forget": {"type": "list", "elements": "str", "default": []},
            "dest": {"type": "path", "default": "/usr/local/lib/bramble/backup.pyz"},
        },
        supports_check_mode=True,
    )
    changes = Changes(check_mode=module.check_mode)
    wishes = Wishes.of(module.params)
    with module_errors(module, result=changes.result):
        wishes.check()
        former = copies.former(
            before=backup_status.parse(read_text(SETTINGS)),
            now=wishes.copies,
            forget=module.params["forget"],
        )
        content = {**asdict(wishes), "former": former}
        changes.write(SETTINGS, json.dumps(content, indent=2) + "\n")
        program.install(timer, module.params["dest"], changes)
        key = ""
        if wishes.copies:
            key = send.own_key(changes, module.run_command)
        else:
            send.remove_key(changes)
    module.exit_json(**changes.result(), public_key=key, former=former)


if __name__ == "__main__":
    main()
