# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Have a client certificate of the cluster, signed by the control plane that the task runs for."""

from __future__ import annotations

import datetime
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.plugin_utils._remote_access import kubeconfig, signing


class ActionModule(ActionBase):
    """What the controller does of the module."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the certificate that is there, or another one."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        self._variables = task_vars or {}
        _spec, arguments = self.validate_argument_spec(
            argument_spec={
                "common_name": {"type": "str", "required": True},
                "present": {"type": "str", "default": "", "no_log": True},
                "renew_days": {"type": "int", "default": 60},
            }
        )
        try:
            kubeconfig.require_library()
            return {**result, **self._credentials(**arguments)}
        except BrambleError as error:
            return {**result, "failed": True, "msg": str(error)}

    def _credentials(self, *, common_name: str, present: str, renew_days: int) -> dict[str, Any]:
        ca = signing.authority(self._execute, check_mode=self._task.check_mode)
        until = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=renew_days)
        # As it was made below: the key comes last.
        certificate, mark, key = present.partition("-----BEGIN PRIVATE KEY-----")
        found = kubeconfig.Credentials(certificate, mark + key)
        if ca and kubeconfig.is_usable(found, ca=ca, common_name=common_name, until=until):
            return {"changed": False, "certificate": present, "ca": ca}
        if self._task.check_mode:
            return {"changed": True, "certificate": "", "ca": ca}
        key, csr = kubeconfig.request(common_name=common_name)
        return {"changed": True, "certificate": signing.signed(self._execute, csr) + key, "ca": ca}

    def _execute(self, module: str, arguments: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = self._execute_module(module, arguments, task_vars=self._variables)
        return answer
