# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What plays of tests have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def loaded_once(pattern: str) -> str:
    """Return a pattern that is made by a filter of the collection, as in its own playbooks.

    The controller has loaded all of its filters then, and no process of a task on a host does that again.
    """
    return f"{{{{ (groups | bramble.pi.rack_groups) and '{pattern}' }}}}"


def write_for_each(variable: str, path: Path) -> dict[str, Any]:
    """Return a task that writes a variable of each host of the play, by one run of a module for all."""
    values = f"ansible_play_hosts | map('extract', hostvars, '{variable}')"
    return {
        "ansible.builtin.copy": {
            "content": f"{{{{ dict(ansible_play_hosts | zip({values})) | to_json }}}}",
            "dest": str(path),
        },
        "run_once": True,
    }
