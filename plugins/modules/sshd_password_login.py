#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.sshd_password_login``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: sshd_password_login
short_description: Have sshd take keys and no passwords, once keys have been proved to work
version_added: '0.1.0'
description:
  - Before anything is changed the controller logs in anew, by a key alone and in the way that Ansible takes.
    Only if that works a file is put into C(/etc/ssh/sshd_config.d), judged by sshd itself, and read by a
    reload.
  - Then the controller logs in anew again, and asks sshd what it offers. Only if a key still gets in and a
    password is not offered any more the change is kept. Otherwise, or if the controller does not come back in
    time, the node takes it back.
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
    description: How long logging in may take before the change is taken back, in seconds.
    type: int
    default: 120
  step:
    description: What the node is to do; set by the controller's part of this module.
    type: str
    choices: [look, try, confirm, revert]
    default: look
"""

EXAMPLES = r"""
- name: Take no passwords
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

import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text, write_text
from ansible_collections.bramble.pi.plugins.module_utils._ssh import sshd as ssh_sshd
from ansible_collections.bramble.pi.plugins.module_utils._ssh.config import parse_settings

_KEEP = "or set ssh_access_password_login to keep"


def _effective(module: AnsibleModule, sshd: str) -> dict[str, str]:
    rc, output, error = module.run_command(ssh_sshd.effective_command(sshd=sshd, user=module.params["user"]))
    if rc != 0:
        _take_back(module)
        module.fail_json(
            msg=f"sshd does not take its own configuration: {' '.join(error.split())}; wanted is one that "
            f"`sshd -t` takes: mend it, {_KEEP}"
        )
    return parse_settings(output)


def _reload(module: AnsibleModule) -> None:
    """Have sshd read its configuration; one that is started for each connection does so by itself."""
    for unit in ("ssh.service", "sshd.service"):
        rc, _output, _error = module.run_command(["systemctl", "is-active", "--quiet", unit])
        if rc == 0:
            module.run_command(["systemctl", "reload", unit], check_rc=True)
            return


def _stop_timer(module: AnsibleModule) -> bool:
    """Keep the trial from being taken back; return whether it was in time."""
    rc, _output, _error = module.run_command(["systemctl", "stop", f"{ssh_sshd.UNIT}.timer"])
    return rc == 0


def _is_trial() -> bool:
    return read_text(ssh_sshd.DROP_IN) == ssh_sshd.TRIAL_TEXT


def _take_back(module: AnsibleModule) -> None:
    """Have the configuration as it was; what has been proved stays."""
    if _is_trial():
        os.unlink(ssh_sshd.DROP_IN)
        _reload(module)
    if os.path.lexists(ssh_sshd.TRIAL):
        os.unlink(ssh_sshd.TRIAL)
    _stop_timer(module)


def look(module: AnsibleModule, sshd: str) -> dict[str, Any]:
    """Tell by which ways a password gets in."""
    # A trial that nobody came back to counts for nothing.
    if _is_trial() and not module.check_mode:
        _take_back(module)
    effective = _effective(module, sshd)
    ways = ssh_sshd.ways_in(effective)
    before = read_text(ssh_sshd.DROP_IN) or ""
    after = ssh_sshd.drop_in(effective) if ways else before
    return {
        "changed": bool(ways),
        "ways_in": ways,
        "boot_id": (read_text("/proc/sys/kernel/random/boot_id") or "").strip(),
        "diff": {
            "before_header": ssh_sshd.DROP_IN,
            "after_header": ssh_sshd.DROP_IN,
            "before": before,
            "after": after,
        },
    }


def attempt(module: AnsibleModule, sshd: str) -> dict[str, Any]:
    """Take no passwords for a while."""
    text = ssh_sshd.drop_in(_effective(module, sshd))
    # Left by a run that was killed.
    _stop_timer(module)
    module.run_command(ssh_sshd.trial_command(seconds=module.params["timeout"]), check_rc=True)
    write_text(ssh_sshd.TRIAL, text)
    write_text(ssh_sshd.DROP_IN, ssh_sshd.TRIAL_TEXT)
    ways = ssh_sshd.ways_in(_effective(module, sshd))
    if ways:
        _take_back(module)
        module.fail_json(
            msg=f"{' and '.join(ways)} stays on, and nothing was changed: /etc/ssh/sshd_config does not read "
            f"{ssh_sshd.DROP_IN}, or has another value before that or in a Match block; wanted is the line "
            f"'Include /etc/ssh/sshd_config.d/*.conf' at its top: put it there, {_KEEP}"
        )
    _reload(module)
    return {"changed": True}


def confirm(module: AnsibleModule) -> dict[str, Any]:
    """Keep what was tried."""
    in_time = _stop_timer(module)
    text = read_text(ssh_sshd.TRIAL)
    if in_time and text is not None and _is_trial():
        write_text(ssh_sshd.DROP_IN, text)
        os.unlink(ssh_sshd.TRIAL)
        return {"changed": True}
    _take_back(module)
    return {
        "failed": True,
        "msg": f"password login is on again, as the controller came back after more than "
        f"{module.params['timeout']} s; run again, {_KEEP}",
    }


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
    if sshd is None:
        module.fail_json(msg=f"there is no sshd of OpenSSH on this node: install openssh-server, {_KEEP}")
    step = module.params["step"]
    try:
        if step == "look":
            result = look(module, sshd)
        elif step == "try":
            result = attempt(module, sshd)
        elif step == "confirm":
            result = confirm(module)
        else:
            _take_back(module)
            result = {"changed": False}
    except PermissionError as error:
        module.fail_json(msg=f"{error}; wanted are the rights of root: set become to true")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
