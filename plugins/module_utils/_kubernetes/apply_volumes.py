# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings the cluster's volumes to what the inventory has, by kubectl."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any, Callable

from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.commands import Runner
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import kubectl, volumes
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.volumes import Plan, VolumeError

_POLL = 1.0
#: So that it takes the next claim of its name.
_FORGET = json.dumps([{"op": "remove", "path": "/spec/claimRef/uid"}])


class Volumes:
    """The volumes of the cluster that the inventory has or had."""

    def __init__(
        self,
        *,
        run: Runner,
        run_with_input: Callable[[str], Runner],
        changes: Changes,
        kubeconfig: str,
    ) -> None:
        self._run = run
        self._run_with_input = run_with_input
        self._changes = changes
        self._kubeconfig = kubeconfig

    def _kubectl(self, *words: str) -> str:
        command = [*kubectl.limited(self._kubeconfig), *words]
        code, output, errors = self._run(command)
        if code != 0:
            raise kubectl.failure(command, code, errors)
        return output

    def _list(self, *words: str) -> list[Mapping[str, Any]]:
        answer: Mapping[str, Any] = json.loads(self._kubectl("get", *words, "--output=json"))
        return list(answer["items"])

    def ensure(self, desired: Sequence[Mapping[str, Any]], *, timeout: int) -> None:
        """Ensure that these volumes and claims are there, and none that the inventory had before."""
        for each in desired:
            if "kind" not in each or "name" not in each.get("metadata", {}):
                raise volumes.VolumeError(
                    f"an object has {', '.join(sorted(each)) or 'nothing'}; expected kind, and metadata with"
                    " a name: give the module what the filter bramble.pi.storage_objects returns"
                )
        if self._changes.check_mode and not os.path.exists(self._kubeconfig):
            # Before there is a cluster.
            for each in desired:
                self._changes.note(f"create {each['kind']} {each['metadata']['name']}")
            return
        plan = volumes.plan(
            desired=desired,
            volumes=self._list("persistentvolumes"),
            claims=self._list("persistentvolumeclaims", "--all-namespaces"),
            pods=self._list("pods", "--all-namespaces"),
        )
        self._remove(plan)
        for name in plan.released:
            if self._changes.note(f"let the volume {name} take its claim again"):
                self._kubectl("patch", "persistentvolume", name, "--type=json", f"--patch={_FORGET}")
        if desired:
            self._apply(desired)
            if not self._changes.check_mode:
                self._wait(desired, timeout=timeout)

    def _remove(self, plan: Plan) -> None:
        # A claim first: its volume is held by it.
        for claim in plan.claims:
            if self._changes.note(f"remove the claim {claim}"):
                kubectl.delete(
                    run=self._run,
                    kubeconfig=self._kubeconfig,
                    objects=[f"persistentvolumeclaim/{claim.name}"],
                    namespace=claim.namespace,
                    managed_by=volumes.OWNER,
                    variable="storage_volumes",
                )
        for name in plan.volumes:
            if self._changes.note(f"remove the volume {name}; its data stays"):
                kubectl.delete(
                    run=self._run,
                    kubeconfig=self._kubeconfig,
                    objects=[f"persistentvolume/{name}"],
                    managed_by=volumes.OWNER,
                    variable="storage_volumes",
                )

    def _apply(self, desired: Sequence[Mapping[str, Any]]) -> None:
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(desired)})
        result = kubectl.apply(
            run=self._run_with_input(text),
            kubeconfig=self._kubeconfig,
            check_mode=self._changes.check_mode,
        )
        for name, verb in result["objects"].items():
            if verb != "unchanged":
                self._changes.note(f"{name} {verb}")

    def _wait(self, desired: Sequence[Mapping[str, Any]], *, timeout: int) -> None:
        deadline = time.monotonic() + timeout
        while left := volumes.unbound(
            desired=desired, claims=self._list("persistentvolumeclaims", "--all-namespaces")
        ):
            if time.monotonic() > deadline:
                first = left[0]
                raise VolumeError(
                    f"{', '.join(map(str, left))} is not bound after {timeout} s; expected claims that are:"
                    f" kubectl --namespace {first.namespace} describe pvc {first.name} says why;"
                    " storage_timeout is how long to wait"
                )
            time.sleep(_POLL)
