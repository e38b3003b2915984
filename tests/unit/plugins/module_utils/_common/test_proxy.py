# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What apt and units are told of a proxy; molecule/proxy has one."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._common import proxy
from ansible_collections.bramble.pi.plugins.module_utils._common.files import MANAGED

URL = "http://proxy.example.org:3128"
ENVIRONMENT = {"http_proxy": URL, "https_proxy": URL, "no_proxy": "localhost,::1,.lan,10.0.0.0/8,pi-1"}


@pytest.mark.skipif(shutil.which("apt-config") is None, reason="needs apt")
def test_apt_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "proxy"
    path.write_text(proxy.apt_text(environment=ENVIRONMENT, before=""))
    command = ["apt-config", "-c", str(path), "dump", "--format", "%F %v%n", "Acquire"]
    read = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    expected = {
        f"Acquire::{scheme}::Proxy{key}"
        for scheme in ("http", "https")
        for key in (f" {URL}", "::localhost DIRECT", "::pi-1 DIRECT")
    }
    assert expected <= set(read)
    assert not [line for line in read if "10.0.0.0" in line or "lan" in line]


def test_a_unit_is_told_all_of_it() -> None:
    text = proxy.unit_text(environment=ENVIRONMENT, before="")
    assert text.splitlines()[1:] == [
        "[Service]",
        f'Environment="http_proxy={URL}"',
        f'Environment="https_proxy={URL}"',
        'Environment="no_proxy=localhost,::1,.lan,10.0.0.0/8,pi-1"',
    ]


@pytest.mark.parametrize("write", [proxy.apt_text, proxy.unit_text])
def test_without_one_a_file_says_so_and_none_comes(write: object) -> None:
    assert callable(write)
    assert write(environment={}, before="") == ""
    assert write(environment={}, before="old") == f"{MANAGED}# There is no proxy.\n"
