#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.ssh_config``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ssh_config
short_description: Let ssh reach the nodes of a rack by their names
version_added: '0.1.0'
description:
  - Writes a file with an entry for each node, and one line at the top of the user's own configuration that
    includes it.
  - C(ssh -G) has to take both before they are put in place, to find each node as it should be, and to make
    the same of any other host as before. A configuration that ssh does not take already is not touched.
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
    description:
      - The user's configuration. Before it is edited for the first time it is kept beside, under a name that
        ends in C(.bramble-original).
    type: path
    default: ~/.ssh/config
  entries:
    description: The file with the entries, which is the rack's own.
    type: path
    required: true
  title:
    description: What the rack is called in the first line of that file.
    type: str
    required: true
  hosts:
    description: The nodes.
    type: list
    elements: dict
    required: true
    suboptions:
      names:
        description: What the user calls the node, such as V([pi-2]).
        type: list
        elements: str
        required: true
      address:
        description: Its address or name.
        type: str
        required: true
      user:
        description: Who logs in there; empty for the user's own name.
        type: str
        default: ''
      port:
        description: The port of its sshd.
        type: int
        default: 22
      jump:
        description: The node through which it is reached, by one of its names; empty for none.
        type: str
        default: ''
  key_file:
    description: The key that opens them.
    type: path
    required: true
  known_hosts:
    description: The file with their host keys, if it is not the one that ssh has by itself.
    type: path
"""

EXAMPLES = r"""
- name: Reach the nodes by their names
  bramble.pi.ssh_config:
    entries: ~/.ssh/bramble-rack.conf
    title: rack
    key_file: ~/.ssh/id_ed25519
    hosts:
      - names: [pi-1]
        address: 192.168.1.50
        user: pi
      - names: [pi-2]
        address: 10.0.0.2
        user: pi
        jump: pi-1
"""

RETURN = r"""
backup_file:
  description: Where the user's configuration is kept as it was before the first edit.
  returned: when there is one
  type: str
  sample: /home/ada/.ssh/config.bramble-original
"""

import os
import pwd

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import module_errors
from ansible_collections.bramble.pi.plugins.module_utils._ssh import config as ssh_config
from ansible_collections.bramble.pi.plugins.module_utils._ssh import config_files


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "default": "~/.ssh/config"},
            "entries": {"type": "path", "required": True},
            "title": {"type": "str", "required": True},
            "hosts": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "names": {"type": "list", "elements": "str", "required": True},
                    "address": {"type": "str", "required": True},
                    "user": {"type": "str", "default": ""},
                    "port": {"type": "int", "default": 22},
                    "jump": {"type": "str", "default": ""},
                },
            },
            "key_file": {"type": "path", "required": True, "no_log": False},
            "known_hosts": {"type": "path"},
        },
        supports_check_mode=True,
    )
    module.get_bin_path("ssh", required=True)
    options = module.params
    hosts = [ssh_config.Host(**host) for host in options["hosts"]]
    # ssh asks the system for the user's home, and not the environment.
    home = pwd.getpwuid(os.getuid()).pw_dir
    result: dict[str, object] = {}
    # The files are their user's, who has to do without root.
    denied = "expected a file of your own: give it to yourself with chown, or set ssh_access_config_file"
    with module_errors(module, subject=options["path"], denied=denied, result=lambda: result):
        entries = ssh_config.entries(
            title=options["title"],
            hosts=hosts,
            key_file=options["key_file"],
            known_hosts=options["known_hosts"] or "",
        )
        edits = config_files.edits(
            path=options["path"], entries_path=options["entries"], entries=entries, home=home
        )
        if edits.changed:
            config_files.check(module.run_command, desired=edits, hosts=hosts, home=home)
            if not module.check_mode:
                config_files.write(module.run_command, desired=edits, hosts=hosts)
        result = {"changed": edits.changed, "diff": [edit.diff for edit in edits]}
        result.update({"backup_file": edits.backup} if edits.backup else {})
    module.exit_json(**result)


if __name__ == "__main__":
    main()
