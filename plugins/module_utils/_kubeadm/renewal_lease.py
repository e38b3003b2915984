# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The control planes' turns to renew: a Lease, so that no two restart their programs at once."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._common.commands import CommandError
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import state
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.node import KubeadmError, Node

_NAME = "bramble-certificates"
#: Longer than a renewal takes; whoever was killed gives way after that.
_SECONDS = 1800
_POLL = 5
_ATTEMPTS = 12
#: As MicroTime is written, https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/lease-v1/
_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"
#: What the API server says if another one was quicker.
_QUICKER = ("AlreadyExists", "Conflict")


def holder(lease: dict[str, Any], *, now: datetime) -> str:
    """Return whose turn it is; nobody's once it has lasted too long."""
    spec = lease.get("spec") or {}
    try:
        begun = datetime.strptime(str(spec["renewTime"]), _TIME).replace(tzinfo=timezone.utc)
    except (KeyError, ValueError):
        return ""
    return str(spec.get("holderIdentity") or "") if now - begun < timedelta(seconds=_SECONDS) else ""


def _kubectl(*arguments: str) -> list[str]:
    access = ["kubectl", f"--kubeconfig={state.ADMIN_KUBECONFIG}", "--request-timeout=20s"]
    return [*access, "--namespace=kube-system", *arguments]


def _read(node: Node) -> dict[str, Any]:
    output = node.explained(_kubectl("get", "lease", _NAME, "--ignore-not-found", "--output=json"))
    return dict(json.loads(output)) if output.strip() else {}


def _write(node: Node, lease: dict[str, Any], *, name: str) -> bool:
    """Write whose turn it is, unless another one has done so since it was read."""
    changed = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        **lease,
        "metadata": {"name": _NAME, **lease.get("metadata", {})},
        "spec": {
            "holderIdentity": name,
            "leaseDurationSeconds": _SECONDS,
            "renewTime": f"{datetime.now(timezone.utc):{_TIME}}",
        },
    }
    try:
        node.feed(_kubectl("replace" if lease else "create", "--filename=-"), json.dumps(changed))
    except CommandError as error:
        if any(word in str(error) for word in _QUICKER):
            return False
        raise
    return True


@contextlib.contextmanager
def turn(node: Node, *, name: str, timeout: int) -> Iterator[None]:
    """Wait until no other control plane renews, and keep the others waiting.

    A run that was killed goes on at once: the turn is still its own.
    """
    deadline = time.monotonic() + timeout
    while True:
        lease = _read(node)
        other = holder(lease, now=datetime.now(timezone.utc))
        if other in ("", name) and _write(node, lease, name=name):
            break
        if time.monotonic() > deadline:
            raise KubeadmError(
                f"{other or 'another control plane'} has been renewing its certificates for more than"
                f" {timeout} s; expected one after the other: look at it with bramble.pi.doctor, or, if it is"
                f" gone, run 'kubectl --namespace kube-system delete lease {_NAME}'"
            )
        time.sleep(_POLL)
    yield
    # Not after an error: the others stay as they are until this one is well, or its time is over.
    for attempt in range(_ATTEMPTS, 0, -1):
        try:
            _write(node, _read(node), name="")
            break
        except BrambleError:
            # The API server that is asked may be the one that was just restarted.
            if attempt == 1:
                raise
            time.sleep(_POLL)
