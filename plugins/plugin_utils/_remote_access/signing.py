# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Has the cluster sign a client certificate, by the modules that a control plane runs."""

from __future__ import annotations

import base64
import json
import secrets
import time
from collections.abc import Callable
from typing import Any

from ansible_collections.bramble.pi.plugins.plugin_utils._remote_access import kubeconfig

#: Runs a module on a control plane, with its arguments.
Execute = Callable[[str, "dict[str, Any]"], "dict[str, Any]"]

_POLL = 2.0
_TIMEOUT = 60.0


def authority(execute: Execute, *, check_mode: bool) -> str:
    """Return the certificate of the cluster's authority; in check mode there may be none yet."""
    answer = execute("ansible.legacy.slurp", {"src": "/etc/kubernetes/pki/ca.crt"})
    if answer.get("failed") and not check_mode:
        raise kubeconfig.RemoteKubeconfigError(
            f"the certificate of the cluster's authority cannot be read: {answer.get('msg')}; expected "
            "a control plane: run site.yml before"
        )
    return base64.b64decode(answer.get("content", "")).decode()


def _kubectl(execute: Execute, *arguments: str, data: str | None = None) -> str:
    command = ["kubectl", "--kubeconfig=/etc/kubernetes/admin.conf", "--request-timeout=60s", *arguments]
    given: dict[str, Any] = {"argv": command, "stdin": data} if data else {"argv": command}
    answer = execute("ansible.legacy.command", given)
    if answer.get("rc") != 0:
        raise kubeconfig.RemoteKubeconfigError(
            f"{' '.join(command)} failed: {answer.get('stderr') or answer.get('msg')}"
        )
    return str(answer["stdout"])


def signed(execute: Execute, csr: str) -> str:
    """Have the cluster sign, and return the certificate."""
    name = f"bramble-{secrets.token_hex(8)}"
    desired = kubeconfig.signing_request(name=name, csr=csr)
    _kubectl(execute, "create", "--filename=-", data=json.dumps(desired))
    try:
        _kubectl(execute, "certificate", "approve", name)
        deadline = time.monotonic() + _TIMEOUT
        while time.monotonic() < deadline:
            status = json.loads(
                _kubectl(execute, "get", "certificatesigningrequest", name, "--output=json")
            ).get("status", {})
            if status.get("certificate"):
                return base64.b64decode(status["certificate"]).decode()
            time.sleep(_POLL)
    finally:
        _kubectl(execute, "delete", "--timeout=60s", "certificatesigningrequest", name)
    raise kubeconfig.RemoteKubeconfigError(
        f"the cluster did not sign the certificate within {_TIMEOUT:.0f} s; expected a "
        "kube-controller-manager that runs and has the key of the cluster's authority: see doctor.yml"
    )
