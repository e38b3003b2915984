# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Applying objects with kubectl, and what it prints of them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._common.commands import (
    CommandError,
    Runner,
    output_of,
)

_APPLIED = re.compile(
    r"^(?P<object>\S+/\S+) (?P<verb>created|configured|unchanged)(?: \((?:server )?dry run\))?$"
)
#: What a role is that a binding gives cannot be changed; the binding has to be made anew.
_OTHER_ROLE = re.compile(
    r'^The ClusterRoleBinding "(?P<name>[^"]+)" is invalid: roleRef: .*cannot change roleRef', re.MULTILINE
)
#: How long kubectl waits for an answer, and for something to be gone.
_TIMEOUT = "60s"
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
    """Return what becomes of bindings that are made anew."""
    return {f"clusterrolebinding.rbac.authorization.k8s.io/{name}": "configured" for name in bindings}


def apply(*, run: Runner, kubeconfig: str, check_mode: bool) -> dict[str, Any]:
    """Apply the objects that ``run`` gives kubectl to read, and return the result of the module."""
    if check_mode and not os.path.exists(kubeconfig):
        return {"changed": True, "objects": {}}
    kubectl = ["kubectl", "--kubeconfig", kubeconfig, f"--request-timeout={_TIMEOUT}"]
    command = [*kubectl, "apply", "-f", "-"]
    if check_mode:
        command.append("--dry-run=server")
    code, output, errors = run(command)
    bindings = _OTHER_ROLE.findall(errors)
    if code != 0 and bindings and only_other_roles(errors):
        if check_mode:
            return {"changed": True, "objects": {**applied(output), **replaced(bindings)}}
        # In between there are no rights, rather than the old ones; after a kill the next run gives them.
        names = [f"clusterrolebinding/{name}" for name in bindings]
        output_of(run, [*kubectl, "delete", "--ignore-not-found", f"--timeout={_TIMEOUT}", *names])
        code, output, errors = run(command)
        objects = {**applied(output), **replaced(bindings)}
        if code == 0:
            return {"changed": True, "objects": objects}
    namespace_missing = check_mode and only_namespace_missing(errors)
    if code != 0 and not namespace_missing:
        raise CommandError(f"'{' '.join(command)}' ended with {code}: {errors.strip()}")
    objects = applied(output)
    return {"changed": namespace_missing or set(objects.values()) != {"unchanged"}, "objects": objects}
