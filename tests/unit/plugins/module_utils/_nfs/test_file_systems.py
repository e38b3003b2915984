# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""On which file systems folders are."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._nfs import file_systems

MOUNTS = """\
21 1 179:2 / / rw,noatime shared:1 - ext4 /dev/root rw
22 21 0:5 / /dev rw - devtmpfs udev rw
30 21 8:1 / /srv rw - ext4 /dev/sda1 rw
31 21 179:2 /home/trees /mnt/bound rw - ext4 /dev/root rw
32 21 8:2 / /mnt/two\\040words rw - ext4 /dev/sda2 rw
33 21 8:3 / /mnt/covered rw - ext4 /dev/sda3 rw
34 33 179:2 / /mnt/covered rw - ext4 /dev/root rw
"""


@pytest.mark.parametrize(
    ("path", "at", "on_root"),
    [
        ("/", "/", True),
        ("/var/netboot", "/", True),
        ("/srv/netboot", "/srv", False),
        ("/srv", "/srv", False),
        ("/srvx/netboot", "/", True),
        ("/mnt/bound/netboot", "/mnt/bound", True),
        ("/mnt/two words/netboot", "/mnt/two words", False),
        ("/mnt/covered", "/mnt/covered", True),
        ("no/beginning", "/", True),
        ("//srv", "/", True),
    ],
)
def test_which_file_system_a_folder_is_on(path: str, at: str, on_root: bool) -> None:
    assert file_systems.mount_point(path=path, mountinfo=MOUNTS) == at
    assert file_systems.on_root_file_system(path=path, mountinfo=MOUNTS) is on_root
    assert not file_systems.on_root_file_system(path=path, mountinfo="")


def test_the_refusal_names_what_fixes_it() -> None:
    told = {"asked": "/var/x", "variable": "storage_server_root_file_system", "help_at": "docs/storage.md"}
    problem = file_systems.root_problem(path="/var/x", mountinfo=MOUNTS, **told)
    assert problem is not None
    for word in ("/var/x is on the root file system", *told.values()):
        assert word in problem
    assert file_systems.root_problem(path="/srv/x", mountinfo=MOUNTS, **told) is None


UNITS = {
    "/": "-.mount",
    "/mnt/ssd": "mnt-ssd.mount",
    "/mnt/my-ssd/": r"mnt-my\x2dssd.mount",
    "/.hidden/.inner": r"\x2ehidden-.inner.mount",
    "/mnt/two words": r"mnt-two\x20words.mount",
    "/mnt/größe": r"mnt-gr\xc3\xb6\xc3\x9fe.mount",
}


@pytest.mark.parametrize("folder", UNITS)
def test_units_of_mounts_have_the_names_that_systemd_gives_them(folder: str) -> None:
    assert file_systems.mount_unit(folder) == UNITS[folder]
    if shutil.which("systemd-escape"):
        command = ["systemd-escape", "--path", "--suffix=mount", folder]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert output.rstrip("\n") == UNITS[folder]
