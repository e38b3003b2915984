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
"""

import json
import os
from dataclasses import asdict

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._backup.make import Wishes
from ansible_collections.bramble.pi.plugins.module_utils._backup.program import program
from ansible_collections.bramble.pi.plugins.module_utils._backup.status import SETTINGS
from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import module_errors
from ansible_collections.bramble.pi.plugins.module_utils._common.files import replace_file


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "recipients": {"type": "list", "elements": "str", "required": True},
            "folder": {"type": "path", "default": "/var/lib/bramble/backups"},
            "keep": {"type": "int", "default": 14},
            "keep_days": {"type": "int", "default": 30},
            "dest": {"type": "path", "default": "/usr/local/lib/bramble/backup.pyz"},
        },
        supports_check_mode=True,
    )
    changes = Changes(check_mode=module.check_mode)
    wishes = Wishes.of(module.params)
    with module_errors(module, result=changes.result):
        wishes.check()
        changes.write(SETTINGS, json.dumps(asdict(wishes), indent=2) + "\n")
        _write_program(module.params["dest"], changes)
    module.exit_json(**changes.result())


def _write_program(path: str, changes: Changes) -> None:
    expected = program()
    try:
        with open(path, "rb") as file:
            present = file.read()
    except FileNotFoundError:
        present = None
    if present != expected and changes.note(f"write {path}"):
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        replace_file(path, expected, mode=0o755)


if __name__ == "__main__":
    main()
