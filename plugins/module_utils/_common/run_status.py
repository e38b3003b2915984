# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The status that a run leaves on the node, and that the doctor reads: JSON, with no secret in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def parse(text: str | None) -> dict[str, Any] | None:
    """Read a status; None where there is none, or none that can be read."""
    try:
        content = json.loads(text or "")
    except ValueError:
        return None
    return content if isinstance(content, dict) else None


def of_cluster(status: dict[str, Any] | None, *, ca_cert_hash: str | None) -> dict[str, Any] | None:
    """Return a status that is of this cluster; None for that of one which the node was in before."""
    if ca_cert_hash and (status or {}).get("ca_cert_hash") not in (None, ca_cert_hash):
        return None
    return status


def dumped(status: Mapping[str, Any]) -> str:
    """Return a status as the text of its file."""
    return json.dumps(status, indent=2) + "\n"
