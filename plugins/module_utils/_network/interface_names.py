# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an interface can be called, for all that is told the name of one."""

from __future__ import annotations

import re

# The kernel's limit is 15 characters (IFNAMSIZ); the rest is what no interface is named with, and what units,
# rules and network managers read as something else: quotes, blanks, and a plus at the end as a wildcard.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}")


def problem(name: str, *, variable: str) -> str | None:
    """Say that a text is not the name of an interface, and which variable has it; None if it is."""
    if _NAME.fullmatch(name):
        return None
    return f"{variable} is {name!r}; expected the name of an interface, such as 'eth0': set {variable}"
