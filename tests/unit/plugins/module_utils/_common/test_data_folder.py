# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._common import data_folder

MOUNTS = {"/": "/dev/mmcblk0p2", "/boot/firmware": "/dev/mmcblk0p1"}
FSTAB = {**MOUNTS, "/mnt/disk": "UUID=1"}
MOUNTED = {**MOUNTS, "/mnt/disk": "/dev/sda1"}


@pytest.mark.parametrize(
    ("folder", "mounts", "fstab", "problem"),
    [
        ("/var/lib/bramble-monitoring", MOUNTS, FSTAB, None),
        ("/mnt/disk/data", MOUNTED, FSTAB, None),
        ("/mnt/disk", MOUNTED, MOUNTS, None),
        ("/mnt/disk/data", MOUNTS, FSTAB, "/mnt/disk of /etc/fstab is not mounted; expected the disk UUID=1"),
        ("/mnt/disk/data", MOUNTS, MOUNTS, "which is on the file system of /; expected a disk"),
        ("/media/pi/x", MOUNTS, MOUNTS, "which is on the file system of /; expected a disk"),
        (
            "//mnt/disk/data",
            MOUNTS,
            FSTAB,
            "/mnt/disk of /etc/fstab is not mounted; expected the disk UUID=1",
        ),
        ("mnt/disk", MOUNTED, FSTAB, "which does not begin with /; expected the whole path of a folder"),
        ("", MOUNTED, FSTAB, "which does not begin with /; expected the whole path of a folder"),
        ("/srv/disk/data", MOUNTS, {"/srv/disk": "LABEL=d"}, "/srv/disk of /etc/fstab is not mounted"),
    ],
)
def test_a_disk_that_is_not_there(
    folder: str, mounts: dict[str, str], fstab: dict[str, str], problem: str | None
) -> None:
    found = data_folder.missing_disk(
        folder, variable="some_folder", instead="/var/lib/x", mounts=mounts, fstab=fstab
    )
    assert (
        found is None
        if problem is None
        else ((found or "").startswith(f"some_folder is {folder}") and problem in (found or ""))
    )


def test_tables_of_file_systems() -> None:
    text = (
        "# a comment\nUUID=1 /mnt/my\\040disk ext4 defaults 0 2\nUUID=2 none swap sw 0 0\n\nproc /proc proc\n"
    )
    assert data_folder.mount_table(text) == {"/mnt/my disk": "UUID=1", "/proc": "proc"}
