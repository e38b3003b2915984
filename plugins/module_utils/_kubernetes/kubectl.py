# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Applying objects with kubectl, and what it prints of them."""

from __future__ import annotations

import os
import re
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._common.commands import CommandError, Runner

_APPLIED = re.compile(
    r"^(?P<object>\S+/\S+) (?P<verb>created|configured|unchanged)(?: \((?:server )?dry run\))?$"
)
_MISSING_NAMESPACE = re.compile(r'namespaces "[^"]+" not found')


def applied(text: str) -> dict[str, str]:
    """Read the output of ``kubectl apply``: {object: created, configured or unchanged}."""
    matches = (_APPLIED.match(line) for line in text.splitlines())
    return {match["object"]: match["verb"] for match in matches if match}


def only_namespace_missing(error: str) -> bool:
    """Tell whether a dry run failed just because the namespace would have been made by the same run."""
    lines = [line for line in error.splitlines() if line.startswith("Error from server")]
    return bool(lines) and all(_MISSING_NAMESPACE.search(line) for line in lines)


def apply(*, run: Runner, kubeconfig: str, check_mode: bool) -> dict[str, Any]:
    """Apply the objects that ``run`` gives kubectl to read, and return the result of the module."""
    if check_mode and not os.path.exists(kubeconfig):
        return {"changed": True, "objects": {}}
    command = ["kubectl", "--kubeconfig", kubeconfig, "apply", "-f", "-"]
    if check_mode:
        command.append("--dry-run=server")
    code, output, errors = run(command)
    namespace_missing = check_mode and only_namespace_missing(errors)
    if code != 0 and not namespace_missing:
        raise CommandError(f"'{' '.join(command)}' ended with {code}: {errors.strip()}")
    objects = applied(output)
    return {"changed": namespace_missing or set(objects.values()) != {"unchanged"}, "objects": objects}
