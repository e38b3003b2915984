#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.nfs_server``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: nfs_server
short_description: Serve folders by NFS 4.1
version_added: '0.1.0'
description:
  - Installs an NFS server, that of the kernel or nfs-ganesha, and has it serve folders to the addresses that
    each is for, and to nobody else.
  - Several roles can have the same host serve folders; there is one server for all of them. It goes with the
    last one.
  - Services that NFS 4 does not need, rpcbind above all, are kept away.
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
  owner:
    description: Whose folders these are. Variables are named in messages with it as their prefix.
    type: str
    required: true
  state:
    description:
      - With V(absent) nothing of O(owner) is served any more. The folders and what is in them stay.
    type: str
    choices: [present, absent]
    default: present
  address:
    description: The address of this host at which it listens. Required for O(state=present).
    type: str
  kind:
    description: The server, V(auto) for that of the kernel where there is one.
    type: str
    choices: [auto, kernel, ganesha]
    default: auto
  exports:
    description: What is served.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: The folder.
        type: str
        required: true
      addresses:
        description: The addresses that it is for.
        type: list
        elements: str
        required: true
  folders:
    description:
      - Folders of O(exports) that are created before, on a disk that is mounted.
    type: list
    elements: str
    default: []
  inside:
    description: Folders inside of them that are created too, for all users.
    type: list
    elements: str
    default: []
  root_file_system:
    description: Whether O(folders) may be on the file system of C(/).
    type: bool
    default: false
  timeout:
    description: How many seconds the server may take to answer.
    type: int
    default: 60
"""

EXAMPLES = r"""
- name: Serve a folder to two nodes
  bramble.pi.nfs_server:
    owner: storage_server
    address: 10.0.0.1
    exports:
      - {path: /mnt/ssd/data, addresses: [10.0.0.2, 10.0.0.3]}
    folders: [/mnt/ssd/data]
"""

RETURN = r"""
changes:
  description: What was changed, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: [install nfs-kernel-server, restart nfs-server.service]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common import apt
from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import module_errors
from ansible_collections.bramble.pi.plugins.module_utils._nfs.configuration import Export, Served
from ansible_collections.bramble.pi.plugins.module_utils._nfs.folders import ensure_folders
from ansible_collections.bramble.pi.plugins.module_utils._nfs.server import Server


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "owner": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "address": {"type": "str"},
            "kind": {"type": "str", "choices": ["auto", "kernel", "ganesha"], "default": "auto"},
            "exports": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "path": {"type": "str", "required": True},
                    "addresses": {"type": "list", "elements": "str", "required": True},
                },
            },
            "folders": {"type": "list", "elements": "str", "default": []},
            "inside": {"type": "list", "elements": "str", "default": []},
            "root_file_system": {"type": "bool", "default": False},
            "timeout": {"type": "int", "default": 60},
        },
        required_if=[("state", "present", ["address"])],
        supports_check_mode=True,
    )
    module.run_command_environ_update = apt.ENVIRONMENT
    given = module.params
    changes = Changes(check_mode=module.check_mode, run=module.run_command)
    server = Server(run=module.run_command, changes=changes)
    with module_errors(module, result=changes.result):
        if given["state"] == "absent":
            server.remove(given["owner"], timeout=given["timeout"])
        else:
            ensure_folders(
                changes=changes,
                shares=given["folders"],
                inside=given["inside"],
                root_file_system=given["root_file_system"],
            )
            exports = tuple(Export(each["path"], tuple(each["addresses"])) for each in given["exports"])
            kind = server.kind(given["kind"])
            server.ensure(Served(given["owner"], kind, given["address"], exports), timeout=given["timeout"])
    module.exit_json(**changes.result())


if __name__ == "__main__":
    main()
