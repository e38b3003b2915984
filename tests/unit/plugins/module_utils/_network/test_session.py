# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_session() -> None:
    code = (
        "from ansible_collections.bramble.pi.plugins.module_utils._network.session import ssh_session; "
        "print(*ssh_session())"
    )
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parents[5] / ".collections"),
        "SSH_CONNECTION": "192.168.1.2 50000 192.168.1.11 22",
    }
    output = subprocess.check_output([sys.executable, "-c", code], env=environment, text=True)
    address, process, client = output.split()
    assert (address, client) == ("192.168.1.11", "192.168.1.2")
    assert Path(f"/proc/{process}").exists()
