# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep the key by which Ansible gets to a node from being removed there."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible_collections.bramble.pi.plugins.module_utils._ssh.keys import (
    authorized_key_problem,
    fingerprint,
    parse_key,
)
from ansible_collections.bramble.pi.plugins.plugin_utils._inventory import ssh


class ActionModule(ActionBase):
    """What the controller does of the module."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Look which key that is, and run the module."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = self._task.args
        if boolean(arguments.get("exclusive", False)) and self._is_own(arguments.get("user")):
            login = ssh.log_in(self._connection, "true")
            # What is wrong with the others, the module says.
            whole = [line for line in arguments.get("keys", []) if authorized_key_problem(str(line)) is None]
            keys = [key for line in whole if (key := parse_key(str(line)))]
            if login.fingerprint and login.fingerprint not in [fingerprint(key.blob) for key in keys]:
                return {
                    **result,
                    "failed": True,
                    "msg": f"Ansible gets to this node by the key {login.fingerprint}; expected one of "
                    f"the {len(keys)} that are to stay; nothing was changed. Add its .pub to "
                    "ssh_access_authorized_keys, set ssh_access_key_file to it, or ssh_access_exclusive to "
                    "false",
                }
        result.update(self._execute_module(task_vars=task_vars))
        return result

    def _is_own(self, user: Any) -> bool:
        """Tell whether that is the user whom Ansible logs in as."""
        if self._connection.transport != "ssh":
            return False
        return self._connection.get_option("remote_user") in (None, user)
