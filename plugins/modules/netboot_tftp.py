#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.netboot_tftp``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: netboot_tftp
short_description: Serve the files that nodes boot from by TFTP
version_added: '0.1.0'
description:
  - Writes the unit C(bramble-tftp.service), starts it, and has it started at each boot. It is a dnsmasq of
    its own, which serves nothing but TFTP, at one interface, whatever else dnsmasq does on that host.
  - That dnsmasq sees O(dir) and its own program with its libraries, and no other file of the host. So a link
    that a node has put into its part of O(dir) leads to nothing.
  - It is restarted if another file system was mounted over O(dir) since, and if a run was killed before it
    could do that.
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
requirements:
  - dnsmasq
  - systemd
options:
  dir:
    description: The folder that is served, such as V(/srv/netboot/tftp). It is made if it is not there.
    type: path
    required: true
  interface:
    description: The interface to the nodes, such as V(eth0).
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Serve the boot files
  bramble.pi.netboot_tftp:
    dir: /srv/netboot/tftp
    interface: eth0
"""

RETURN = r"""
changes:
  description: What was changed, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: [write /etc/systemd/system/bramble-tftp.service, restart bramble-tftp.service]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import module_errors
from ansible_collections.bramble.pi.plugins.module_utils._netboot.tftp_server import TftpServer


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "dir": {"type": "path", "required": True},
            "interface": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    # Messages of the tools are read by people only, but in a language that all of them know.
    module.run_command_environ_update = {"LC_ALL": "C.UTF-8"}
    changes = Changes(check_mode=module.check_mode)
    with module_errors(module, result=changes.result):
        TftpServer(run=module.run_command, changes=changes).ensure(
            folder=module.params["dir"], interface=module.params["interface"]
        )
    module.exit_json(**changes.result())


if __name__ == "__main__":
    main()
