# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The room's work on real files."""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._ssh import authorized_keys

ADA = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGYPBWtAFNQ5YQbNGYPo8DRBZu1sBFHZ1bCDFMK+3Gah ada@laptop"
BOB = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE0MBBk5dAzqyFzMzfRcGBBRZBhg6oZVxmxaXpaNj6L5 bob"


def authorize(home: Path, *keys: str, exclusive: bool = False, dry_run: bool = False) -> dict[str, Any]:
    own = pwd.getpwuid(os.getuid())
    user = pwd.struct_passwd((*own[:5], str(home), own.pw_shell))
    return authorized_keys.authorize(user=user, keys=list(keys), exclusive=exclusive, dry_run=dry_run)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    return home


def test_keys_are_entered_once(home: Path) -> None:
    file = home / ".ssh" / "authorized_keys"
    assert authorize(home, ADA, dry_run=True)["changed"] is True
    assert not file.parent.exists()
    done = authorize(home, ADA)
    assert (done["changed"], done["path"], done["loose_home"]) == (True, str(file), False)
    assert (file.read_text(), mode(file), mode(file.parent)) == (f"{ADA}\n", 0o600, 0o700)
    assert authorize(home, ADA)["changed"] is False
    authorize(home, BOB)
    assert file.read_text() == f"{ADA}\n{BOB}\n"
    authorize(home, BOB, exclusive=True)
    assert file.read_text() == f"{BOB}\n"
    assert os.listdir(file.parent) == ["authorized_keys"]


@pytest.mark.parametrize(
    ("folder", "file", "wrong"), [(0o755, 0o600, True), (0o700, 0o644, True), (0o700, 0o400, False)]
)
def test_modes(home: Path, folder: int, file: int, wrong: bool) -> None:
    path = home / ".ssh" / "authorized_keys"
    authorize(home, ADA)
    path.chmod(file)
    path.parent.chmod(folder)
    assert authorize(home, ADA, dry_run=True)["changed"] is wrong
    assert (mode(path.parent), mode(path)) == (folder, file)
    assert authorize(home, ADA)["changed"] is wrong
    assert (mode(path.parent), mode(path)) == (0o700, file & 0o600)


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")
def test_owner(home: Path) -> None:
    path = home / ".ssh" / "authorized_keys"
    authorize(home, ADA)
    os.chown(path, 12345, 12345)
    assert authorize(home, ADA)["changed"] is True
    assert path.stat().st_uid == 0


@pytest.mark.parametrize("name", [".ssh", ".ssh/authorized_keys"])
def test_links_are_not_followed(home: Path, tmp_path: Path, name: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    if name == ".ssh":
        elsewhere.mkdir(mode=0o755)
    else:
        (home / ".ssh").mkdir()
        elsewhere.write_text("root:*:\n")
    (home / name).symlink_to(elsewhere)
    before = elsewhere.stat()
    with pytest.raises(BrambleError, match=f"{name} is a link to {elsewhere}"):
        authorize(home, ADA)
    assert elsewhere.stat() == before


def test_a_second_name_of_somebody_s_file_is_refused(home: Path, tmp_path: Path) -> None:
    (home / ".ssh").mkdir()
    (tmp_path / "shadow").write_text("root:*:\n")
    (tmp_path / "shadow").chmod(0o640)
    os.link(tmp_path / "shadow", home / ".ssh" / "authorized_keys")
    with pytest.raises(BrambleError, match="2 links"):
        authorize(home, ADA)
    assert mode(tmp_path / "shadow") == 0o640


def test_a_home_that_others_may_write_to_is_told(home: Path) -> None:
    home.chmod(0o775)
    assert authorize(home, ADA)["loose_home"] is True
