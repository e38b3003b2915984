#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.sshd_password_login``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: sshd_password_login
short_description: Disable sshd's password login, once keys have been proved to work
version_added: '0.1.0'
description:
  - Before anything is changed the controller logs in again, by a key alone and in the way that Ansible takes.
    Only if that works a file is put into C(/etc/ssh/sshd_config.d), checked by sshd itself, and read by a
    reload.
  - Then the controller logs in again, and asks sshd what it offers. Only if a key still gets in and a
    password is not offered any more the change is kept. Otherwise, or if the controller does not come back in
    time, the node reverts it.
  - Whether a password gets in is asked from C(sshd -T), as many files can have a say in it.
author:
  - bramble.pi contributors (@bramble-pi)
extends_documentation_fragment:
  - bramble.pi.attributes
attributes:
  check_mode:
    support: full
    details:
      - Logging in by a key is not tried in check mode, as the key may not be there yet.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  user:
    description: The user for whom the configuration is looked at, which can differ between users.
    type: str
    required: true
  timeout:
    description: How long logging in may take before the change is reverted, in seconds.
    type: int
    default: 120
  step:
    description: What the node is to do; set by the controller's part of this module.
    type: str
    choices: [look, try, confirm, revert]
    default: look
"""

EXAMPLES = r"""
- name: Disable password login
  bramble.pi.sshd_password_login:
    user: pi
"""

RETURN = r"""
ways_in:
  description: The options of sshd by which a password got in before.
  returned: success
  type: list
  elements: str
  sample: [PasswordAuthentication]
boot_id:
  description: By what the node is told from any other.
  returned: success
  type: str
  sample: 6f1c2d4e-0a0b-4a53-9d3b-7d1f6a2b9c10
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import module_errors
from ansible_collections.bramble.pi.plugins.module_utils._ssh.password_login import KEEP, PasswordLogin


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "user": {"type": "str", "required": True},
            "timeout": {"type": "int", "default": 120},
            "step": {"type": "str", "choices": ["look", "try", "confirm", "revert"], "default": "look"},
        },
        supports_check_mode=True,
    )
    sshd = module.get_bin_path("sshd", opt_dirs=["/usr/sbin", "/usr/local/sbin"])
    with module_errors(module):
        if sshd is None:
            module.fail_json(msg=f"there is no sshd of OpenSSH on this node: install openssh-server, {KEEP}")
        login = PasswordLogin(
            module.run_command,
            sshd=sshd,
            user=module.params["user"],
            seconds=module.params["timeout"],
            check_mode=module.check_mode,
        )
        steps = {
            "look": login.look,
            "try": login.attempt,
            "confirm": login.confirm,
            "revert": login.revert,
        }
        result = steps[module.params["step"]]()
    module.exit_json(**result)


if __name__ == "__main__":
    main()
