#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.systemd_unit``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: systemd_unit
short_description: Run a systemd unit, now and at each boot, with its files as they are
version_added: '0.1.0'
description:
  - Enables and starts a unit, and restarts it if it was started before one of its files was written.
  - Unlike with a handler, a run that is killed between writing and restarting is finished by the next one.
author:
  - bramble.pi contributors (@bramble-pi)
extends_documentation_fragment:
  - bramble.pi.attributes
attributes:
  check_mode:
    support: full
    details: That a file would be written is known by O(changed) only.
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  unit:
    description: Name of the unit.
    type: str
    required: true
  files:
    description:
      - The files that are read when it is started, its own file and drop-ins among them.
      - One that is not there counts for nothing.
    type: list
    elements: path
    required: true
  changed:
    description: Whether this run has written one of the files.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Write the unit
  ansible.builtin.template:
    src: proxy.service.j2
    dest: /etc/systemd/system/proxy.service
    mode: "0644"
  register: proxy_unit

- name: Run the proxy, now and at each boot
  bramble.pi.systemd_unit:
    unit: proxy.service
    files: [/etc/systemd/system/proxy.service, /etc/proxy.conf]
    changed: "{{ proxy_unit is changed }}"
"""

RETURN = r"""
changes:
  description: What was changed, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: [start proxy.service at each boot, restart proxy.service]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import module_errors
from ansible_collections.bramble.pi.plugins.module_utils._common.systemd import Systemd


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "unit": {"type": "str", "required": True},
            "files": {"type": "list", "elements": "path", "required": True},
            "changed": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    changes = Changes(check_mode=module.check_mode)
    with module_errors(module, result=changes.result):
        Systemd(run=module.run_command, changes=changes).ensure_running(
            module.params["unit"], changed=module.params["changed"], files=module.params["files"]
        )
    module.exit_json(**changes.result())


if __name__ == "__main__":
    main()
