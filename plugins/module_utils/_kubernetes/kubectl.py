# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What kubectl printed."""

from __future__ import annotations

import re

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
