# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a cluster add-ons are applied to, by kubectl."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._add_ons import plan
from ansible_collections.bramble.pi.plugins.module_utils._add_ons.plan import Reference
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import kubectl

#: Runs a command that reads a text: exit code, output and error output.
Run = Callable[[Sequence[str], str], "tuple[int, str, str]"]
_Thing = Mapping[str, Any]

_NO_KIND = re.compile(r'no matches for kind "(?P<kind>[^"]+)" in (?:version|group) "(?P<version>[^"]+)"')
_NO_RESOURCE = "the server doesn't have a resource type"
#: How long objects may take to be gone, in seconds.
GONE_WITHIN = 120


def _documents(things: Iterable[_Thing]) -> str:
    # As YAML: kubectl of 1.20 ends a stream of JSON at the first object whose kind is not known.
    return "".join(f"---\n{json.dumps(thing)}\n" for thing in things)


class Cluster:
    """A cluster, asked and changed on one of its control planes."""

    def __init__(self, *, run: Run, kubeconfig: str, check_mode: bool) -> None:
        self._run = run
        self._kubeconfig = kubeconfig
        self.check_mode = check_mode

    def _kubectl(self, *words: str, seconds: int = GONE_WITHIN) -> list[str]:
        return [*kubectl.limited(self._kubeconfig, seconds=seconds + 180), *words]

    def records(self) -> dict[str, list[Reference]]:
        """Return the add-ons of which objects may be there, with these."""
        found = self.ask("configmaps", plan.NAMESPACE, f"--selector={kubectl.MANAGED_BY}={plan.OWNER}")
        return plan.read_records(found)

    def ask(self, resources: str, namespace: str = "", *words: str) -> list[_Thing]:
        """Return the objects of some kinds, of one namespace or of all."""
        where = f"--namespace={namespace}" if namespace else "--all-namespaces"
        command = self._kubectl("get", resources, where, "--ignore-not-found", "--output=json", *words)
        code, output, errors = self._run(command, "")
        if code != 0 and _NO_RESOURCE in errors:
            return []  # It is not defined, so there is none.
        if code != 0:
            raise kubectl.failure(command, code, errors)
        return kubectl.items(output)

    def find(self, references: Iterable[Reference]) -> list[_Thing]:
        """Return those that are there; of a kind that is not defined there is none."""
        left = list(references)
        while left:
            command = self._kubectl("get", "--filename=-", "--ignore-not-found", "--output=json")
            code, output, errors = self._run(command, _documents(each.bare() for each in left))
            if code == 0:
                return kubectl.items(output)
            unknown = set(_NO_KIND.findall(errors))
            known = [each for each in left if (each.kind, each.api_version) not in unknown]
            if len(known) == len(left):
                raise kubectl.failure(command, code, errors)
            left = known
        return []

    def apply(self, things: Sequence[_Thing]) -> bool:
        """Apply objects, and tell whether something changed."""
        if not things:
            return False
        run = functools.partial(self._run_on, _documents(things))
        result = kubectl.apply(run=run, kubeconfig=self._kubeconfig, check_mode=self.check_mode)
        return bool(result["changed"])

    def _run_on(self, text: str, command: Sequence[str]) -> tuple[int, str, str]:
        return self._run(command, text)

    def delete(self, references: Sequence[Reference]) -> None:
        """Delete objects, and wait until they are gone."""
        if self.check_mode or not references:
            return
        words = ("delete", "--filename=-", "--ignore-not-found", f"--timeout={GONE_WITHIN}s")
        self._delete(words, references)

    def delete_all(self, resources: str, references: Sequence[Reference]) -> None:
        """Delete all objects of a kind, as they go with it; ``references`` are those that were seen."""
        if not self.check_mode and references:
            words = ("delete", resources, "--all", "--all-namespaces", f"--timeout={GONE_WITHIN}s")
            self._delete(words, references)

    def _delete(self, words: Sequence[str], references: Sequence[Reference]) -> None:
        command = self._kubectl(*words)
        code, _output, errors = self._run(command, _documents(each.bare() for each in references))
        left = self.find(references) if code != 0 else []
        if left and kubectl.timed_out(code, errors):
            raise kubectl.not_deleted(left, timeout=GONE_WITHIN)
        if left:
            raise kubectl.failure(command, code, errors)
