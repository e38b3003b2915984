#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.time_servers``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: time_servers
short_description: Name the servers that a node takes its time from
version_added: '0.1.0'
description:
  - Writes a file of its own for chrony where that is installed, else for systemd-timesyncd, and has it read.
    The servers that they come with stay as a fallback.
  - Where neither is installed the file waits for systemd-timesyncd.
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
  servers:
    description: Names or addresses of the servers.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Take the time from the head
  bramble.pi.time_servers:
    servers: [10.0.0.1]
"""

RETURN = r"""
path:
  description: The file.
  returned: success
  type: str
  sample: /etc/systemd/timesyncd.conf.d/bramble.conf
"""

import os
from collections.abc import Sequence

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text, write_text

_MANAGED = "# Written by the collection bramble.pi; changes are overwritten.\n"
_TIMESYNCD = "/lib/systemd/systemd-timesyncd"


def _wanted(module: AnsibleModule, servers: Sequence[str]) -> tuple[str, str, list[str] | None]:
    """Return the file, its text, and the command that has it read."""
    if module.get_bin_path("chronyd", opt_dirs=["/usr/sbin", "/sbin"]):
        text = _MANAGED + "".join(f"server {server} iburst prefer\n" for server in servers)
        return "/etc/chrony/sources.d/bramble.sources", text, ["systemctl", "try-restart", "chrony"]
    text = f"{_MANAGED}[Time]\nNTP={' '.join(servers)}\n"
    command = ["systemctl", "try-restart", "systemd-timesyncd"] if os.path.exists(_TIMESYNCD) else None
    return "/etc/systemd/timesyncd.conf.d/bramble.conf", text, command


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={"servers": {"type": "list", "elements": "str", "required": True}},
        supports_check_mode=True,
    )
    path, text, command = _wanted(module, module.params["servers"])
    before = read_text(path)
    changed = before != text
    if changed and not module.check_mode:
        try:
            write_text(path, text)
        except PermissionError as error:
            module.fail_json(msg=f"{error}; wanted are the rights of root: set become to true")
        if command is not None:
            module.run_command(command, check_rc=True)
    module.exit_json(
        changed=changed,
        path=path,
        diff={"before_header": path, "after_header": path, "before": before or "", "after": text},
    )


if __name__ == "__main__":
    main()
