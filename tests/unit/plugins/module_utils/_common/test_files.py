# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._boot.folder import FolderBoot
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import os_error_text
from ansible_collections.bramble.pi.plugins.module_utils._common.files import (
    read_text,
    replace_file,
    write_text,
)

from tests.unit.run_module import run_module


def test_no_file(tmp_path: Path) -> None:
    assert read_text(str(tmp_path / "none")) is None
    (tmp_path / "file").touch()
    assert read_text(str(tmp_path / "file" / "below")) is None


def test_bytes_survive(tmp_path: Path) -> None:
    path = tmp_path / "latin1"
    path.write_bytes(b"# caf\xe9\r\n")
    text = read_text(str(path))
    assert text is not None
    write_text(str(path), text + "more\n")
    assert path.read_bytes() == b"# caf\xe9\r\nmore\n"


def test_new_file_in_a_new_folder(tmp_path: Path) -> None:
    path = tmp_path / "etc" / "rpi" / "swap.conf.d" / "99-bramble.conf"
    write_text(str(path), "text\n")
    assert path.read_text() == "text\n"
    assert path.stat().st_mode & 0o777 == 0o644
    secret = tmp_path / "secret"
    write_text(str(secret), "text\n", mode=0o600)
    assert secret.stat().st_mode & 0o777 == 0o600


def test_mode_stays_and_nothing_is_left_behind(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old\n")
    path.chmod(0o640)
    write_text(str(path), "new\n", mode=0o600)
    assert path.read_text() == "new\n"
    assert path.stat().st_mode & 0o777 == 0o640
    assert os.listdir(tmp_path) == ["file"]


def test_link_stays_a_link(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("old\n")
    link = tmp_path / "link"
    link.symlink_to("target")
    write_text(str(link), "new\n")
    assert link.is_symlink()
    assert target.read_text() == "new\n"


@pytest.mark.parametrize(("number", "survives"), [(errno.EBUSY, True), (errno.EROFS, False)])
def test_mount_point_is_rewritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, survives: bool
) -> None:
    # Mounting takes root, so the kernel's refusal to replace a mount point is played here.
    def refuse(*_paths: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "replace", refuse)
    path = tmp_path / "file"
    path.write_text("a longer old text\n")
    if survives:
        write_text(str(path), "new\n")
        assert path.read_text() == "new\n"
    else:
        with pytest.raises(OSError, match="Read-only"):
            write_text(str(path), "new\n")
        assert path.read_text() == "a longer old text\n"
    assert os.listdir(tmp_path) == ["file"]


def test_what_a_killed_run_left_behind_goes_and_what_another_still_writes_stays(tmp_path: Path) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    for name in (f".file.bramble-new-{dead.pid}-abc", f".file.bramble-new-{os.getppid()}-abc", ".other"):
        (tmp_path / name).touch()
    write_text(str(tmp_path / "file"), "new\n")
    assert sorted(os.listdir(tmp_path)) == [f".file.bramble-new-{os.getppid()}-abc", ".other", "file"]


def test_owner_and_mode_as_told_or_as_another_file_has_them(tmp_path: Path) -> None:
    model, path = tmp_path / "model", tmp_path / "file"
    model.touch(mode=0o600)
    path.touch(mode=0o644)
    replace_file(str(path), b"1", like=str(model))
    assert path.stat().st_mode & 0o777 == 0o600
    replace_file(str(path), b"2", mode=0o440, owner=(os.getuid(), os.getgid()))
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"2", 0o440)


@pytest.fixture(params=["size=16k", "ro,size=16k"])
def no_room(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """Return a file system that is full, or mounted read-only."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", request.param, "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def test_errors_name_the_file_and_what_to_do(no_room: Path) -> None:
    path = no_room / "known_hosts"
    with pytest.raises(OSError, match=r"known_hosts'$") as error:
        replace_file(str(path), bytes(20_000))
    said = os_error_text(error.value)
    assert said.startswith(f"{path}: ")
    full = error.value.errno == errno.ENOSPC
    assert ("see 'df -h'" if full else "remount,rw") in said
    assert list(no_room.iterdir()) == []


def test_a_module_names_the_file_and_what_to_do(no_room: Path) -> None:
    path = no_room / "known_hosts"
    names = [f"a-rather-long-name-of-a-node-{number}" for number in range(900)]
    host = {"name": "pi-1", "known_as": names, "keys": ["ssh-ed25519 AAAA"]}
    result = run_module("known_hosts", path=str(path), hosts=[host])
    assert result["msg"].startswith(f"{path}: ")
    assert "see 'df -h'" in result["msg"] or "remount,rw" in result["msg"]


def test_errors_of_temporary_files_say_where_they_are() -> None:
    said = os_error_text(OSError(errno.ENOSPC, "No space left on device"))
    assert said.startswith("a temporary file in /tmp, /var/tmp or $TMPDIR: No space left on device; expected")


def test_a_file_is_on_the_disk_under_its_name_before_its_folder_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On FAT the entry is written with the file; tests/boot/test_first_boot.py reads the card itself."""
    done: list[tuple[str, int]] = []
    replace, fsync = os.replace, os.fsync

    def replaced(old: str, new: str) -> None:
        replace(old, new)
        done.append(("replace", os.stat(new).st_ino))

    def synced(descriptor: int) -> None:
        fsync(descriptor)
        done.append(("fsync", os.fstat(descriptor).st_ino))

    monkeypatch.setattr(os, "replace", replaced)
    monkeypatch.setattr(os, "fsync", synced)
    one, two = tmp_path / "cmdline.txt", tmp_path / "config.txt"
    for path in (one, two):
        path.write_text("before")
    replace_file(str(one), b"after")
    FolderBoot(path=str(tmp_path)).change(write={"config.txt": b"after"})
    for path in (one, two):
        file, folder = path.stat().st_ino, tmp_path.stat().st_ino
        at = done.index(("replace", file))
        assert done[at + 1 : at + 3] == [("fsync", file), ("fsync", folder)]
