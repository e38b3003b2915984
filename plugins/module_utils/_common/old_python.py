# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Refuses a Python that modules of this collection cannot run on.

Left to itself, an old Python stops at the first of our types, with "'type' object is not subscriptable".
"""

from __future__ import annotations

import json
import sys

OLDEST = (3, 9)


def refuse_old_python() -> None:
    """End the module with a failure, with the release by its name, if Python is too old."""
    if sys.version_info >= OLDEST:
        return
    try:
        with open("/etc/os-release", encoding="utf-8") as file:
            names = [line[12:].strip().strip('"') for line in file if line.startswith("PRETTY_NAME=")]
    except OSError:
        names = []
    version = ".".join(str(part) for part in sys.version_info[:3])
    message = (
        f"Python is {version} on {' '.join(names) or 'this system'}; expected 3.9 or newer, as Ubuntu 22.04,"
        " Debian 11 and Raspberry Pi OS bullseye have it: install a newer release on this node"
    )
    # There is no AnsibleModule yet; this is what it would do.
    sys.stdout.write(json.dumps({"failed": True, "msg": message}) + "\n")
    raise SystemExit(1)
