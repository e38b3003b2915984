# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node whose Python is too old says so, whichever module comes first."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys

import pytest

from tests.unit.run_module import REPOSITORY

#: What only describes an action of the controller.
STUBS = {
    "client_certificate",
    "flash_nodes",
    "flash_report",
    "flash_seeds",
    "remote_kubeconfig",
    "start_inventory",
}
MODULES = sorted(
    path.stem
    for path in (REPOSITORY / "plugins/modules").glob("*.py")
    if path.stem not in STUBS | {"__init__"}
)

#: Reports which files of ours had run to their end when the module ended.
OLD_PYTHON = """
import sys
from ansible.module_utils.basic import AnsibleModule
sys.version_info = (3, 8, 10, "final", 0)
try:
    __import__("ansible_collections.bramble.pi.plugins.modules." + sys.argv[1])
except SystemExit as error:
    ours = [name for name in sys.modules if ".bramble.pi.plugins.module_utils._" in name]
    print([name for name in ours if name.rsplit(".", 1)[0].rsplit(".", 1)[-1] != "module_utils"])
    sys.exit(error.code)
"""


@pytest.mark.parametrize("module", MODULES)
def test_an_old_python_is_refused_before_it_runs_anything(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", OLD_PYTHON, module],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY / ".collections")},
    )
    assert done.returncode == 1, done.stderr
    result, finished = done.stdout.splitlines()
    assert json.loads(result)["failed"]
    assert json.loads(result)["msg"].startswith("Python is 3.8.10 on ")
    assert "expected 3.9 or newer, as Ubuntu 22.04" in json.loads(result)["msg"]
    # These an old Python can run.
    prefix = "ansible_collections.bramble.pi.plugins.module_utils."
    old = {f"{prefix}_common.old_python", f"{prefix}_common.secrets", f"{prefix}_backup.retention"}
    assert set(ast.literal_eval(finished)) <= old
