# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Has the API server of this node encrypt by other keys, and all secrets rewritten by the first of them."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Mapping
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.commands import CommandError
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import (
    components,
    diagnosis,
    encryption,
    state,
    static_pods,
)
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.encryption import EncryptionError
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.node import Node
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import failure_detection, kubectl

_PROGRAM = "kube-apiserver"
_POLL = 2
#: What somebody else changes or deletes while it is rewritten; a change is written by the first key as well.
_OVERTAKEN = re.compile(r"^Error from server \((?:Conflict|NotFound)\)")


class ApiServer:
    """The API server of this node."""

    def __init__(self, *, changes: Changes, timeout: int) -> None:
        self._changes = changes
        self._timeout = timeout

    def read(self) -> encryption.Node | None:
        """Return by which keys it encrypts; None where there is no control plane."""
        manifest = read_text(state.APISERVER_MANIFEST)
        if manifest is None:
            return None
        path = static_pods.flags(_PROGRAM, manifest=manifest).get(encryption.FLAG)
        text = read_text(state.ENCRYPTION)
        if path is None:
            # A file alone is what a killed run has left, which had not begun, or was all but done.
            return encryption.Node(current=text is None and not self._outdated(None))
        if path != state.ENCRYPTION:
            raise EncryptionError(
                f"--{encryption.FLAG} of {_PROGRAM} is {path}; expected {state.ENCRYPTION}, or none: leave it"
                " out of control_plane_cluster_configuration, and out of the ConfigMap kubeadm-config, after"
                " all secrets were rewritten without it"
            )
        if text is None:
            raise EncryptionError(
                f"{state.ENCRYPTION} is not there, and {_PROGRAM} has been told to read it; expected the keys"
                " by which etcd's secrets are encrypted: copy that file from another control plane, or from a"
                " backup of this cluster"
            )
        found = encryption.parse(text)
        return encryption.Node(found.providers, found.keys, current=not self._outdated(path))

    def _outdated(self, path: str | None) -> bool:
        """Tell whether it does not run, or with another file or none, or since before that was written."""
        found = static_pods.processes(_PROGRAM)
        return (
            not found
            or any(process.flags.get(encryption.FLAG) != path for process in found)
            or (path is not None and bool(static_pods.outdated(_PROGRAM, [path])))
        )

    def configure(self, node: encryption.Node) -> None:
        """Have it encrypt so, and wait until it does and answers."""
        text = encryption.dumped(providers=node.providers, keys=node.keys)
        path = state.ENCRYPTION if text else None
        manifest = read_text(state.APISERVER_MANIFEST)
        if manifest is None:
            raise EncryptionError(
                f"{state.APISERVER_MANIFEST} is not there; expected a control plane that kubeadm made: run"
                " this on a host of the group control_plane, after bramble.pi.site"
            )
        if path:
            self._changes.write(path, text, mode=0o600, secret=True)
        desired = failure_detection.with_flags(
            manifest=manifest, program=_PROGRAM, desired={encryption.FLAG: path}
        )
        if bool(self._changes) or self._outdated(path):
            desired = encryption.with_mark(desired, text=text)
        replaced = self._changes.write(state.APISERVER_MANIFEST, desired, mode=0o600)
        if (bool(self._changes) or self._outdated(path)) and self._changes.note(f"restart {_PROGRAM}"):
            self._restart(path, replaced=replaced)
        # Not before it runs without.
        if (
            path is None
            and os.path.exists(state.ENCRYPTION)
            and self._changes.note(f"remove {state.ENCRYPTION}")
        ):
            os.unlink(state.ENCRYPTION)

    def add_key(self, *, number: int) -> None:
        """Make a key, which this API server can read by from then on."""
        node = self.read() or encryption.Node()
        self.configure(encryption.with_key(node, number=number, secret=os.urandom(encryption.KEY_BYTES)))

    def _restart(self, path: str | None, *, replaced: bool) -> None:
        """Wait until it is started again: the kubelet replaces one whose manifest has changed by itself."""

        def outdated() -> list[components.Process]:
            if replaced:
                return []
            return [
                process
                for process in static_pods.outdated(_PROGRAM, [path] if path else [])
                if process.flags.get(encryption.FLAG) == path
            ]

        if static_pods.restart(
            outdated=outdated,
            is_back=lambda: not self._outdated(path) and _PROGRAM not in components.silent(),
            timeout=self._timeout,
        ):
            return
        silent = {name: url for name, url in components.silent().items() if name == _PROGRAM}
        logs = components.last_words(programs=silent)
        said = diagnosis.crashed(silent=silent, logs=logs) if silent else f"no process of {_PROGRAM} has them"
        raise EncryptionError(
            f"{_PROGRAM} was given keys for secrets, and did not run with them and answer within"
            f" {self._timeout} s:\n{said}\nSet encryption_timeout to more on a slow node, or look at it with"
            " bramble.pi.doctor, and run this again: it goes on from there"
        )


def seen() -> dict[str, Any] | None:
    """Return what the doctor sees of this node, without keys; None where there is no control plane."""
    try:
        found = ApiServer(changes=Changes(check_mode=True), timeout=0).read()
    except BrambleError as error:
        return {"providers": [], "current": False, "error": str(error)}
    if found is None:
        return None
    return {"providers": list(found.providers), "current": found.current, "error": ""}


# Rewriting

_Secrets = dict[str, dict[str, Any]]


def rewrite(*, node: Node, timeout: int) -> int:
    """Have the API server write each secret again, and return how many were not written by the first key.

    It leaves out what would be stored as it is, and that it is stored by the first key counts in that: so a
    secret that keeps its version when it is replaced by itself is stored by that key.
    """
    deadline = time.monotonic() + timeout
    _wait(node, deadline=deadline, timeout=timeout)
    before = _secrets(node)
    pending = set(before)
    rewritten: set[str] = set()
    while True:
        _replace(node, [before[uid] for uid in sorted(pending)])
        after = _secrets(node)
        pending = {uid for uid in pending & set(after) if _version(after[uid]) != _version(before[uid])}
        rewritten |= pending
        if not pending:
            return len(rewritten)
        if time.monotonic() > deadline:
            raise EncryptionError(
                f"{len(pending)} secrets were written by somebody else each time that they were rewritten,"
                f" for {timeout} s, such as {_name(after[min(pending)])}; expected a moment without: set"
                " encryption_timeout to more, and run this again: it goes on from there"
            )
        before = after


def _wait(node: Node, *, deadline: float, timeout: int) -> None:
    """Wait until the API server answers, and knows of the administrator's rights."""
    while not node.ask_api()[1]:
        if time.monotonic() > deadline:
            raise EncryptionError(
                f"the API server did not give {state.ADMIN_KUBECONFIG} kubeadm's configuration within"
                f" {timeout} s; expected an answer: look at it with bramble.pi.doctor, and run this again"
            )
        time.sleep(_POLL)


def _kubectl(*arguments: str) -> list[str]:
    return [*kubectl.limited(state.ADMIN_KUBECONFIG), *arguments]


def _secrets(node: Node) -> _Secrets:
    command = _kubectl("get", "secrets", "--all-namespaces", "--output=json")
    code, output, errors = node.run(command)
    if code != 0:
        raise kubectl.failure(command, code, errors)
    if not output.strip():
        # https://github.com/ansible/ansible/issues/51393
        raise EncryptionError(
            "kubectl get secrets succeeded and printed nothing; expected all secrets: run this again when the"
            " node is less busy (see its load with uptime)"
        )
    return {each["metadata"]["uid"]: each for each in json.loads(output)["items"]}


def _version(secret: Mapping[str, Any]) -> str:
    return str(secret["metadata"]["resourceVersion"])


def _name(secret: Mapping[str, Any]) -> str:
    return f"{secret['metadata']['namespace']}/{secret['metadata']['name']}"


def _replace(node: Node, secrets: list[dict[str, Any]]) -> None:
    if not secrets:
        return
    listed = {"apiVersion": "v1", "kind": "List", "items": secrets}
    try:
        node.feed(_kubectl("replace", "--filename=-"), json.dumps(listed))
    except CommandError as error:
        lines = [line for line in str(error).partition(": ")[2].splitlines() if line.strip()]
        if not lines or not all(_OVERTAKEN.match(line) for line in lines):
            raise
