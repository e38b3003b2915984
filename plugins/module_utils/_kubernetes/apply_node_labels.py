# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps labels and taints of nodes as the inventory names them; ``node_labels`` says what that takes."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.commands import (
    CommandError,
    Runner,
    output_of,
)
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import node_labels

_POLL = 1
#: What the API server says if a node has changed since it was read.
_CONFLICT = "(Conflict)"


class NodeLabels:
    """Changes nodes by ``kubectl``, each in one request, so that a kill leaves none half changed."""

    def __init__(self, *, run: Runner, kubeconfig: str, changes: Changes, timeout: int) -> None:
        self._run = run
        self._kubectl = ["kubectl", "--kubeconfig", kubeconfig, "--request-timeout=60s"]
        self._kubeconfig = kubeconfig
        self._changes = changes
        self._timeout = timeout

    def _seen(self) -> dict[str, dict[str, Any]]:
        if self._changes.check_mode and not os.path.exists(self._kubeconfig):
            return {}
        return node_labels.seen_nodes(output_of(self._run, [*self._kubectl, "get", "nodes", "--output=json"]))

    def _patch(self, name: str, patch: Mapping[str, Any]) -> bool:
        """Change a node, and tell whether it was as it had been read."""
        words = ["patch", "node", name, "--type=merge", f"--patch={json.dumps(patch, sort_keys=True)}"]
        try:
            output_of(self._run, [*self._kubectl, *words])
        except CommandError as error:
            if _CONFLICT in str(error):
                return False
            raise
        return True

    def keep(self, desired: Mapping[str, node_labels.Desired]) -> None:
        """Bring the nodes to what is desired; one that is just joining is waited for."""
        pending = dict(desired)
        deadline = time.monotonic() + self._timeout
        while True:
            seen = self._seen()
            for name in list(pending):
                # In check mode, a node that is yet to join has none.
                if name not in seen and not self._changes.check_mode:
                    continue
                plan = node_labels.plan(name=name, seen=seen.get(name, {}), desired=pending[name])
                if plan and not self._changes.check_mode and not self._patch(name, plan.patch):
                    continue
                for sentence in plan.changes if plan else ():
                    self._changes.note(sentence)
                del pending[name]
            if not pending:
                return
            if time.monotonic() > deadline:
                missing = ", ".join(name for name in pending if name not in seen)
                raise node_labels.NodeLabelsError(
                    f"the cluster has no node {missing}; expected all that have labels: run site.yml"
                    if missing
                    else f"{', '.join(pending)} changes too often for its taints to be set; expected a node "
                    "that is left alone for a second: run this again"
                )
            time.sleep(_POLL)
