# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Try a change of a node's network, come back over the new path, and confirm it.

All of this is one task, so that no node waits for its controller while that one is busy with others.
"""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible_collections.bramble.pi.plugins.module_utils._ssh.known_hosts import known_name
from ansible_collections.bramble.pi.plugins.plugin_utils._inventory import ssh

_POLL = 1.0
# How long the node may take to put everything back: the commands of a manager have time limits of their own.
_RESTORE_TIMEOUT = 120.0
_CONNECT_TIMEOUT = 3


class ActionModule(ActionBase):
    """What the controller does of the module."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the module, and confirm what it tries."""
        super().run(tmp, task_vars)
        self._variables = task_vars or {}
        result = self._module("try")
        trial = result.pop("trial", None)
        if trial is None:
            return result
        timeout = int(self._task.args.get("confirm_timeout") or 90)
        started = time.monotonic()
        reach_at = result.get("reach_at")
        usual = self._ssh_options()
        answer: dict[str, Any] = {}
        problem = ""
        known_as = self._known_as() if usual is not None else None
        while not answer and time.monotonic() < started + timeout:
            if usual is not None:
                self._go_new_way(usual, reach_at, known_as)
            try:
                answer = self._module("confirm", trial)
            except AnsibleConnectionFailure as error:
                problem = " ".join(str(error).split())
                time.sleep(_POLL)
        if usual is not None:
            self._go_usual_way(usual)
        if answer.get("state") == "confirmed":
            if reach_at and known_as:
                self._make_known(known_as, reach_at, result)
            return result
        reason = answer.get("reason") or (
            f"the node could not be reached at {reach_at or 'its address'} within {timeout} s "
            f"({answer.get('msg') or problem}); expected an address, a prefix and a gateway by which this "
            "machine reaches the node: set node_network_address and node_network_gateway, or give it more "
            "time with node_network_confirm_timeout"
        )
        result.pop("reach_at", None)
        result.update(failed=True, changed=False, msg=self._explain(result, trial, reason))
        return result

    def _module(self, step: str, trial: str | None = None) -> dict[str, Any]:
        arguments = {**self._task.args, "step": step}
        if trial:
            arguments["trial"] = trial
        result: dict[str, Any] = self._execute_module(module_args=arguments, task_vars=self._variables)
        return result

    def _ssh_options(self) -> dict[str, Any] | None:
        """Return the options that are changed for the new way; without ssh there is no other way."""
        if self._connection.transport != "ssh":
            return None
        return {
            name: self._connection.get_option(name)
            for name in ("ssh_args", "reconnection_retries", "timeout")
        }

    def _go_new_way(self, usual: dict[str, Any], address: str | None, known_as: str | None) -> None:
        """Connect again, to the new address, where the node has to show the key that it is known by."""
        # The first value of an option counts for ssh, and these are the first.
        options = "-o ControlMaster=no -o ControlPath=none"
        if address:
            options += f" -o HostName={address} -o HostKeyAlias={known_as}"
        self._connection.set_option("ssh_args", f"{options} {usual['ssh_args'] or ''}")
        self._connection.set_option("reconnection_retries", 0)
        self._connection.set_option("timeout", _CONNECT_TIMEOUT)

    def _go_usual_way(self, usual: dict[str, Any]) -> None:
        for name, value in usual.items():
            self._connection.set_option(name, value)
        # A shared connection to the old address hangs.
        self._connection.reset()

    def _known_as(self) -> str:
        """Return the name by which the node's host key is known."""
        settings = ssh.settings(self._connection)
        alias = settings.get("hostkeyalias", "none")
        if alias != "none":
            return alias
        host = settings.get("hostname") or str(self._connection.get_option("host"))
        port = settings.get("port", "22")
        return known_name(host=host, port=int(port))

    def _make_known(self, known_as: str, address: str, result: dict[str, Any]) -> None:
        """Enter the new address where the node's key is known, as the node has just shown that key there."""
        port = ssh.settings(self._connection).get("port", "22")
        name = known_name(host=address, port=int(port))
        for file in shlex.split(ssh.settings(self._connection).get("userknownhostsfile", "")):
            path = Path(file).expanduser()
            if not path.is_file() or ssh.known_keys(path, name):
                continue
            keys = ssh.known_keys(path, known_as)
            try:
                ssh.append_lines(path, [f"{name} {key}" for key in keys])
            except OSError as error:
                result.setdefault("warnings", []).append(
                    f"{error}: the host key of {address} could not be entered there; it is that of {known_as}"
                )

    def _explain(self, result: dict[str, Any], trial: str, reason: str) -> str:
        """Wait until the node is as it was, and say so."""
        arguments = self._task.args
        interface = arguments.get("interface", "eth0")
        seen = " and ".join(result["before"]["addresses"]) or "no address"
        attempt = (
            f"{arguments['address']} on {interface} (gateway {arguments.get('gateway') or 'none'}) was tried "
            f"and reverted: {reason}"
        )
        deadline = time.monotonic() + _RESTORE_TIMEOUT
        while time.monotonic() < deadline:
            try:
                state = self._module("report", trial).get("state")
                if state == "taken_back":
                    return f"{attempt}. {interface} has {seen} again"
                if state == "unknown":
                    return (
                        f"{attempt}. The node answers, and has no record of it; expected {seen} on "
                        f"{interface}: run 'ip address show {interface}' there, and this again"
                    )
            except AnsibleConnectionFailure:
                pass
            time.sleep(_POLL)
        return (
            f"{attempt}. It should have {seen} again, but does not answer there either: switch it off and "
            "on, as it starts with its old configuration; roles/node_network/README.md says what else can be "
            "done"
        )
