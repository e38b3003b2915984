#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.known_hosts``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: known_hosts
short_description: Make host keys of a whole rack known to ssh, without a changed one slipping in
version_added: '0.1.0'
description:
  - Enters the keys of all hosts in one go. A name that is known with another key is an error with both
    fingerprints, unless O(replace) says that it was to be expected; then nothing is written at all.
  - Keys of other names stay as they are.
author:
  - bramble.pi contributors (@bramble-pi)
extends_documentation_fragment:
  - bramble.pi.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  path:
    description: The file; it gets mode V(0600) and its folder V(0700) if they have to be made.
    type: path
    default: ~/.ssh/known_hosts
  hosts:
    description: The hosts.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The host in messages.
        type: str
        required: true
      known_as:
        description: The names and addresses by which ssh looks for its keys, such as V([10.0.0.2, pi-2]).
        type: list
        elements: str
        required: true
      keys:
        description: Its public keys, each as type and key.
        type: list
        elements: str
        required: true
  replace:
    description: Whether a key that changed takes the place of the one that is known.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Know a node
  bramble.pi.known_hosts:
    hosts:
      - name: pi-2
        known_as: [10.0.0.2, pi-2]
        keys: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGYPBWtAFNQ5YQbNGYPo8DRBZu1sBFHZ1bCDFMK+3Gah]
"""

RETURN = r"""
changes:
  description: What was changed, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: [write /home/ada/.ssh/known_hosts]
added:
  description: The names for which keys were entered.
  returned: success
  type: list
  elements: str
  sample: [10.0.0.2, pi-2]
replaced:
  description: The names whose keys were replaced.
  returned: success
  type: list
  elements: str
  sample: []
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import module_errors
from ansible_collections.bramble.pi.plugins.module_utils._ssh import known_hosts


def main() -> None:
    """Run the module."""
    texts = {"type": "list", "elements": "str", "required": True}
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "default": "~/.ssh/known_hosts"},
            "hosts": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "known_as": texts,
                    "keys": {**texts, "no_log": False},
                },
            },
            "replace": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    module.get_bin_path("ssh-keygen", required=True)
    changes = Changes(check_mode=module.check_mode)
    # The file is its user's, who has to do without root.
    denied = "expected a file of your own: give it to yourself with chown, or set ssh_access_known_hosts_file"
    with module_errors(module, denied=denied, result=changes.result):
        entered = known_hosts.enter(
            module.run_command,
            path=module.params["path"],
            hosts=module.params["hosts"],
            replace=module.params["replace"],
            changes=changes,
        )
    module.exit_json(**changes.result(), added=entered.added, replaced=entered.replaced)


if __name__ == "__main__":
    main()
