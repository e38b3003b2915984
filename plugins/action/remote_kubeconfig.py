# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Put a cluster into the kubeconfig of the person who runs Ansible.

All of it runs on the controller, so that the private key never leaves it. A control plane signs the
certificate.
"""

from __future__ import annotations

import datetime
import errno
import http.client
import os
import ssl
import tempfile
import time
from typing import Any
from urllib.parse import urlsplit

from ansible.plugins.action import ActionBase
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError, os_error_text
from ansible_collections.bramble.pi.plugins.module_utils._common.files import free_backup_name
from ansible_collections.bramble.pi.plugins.module_utils._common.home_files import (
    HomeFile,
    open_folder,
    real_file,
)
from ansible_collections.bramble.pi.plugins.plugin_utils._remote_access import kubeconfig, signing

_POLL = 2.0
_CONNECT_TIMEOUT = 5.0


class ActionModule(ActionBase):
    """What the controller does of the module."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Merge the cluster in, or take it out."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        self._variables = task_vars or {}
        _spec, arguments = self.validate_argument_spec(
            argument_spec={
                "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
                "dest": {"type": "path", "default": "~/.kube/config"},
                "server": {"type": "str"},
                "cluster": {"type": "str", "default": "rpi-cluster"},
                "context": {"type": "str", "default": "rpi"},
                "user": {"type": "str", "default": "rpi-admin"},
                "common_name": {"type": "str"},
                "renew_days": {"type": "int", "default": 30},
                "timeout": {"type": "int", "default": 120},
            },
            required_if=[("state", "present", ("server", "common_name"))],
        )
        # Plain values: Ansible's own kinds of text are none that YAML knows.
        self._arguments: dict[str, Any] = {
            name: str(value) if isinstance(value, str) else value for name, value in arguments.items()
        }
        arguments = self._arguments
        self._names = kubeconfig.Names(arguments["cluster"], arguments["context"], arguments["user"])
        dest = arguments["dest"]
        try:
            kubeconfig.require_library()
            folder, name = real_file(dest)
            with open_folder(folder) as opened:
                present = opened.read(name) if opened is not None else None
            before = kubeconfig.load(present.text if present else "")
            if arguments["state"] == "absent":
                after = kubeconfig.without(before, names=self._names)
            else:
                after = self._with_cluster(before)
            return {**result, **self._written(dest, present, before, after)}
        except BrambleError as error:
            return {**result, "failed": True, "msg": f"{dest}: {error}"}
        except OSError as error:
            # The file is its user's, who has to do without root.
            denied = "expected a file of your own: use chown, or set remote_access_kubeconfig"
            return {**result, "failed": True, "msg": os_error_text(error, path=dest, denied=denied)}

    def _with_cluster(self, before: dict[str, Any]) -> dict[str, Any]:
        """Return the kubeconfig with the cluster in it, after the proof that it works."""
        ca = self._ca()
        if not ca:
            # In check mode there may be no cluster yet.
            return {**before, "clusters": [{"name": self._names.cluster}]}
        server = self._arguments["server"]
        common_name = self._arguments["common_name"]
        kubeconfig.require_room(before, names=self._names, server=server, ca=ca)
        until = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(
            days=self._arguments["renew_days"]
        )
        credentials = kubeconfig.usable(
            before, names=self._names, ca=ca, common_name=common_name, until=until
        )
        if credentials is None and self._task.check_mode:
            credentials = kubeconfig.Credentials("", "")
        elif credentials is None:
            key, csr = kubeconfig.request(common_name=common_name)
            credentials = kubeconfig.Credentials(self._signed(csr), key)
        if not self._task.check_mode:
            self._prove(server, ca, credentials)
        return kubeconfig.merged(before, names=self._names, server=server, ca=ca, credentials=credentials)

    def _execute(self, module: str, arguments: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = self._execute_module(module, arguments, task_vars=self._variables)
        return answer

    def _ca(self) -> str:
        return signing.authority(self._execute, check_mode=self._task.check_mode)

    def _signed(self, csr: str) -> str:
        return signing.signed(self._execute, csr)

    def _prove(self, server: str, ca: str, credentials: kubeconfig.Credentials) -> None:
        """Ask the API server from here, as kubectl will."""
        context = ssl.create_default_context(cadata=ca)
        # The library reads them from files only.
        with tempfile.NamedTemporaryFile("w", encoding="ascii") as file:
            file.write(credentials.certificate + credentials.key)
            file.flush()
            context.load_cert_chain(file.name)
        url = urlsplit(server)
        deadline = time.monotonic() + self._arguments["timeout"]
        while True:
            connection = http.client.HTTPSConnection(
                url.hostname or "", url.port or 443, timeout=_CONNECT_TIMEOUT, context=context
            )
            try:
                connection.request("GET", "/api/v1/nodes?limit=1")
                status = connection.getresponse().status
                # Which rights the name has is for the one to say who gave them.
                if status in (http.client.OK, http.client.FORBIDDEN):
                    return
                problem = f"it answers {status}"
            except (OSError, http.client.HTTPException) as error:
                problem = str(error) or type(error).__name__
            finally:
                connection.close()
            if time.monotonic() > deadline:
                break
            time.sleep(_POLL)
        raise kubeconfig.RemoteKubeconfigError(
            f"the API server cannot be used at {server} from here, tried for {self._arguments['timeout']} s: "
            f"{problem}; expected an address that this machine reaches: set remote_access_address, and look "
            "for a firewall between. The kubeconfig was left as it was"
        )

    def _written(
        self, dest: str, present: HomeFile | None, before: dict[str, Any], after: dict[str, Any]
    ) -> dict[str, Any]:
        if after == before:
            return {"changed": False, "dest": dest}
        result: dict[str, Any] = {"changed": True, "dest": dest}
        if self._task.check_mode:
            if present is not None:
                result["backup_file"] = free_backup_name(os.path.realpath(dest))
            return result
        text = kubeconfig.changed(present.text if present else "", after)
        ids = present.ids if present else (os.geteuid(), os.getegid())
        folder_path, name = real_file(dest)
        with open_folder(folder_path, make=ids) as folder:
            if folder is None:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), folder_path)
            if present is not None:
                backup = folder.backup_name(name)
                folder.replace(backup, present.text, mode=0o600, ids=ids)
                result["backup_file"] = os.path.join(folder.path, backup)
            # There is a private key in it now, whatever there was before.
            folder.replace(name, text, mode=0o600, ids=ids)
        return result
