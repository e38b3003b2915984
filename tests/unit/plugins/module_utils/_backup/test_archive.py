# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import errno
import io
import tarfile
from pathlib import Path

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._backup import archive
from ansible_collections.bramble.pi.plugins.module_utils._backup.manifest import SNAPSHOT, BackupError

from tests.unit.plugins.module_utils._backup.control_plane import (
    AGE_KEY,
    SECRET,
    ControlPlane,
    control_plane,
)


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ControlPlane:
    (tmp_path / "identity").write_text("AGE-SECRET-KEY-1QQQ\n")
    return control_plane(tmp_path, monkeypatch)


def extract(node: ControlPlane, path: str) -> Path:
    into = node.root / "extracted"
    archive.extract(path, identity=str(node.root / "identity"), folder=str(into))
    return into


def test_what_was_written_is_read(node: ControlPlane) -> None:
    into = extract(node, node.backup()["file"])
    assert (into / SNAPSHOT).read_bytes() == node.snapshot
    key = f"{into}{node.root}/etc/kubernetes/pki/ca.key"
    assert Path(key).read_text() == SECRET


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_a_truncated_one_is_refused(node: ControlPlane, part: float) -> None:
    """Where age itself would let it pass."""
    path = Path(node.backup()["file"])
    data = path.read_bytes()
    path.write_bytes(data[: int(part * len(data))])
    with pytest.raises(BackupError):
        extract(node, str(path))


def test_a_file_that_was_changed_is_refused(node: ControlPlane) -> None:
    """By age itself, and should that be passed by somehow, by the checksum in the manifest."""
    content = node.content(node.backup()["file"])
    content[SNAPSHOT] = content[SNAPSHOT].replace(b"objects", b"objectz")
    path = repacked(node, content)
    with pytest.raises(BackupError, match=f"{SNAPSHOT} is not what was backed up"):
        extract(node, path)


@pytest.mark.parametrize(
    "name", ["/etc/shadow", "../../etc/shadow", "etc/../../shadow", "etc/shadow", "root/.bashrc"]
)
def test_nothing_is_written_elsewhere(node: ControlPlane, name: str) -> None:
    path = repacked(node, {name: b"root::0:0:::::"})
    with pytest.raises(BackupError, match="expected files of Kubernetes only"):
        extract(node, path)


def test_memory_that_is_too_small_is_called_so(node: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    path = node.backup()["file"]

    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(archive, "_extract", full)
    with pytest.raises(BackupError, match=r"the memory for a backup is \d+ MiB; expected more than \d+ MiB"):
        extract(node, path)


def test_another_identity(node: ControlPlane) -> None:
    path = Path(node.backup()["file"])
    path.write_bytes(path.read_bytes().replace(b"for age1", b"for abc1", 1))
    with pytest.raises(BackupError, match="no identity matched"):
        extract(node, str(path))


def repacked(node: ControlPlane, content: dict[str, bytes]) -> str:
    """Write an archive by hand."""
    path = node.root / "by-hand.tar.gz.age"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as packed:
        for name, data in content.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            packed.addfile(entry, io.BytesIO(data))
    path.write_bytes(f"for {AGE_KEY}\n".encode() + buffer.getvalue())
    return str(path)
