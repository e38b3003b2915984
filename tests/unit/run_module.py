# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a module as Ansible does, in a process of its own."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tests.unit.python_server import run_python

REPOSITORY = Path(__file__).resolve().parents[2]


def run_module(name: str, *, check: bool = False, **options: Any) -> dict[str, Any]:
    """Run it, and return its result."""
    done = run_python(
        ["-m", f"ansible_collections.bramble.pi.plugins.modules.{name}"],
        text=json.dumps({"ANSIBLE_MODULE_ARGS": {**options, "_ansible_check_mode": check}}),
        environment={**os.environ, "PYTHONPATH": str(REPOSITORY / ".collections")},
    )
    assert done.stdout, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result
