#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.time_servers``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: time_servers
short_description: Configure the time servers of a node
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
changes:
  description: What was changed, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: [write /etc/systemd/timesyncd.conf.d/bramble.conf, restart systemd-timesyncd]
path:
  description: The file.
  returned: success
  type: str
  sample: /etc/systemd/timesyncd.conf.d/bramble.conf
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import module_errors
from ansible_collections.bramble.pi.plugins.module_utils._common.systemd import Systemd
from ansible_collections.bramble.pi.plugins.module_utils._rack.time_servers import of_chrony, of_timesyncd


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={"servers": {"type": "list", "elements": "str", "required": True}},
        supports_check_mode=True,
    )
    form = of_chrony if module.get_bin_path("chronyd") else of_timesyncd
    settings = form(module.params["servers"])
    changes = Changes(check_mode=module.check_mode)
    systemd = Systemd(run=module.run_command, changes=changes)
    with module_errors(module, result=changes.result):
        # One that does not run reads it when it is started.
        written = changes.write(settings.path, settings.text)
        if (
            systemd.is_active(settings.unit)
            if written
            else systemd.is_outdated(settings.unit, (settings.path,))
        ):
            systemd.restart_in_one(settings.unit)
    module.exit_json(path=settings.path, **changes.result())


if __name__ == "__main__":
    main()
