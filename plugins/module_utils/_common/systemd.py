# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What systemd says of its units."""

from __future__ import annotations

import re


def unit_properties(*, text: str) -> dict[str, dict[str, str]]:
    """Return the properties of each unit in what ``systemctl show`` printed, by the unit's Id."""
    found = {}
    for block in re.split(r"\n\s*\n", text):
        values = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if values.get("Id"):
            found[values["Id"]] = values
    return found
