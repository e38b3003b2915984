# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever switches swap on at boot is found by what it does."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._node import swap

SYSTEM = "usr/lib/systemd/system"
RUNS = "[Service]\nType=oneshot\nExecStart="


@pytest.mark.parametrize(
    ("files", "culprits"),
    [
        ({}, []),
        ({f"{SYSTEM}/a.service": f"{RUNS}/sbin/swapon /swapfile\n"}, ["a.service"]),
        ({f"{SYSTEM}/a.service": f"{RUNS}-/bin/sh -c 'modprobe zram && swapon /dev/zram0'\n"}, ["a.service"]),
        # By a script or a program that it runs.
        (
            {f"{SYSTEM}/a.service": f"{RUNS}/opt/zram start\n", "opt/zram": "#!/bin/sh\nswapon /dev/zram0\n"},
            ["a.service"],
        ),
        (
            {f"{SYSTEM}/a.service": f"{RUNS}/bin/sh /opt/zram\n", "opt/zram": "#!/bin/sh\nswapon /z\n"},
            ["a.service"],
        ),
        (
            {
                f"{SYSTEM}/swapspace.service": f"{RUNS}/sbin/swapspace\n",
                "sbin/swapspace": "\x7fELF\0swapon\0",
            },
            ["swapspace.service"],
        ),
        ({"etc/rc.local": "#!/bin/sh\nswapon /swapfile\n"}, ["/etc/rc.local"]),
        # What does not.
        ({"etc/rc.local": "#!/bin/sh\n# swapon /swapfile\n"}, []),
        ({f"{SYSTEM}/a.service": f"# swapon\n{RUNS}/bin/true\n", "bin/true": "\x7fELF"}, []),
        ({f"{SYSTEM}/a.service": f"{RUNS}/opt/a\n", "opt/a": "#!/bin/sh\n # no swapon\n"}, []),
        ({f"{SYSTEM}/a.service": f"{RUNS}/opt/missing 'and \n"}, []),
        # A file of the administrator counts before that of the package, and so does a masked one.
        (
            {
                "etc/systemd/system/a.service": f"{RUNS}/bin/true\n",
                f"{SYSTEM}/a.service": f"{RUNS}/sbin/swapon /s\n",
            },
            [],
        ),
    ],
)
def test_finds_what_switches_swap_on(tmp_path: Path, files: dict[str, str], culprits: list[str]) -> None:
    for path, text in files.items():
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755)
    assert swap.culprits(root=str(tmp_path)) == culprits


def test_a_masked_one_does_not(tmp_path: Path) -> None:
    package, administrator = tmp_path / SYSTEM, tmp_path / "etc/systemd/system"
    package.mkdir(parents=True)
    administrator.mkdir(parents=True)
    (package / "a.service").write_text(f"{RUNS}/sbin/swapon /s\n")
    (administrator / "a.service").symlink_to("/dev/null")
    assert swap.culprits(root=str(tmp_path)) == []
