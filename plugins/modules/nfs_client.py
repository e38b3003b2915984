#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.nfs_client``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: nfs_client
short_description: Let a host mount folders of an NFS server
version_added: '0.1.0'
description:
  - Installs what the kubelet mounts NFS by.
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
  state:
    description:
      - V(absent) removes what the module has installed before, and fails while something is mounted by NFS.
    type: str
    choices: [present, absent]
    default: present
"""

EXAMPLES = r"""
- name: Let the node mount NFS
  bramble.pi.nfs_client:
"""

RETURN = r"""
changes:
  description: What was changed, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: [install nfs-common]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common import apt
from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import module_errors
from ansible_collections.bramble.pi.plugins.module_utils._nfs.client import Client


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={"state": {"type": "str", "choices": ["present", "absent"], "default": "present"}},
        supports_check_mode=True,
    )
    module.run_command_environ_update = apt.ENVIRONMENT
    changes = Changes(check_mode=module.check_mode, run=module.run_command)
    client = Client(run=module.run_command, changes=changes)
    with module_errors(module, result=changes.result):
        if module.params["state"] == "absent":
            client.remove()
        else:
            client.ensure()
    module.exit_json(**changes.result())


if __name__ == "__main__":
    main()
