# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prove that a key gets in before password login is disabled, and again before that is kept."""

from __future__ import annotations

import time
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible_collections.bramble.pi.plugins.plugin_utils._inventory import ssh

# sshd is away for a moment while it reads its configuration; newer ones shut out who fails often.
_PAUSES = (0.5, 1.5, 3.0)
_ASK = "cat /proc/sys/kernel/random/boot_id"
_REMEDY = (
    "expected a key that ssh finds by itself: set ansible_ssh_private_key_file to the one in "
    "ssh_access_key_file, see that the head (ansible_ssh_common_args) takes it as well, or set "
    "ssh_access_password_login to keep"
)


class ActionModule(ActionBase):
    """What the controller does of the module."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Look, prove, try, prove again, and keep what was tried or revert it."""
        super().run(tmp, task_vars)
        self._variables = task_vars or {}
        result = self._module("look")
        if result.get("failed") or not result["changed"] or self._task.check_mode:
            return result
        if self._connection.transport != "ssh":
            problem = (
                f"Ansible gets to this node by {self._connection.transport}, which proves nothing of ssh"
            )
        else:
            problem = self._problem(result["boot_id"])
        if problem:
            return self._refused(
                result, f"Password login stays on, nothing was changed. {problem}; {_REMEDY}"
            )
        tried = self._module("try")
        if tried.get("failed"):
            return tried
        for pause in _PAUSES:
            time.sleep(pause)
            problem = self._problem(result["boot_id"], offered=True)
            if not problem:
                break
        else:
            return self._refused(result, f"{self._take_back()}. {problem}; {_REMEDY}")
        kept = self._module("confirm")
        return kept if kept.get("failed") else result

    def _module(self, step: str) -> dict[str, Any]:
        arguments = {**self._task.args, "step": step}
        result: dict[str, Any] = self._execute_module(module_args=arguments, task_vars=self._variables)
        return result

    def _take_back(self) -> str:
        """Have the node as it was; say so."""
        try:
            self._module("revert")
        except AnsibleConnectionFailure:
            return "Password login is off, and the node turns it on again by itself within minutes"
        return "Password login was off and is on again"

    def _problem(self, boot_id: str, offered: bool = False) -> str:
        """Log in by a key alone; say what is wrong, also that passwords are offered to others."""
        login = ssh.log_in(self._connection, _ASK)
        if login.problem:
            return f"A fresh connection by key alone failed: {login.problem}"
        if login.output.strip() != boot_id:
            return "A fresh connection came to another node than Ansible's own"
        if offered:
            methods = ssh.offered(self._connection)
            if methods is None:
                return "sshd could not be asked what it offers"
            wrong = {"password", "keyboard-interactive", "none"}.intersection(methods)
            if wrong:
                return (
                    f"sshd still offers {' and '.join(sorted(wrong))} from here, as a Match block can have it"
                )
        return ""

    @staticmethod
    def _refused(result: dict[str, Any], message: str) -> dict[str, Any]:
        return {"failed": True, "changed": False, "msg": message, "ways_in": result["ways_in"]}
