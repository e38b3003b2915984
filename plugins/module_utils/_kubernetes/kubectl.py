# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Applying and deleting objects with kubectl, within a time limit, and what it prints of them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._common.commands import (
    CommandError,
    Runner,
)

_APPLIED = re.compile(
    r"^(?P<object>\S+/\S+) (?P<verb>created|configured|unchanged)(?: \((?:server )?dry run\))?$"
)
#: What a role is that a binding gives cannot be changed; the binding has to be made again.
_OTHER_ROLE = re.compile(
    r'^The ClusterRoleBinding "(?P<name>[^"]+)" is invalid: roleRef: .*cannot change roleRef', re.MULTILINE
)
#: How long kubectl waits for an answer, and for something to be gone, in seconds.
_TIMEOUT = 60
#: How long one of its runs may take as a whole; it asks many times.
_RUN_TIMEOUT = 300
#: What timeout(1) ends with if it has ended a command.
_TIMED_OUT = (124, 137)
#: Who made an object; https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels/
MANAGED_BY = "app.kubernetes.io/managed-by"
_MISSING_NAMESPACE = re.compile(r'namespaces "[^"]+" not found')


def applied(text: str) -> dict[str, str]:
    """Read the output of ``kubectl apply``: {object: created, configured or unchanged}."""
    matches = (_APPLIED.match(line) for line in text.splitlines())
    return {match["object"]: match["verb"] for match in matches if match}


def only_namespace_missing(error: str) -> bool:
    """Tell whether a dry run failed just because the namespace would have been made by the same run."""
    lines = [line for line in error.splitlines() if line.startswith("Error from server")]
    return bool(lines) and all(_MISSING_NAMESPACE.search(line) for line in lines)


def only_other_roles(error: str) -> bool:
    """Tell whether nothing failed but bindings that are to give another role than before."""
    lines = [line for line in error.splitlines() if line.startswith(("The ", "Error", "error"))]
    return bool(lines) and all(_OTHER_ROLE.match(line) for line in lines)


def replaced(bindings: Iterable[str]) -> dict[str, str]:
    """Return what becomes of bindings that are made again."""
    return {f"clusterrolebinding.rbac.authorization.k8s.io/{name}": "configured" for name in bindings}


def limited(kubeconfig: str, *, seconds: int = _RUN_TIMEOUT) -> list[str]:
    """Return how kubectl is begun, so that it ends whatever the API server does."""
    limit = ["timeout", "--kill-after=10", str(seconds)]
    return [*limit, "kubectl", "--kubeconfig", kubeconfig, f"--request-timeout={_TIMEOUT}s"]


def failure(command: Sequence[str], code: int, errors: str) -> CommandError:
    """Return the error of a command that :func:`limited` began."""
    _timeout, _kill, seconds, *words = command
    if code in _TIMED_OUT:
        return CommandError(
            f"'{' '.join(words)}' did not end within {seconds} s; expected an API server that answers: "
            "see bramble.pi.doctor, and kubectl get apiservices,validatingwebhookconfigurations for what it "
            f"waits for. {errors.strip()}".strip()
        )
    return CommandError(f"'{' '.join(words)}' ended with {code}: {errors.strip()}")


def _name(thing: Mapping[str, Any]) -> str:
    return f"{thing['kind'].lower()}/{thing['metadata']['name']}"


def holding(thing: Mapping[str, Any]) -> str:
    """Say what keeps an object from being gone."""
    metadata = thing["metadata"]
    reasons = [
        str(condition.get("message"))
        for condition in thing.get("status", {}).get("conditions", [])
        if condition.get("status") == "True" and thing["kind"] == "Namespace"
    ]
    if metadata.get("finalizers"):
        reasons.append(
            f"its finalizers {', '.join(metadata['finalizers'])}, which those remove who put them there"
        )
    if not metadata.get("deletionTimestamp"):
        reasons.append("the API server has not begun to delete it")
    return "; ".join(reasons) or "the API server does not say why"


def _found(*, run: Runner, kubectl: Sequence[str], objects: Sequence[str]) -> list[Mapping[str, Any]]:
    command = [*kubectl, "get", "--ignore-not-found", "--output=json", *objects]
    code, output, errors = run(command)
    if code != 0:
        raise failure(command, code, errors)
    return items(output)


def items(output: str) -> list[Mapping[str, Any]]:
    """Read the objects that ``kubectl get --output=json`` printed."""
    if not output.strip():
        return []
    answer = json.loads(output)
    return answer["items"] if answer["kind"].endswith("List") and "items" in answer else [answer]


def not_deleted(left: Sequence[Mapping[str, Any]], *, timeout: int) -> CommandError:
    """Return the error of objects that are still there."""
    told = "; ".join(f"{_name(thing)} is held by: {holding(thing)}" for thing in left)
    return CommandError(f"Not deleted after {timeout} s: {told}")


def timed_out(code: int, errors: str) -> bool:
    """Tell whether a command ended as it had waited for too long."""
    return code in _TIMED_OUT or "timed out" in errors


def _foreign(found: Sequence[Mapping[str, Any]], *, managed_by: str, variable: str) -> Iterator[str]:
    for thing in found:
        if thing["metadata"].get("labels", {}).get(MANAGED_BY) != managed_by:
            yield (
                f"{_name(thing)} is there and has no label {MANAGED_BY}={managed_by}, so that it is "
                f"somebody else's and stays; expected one of its own: set {variable} to a name that is "
                f"free, or, if nobody needs it: kubectl delete {_name(thing)}"
            )


def delete(
    *,
    run: Runner,
    kubeconfig: str,
    objects: Sequence[str],
    namespace: str | None = None,
    managed_by: str | None = None,
    variable: str = "",
    timeout: int = _TIMEOUT,
    check_mode: bool = False,
) -> list[str]:
    """Delete objects, wait until they are gone, and return those that were there.

    With ``managed_by`` nothing is deleted unless all of them have that label; ``variable`` is the one in
    which another name is set.
    """
    if check_mode and not os.path.exists(kubeconfig):
        return []
    kubectl = limited(kubeconfig, seconds=timeout + _TIMEOUT)
    if namespace:
        kubectl.append(f"--namespace={namespace}")
    found = _found(run=run, kubectl=kubectl, objects=objects)
    if managed_by is not None:
        for problem in _foreign(found, managed_by=managed_by, variable=variable):
            raise CommandError(problem)
    names = [_name(thing) for thing in found]
    if not found or check_mode:
        return names
    command = [*kubectl, "delete", "--ignore-not-found", f"--timeout={timeout}s", *names]
    code, _output, errors = run(command)
    if code == 0:
        return names
    left = _found(run=run, kubectl=kubectl, objects=names)
    if not left:
        return names
    if not timed_out(code, errors):
        raise failure(command, code, errors)
    raise not_deleted(left, timeout=timeout)


def apply(*, run: Runner, kubeconfig: str, check_mode: bool) -> dict[str, Any]:
    """Apply the objects that ``run`` gives kubectl to read, and return the result of the module."""
    if check_mode and not os.path.exists(kubeconfig):
        return {"changed": True, "objects": {}}
    kubectl = limited(kubeconfig)
    command = [*kubectl, "apply", "-f", "-"]
    if check_mode:
        command.append("--dry-run=server")
    code, output, errors = run(command)
    bindings = _OTHER_ROLE.findall(errors)
    if code != 0 and bindings and only_other_roles(errors):
        if check_mode:
            return {"changed": True, "objects": {**applied(output), **replaced(bindings)}}
        # In between there are no rights, rather than the old ones; after a kill the next run gives them.
        delete(run=run, kubeconfig=kubeconfig, objects=[f"clusterrolebinding/{name}" for name in bindings])
        code, output, errors = run(command)
        objects = {**applied(output), **replaced(bindings)}
        if code == 0:
            return {"changed": True, "objects": objects}
    namespace_missing = check_mode and only_namespace_missing(errors)
    if code != 0 and not namespace_missing:
        raise failure(command, code, errors)
    objects = applied(output)
    return {"changed": namespace_missing or set(objects.values()) != {"unchanged"}, "objects": objects}
