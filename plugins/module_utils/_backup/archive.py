# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one file of a backup: a tar archive that age encrypts; its plain text is on no disk."""

from __future__ import annotations

import contextlib
import errno
import gzip
import hashlib
import io
import os
import shutil
import stat
import subprocess
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from typing import IO, NamedTuple, cast

from ansible_collections.bramble.pi.plugins.module_utils._backup import manifest, retention
from ansible_collections.bramble.pi.plugins.module_utils._backup.manifest import BackupError, File
from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import state

#: What of the node is in a backup, as far as it is there.
_TREES = (state.KUBERNETES, f"{state.KUBELET}/pki")
_FILES = (state.KUBELET_CONFIGURATION, state.KUBELET_INSTANCE_CONFIGURATION, state.KUBELET_FLAGS)
#: What kubeadm and this collection keep there for themselves.
_LEFT_OUT = (state.UPGRADES, state.ATTEMPT)
_PART = ".part"
_BLOCK = 1 << 20
#: A Pi is slow; the database is mostly text.
_LEVEL = 3


#: Follows each error of age.
_WHERE_TO_REPORT = "age: report unexpected"
_NO_AGE = "age is not installed on this node; expected Debian's package: run 'apt-get install age'"


def check_age() -> None:
    """Refuse to go on without what encrypts."""
    if shutil.which("age") is None:
        raise BackupError(_NO_AGE)


class Member(NamedTuple):
    """A file of the archive: small ones are held here, so that they are archived as they were looked at."""

    name: str
    file: File
    data: bytes | None = None
    path: str | None = None


def node_members() -> Iterator[Member]:
    """Read kubeadm's files of this node."""
    paths = [
        os.path.join(folder, name)
        for tree in _TREES
        for folder, _folders, names in sorted(os.walk(tree))
        for name in sorted(names)
    ]
    for path in [*paths, *_FILES]:
        if path.startswith(_LEFT_OUT) or not os.path.lexists(path):
            continue
        link = os.path.islink(path)
        if link:
            data = os.readlink(path).encode()
        else:
            with open(path, "rb") as file:
                data = file.read()
        yield member(path.lstrip("/"), data, mode=stat.S_IMODE(os.lstat(path).st_mode), link=link)


def member(name: str, data: bytes, *, mode: int = 0o600, link: bool = False) -> Member:
    """Return a small file of the archive."""
    return Member(name, File(hashlib.sha256(data).hexdigest(), len(data), mode, link), data=data)


def large_member(name: str, path: str) -> Member:
    """Return a file of the archive that is read from where it is."""
    return Member(name, File(sha256_of(path), os.path.getsize(path)), path=path)


def sha256_of(path: str) -> str:
    """Return the checksum of a file."""
    with open(path, "rb") as file:
        return _sha256(file)


def _sha256(file: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while block := file.read(_BLOCK):
        digest.update(block)
    return digest.hexdigest()


def write(path: str, members: Sequence[Member], *, recipients: Sequence[str]) -> None:
    """Write an archive, encrypted, in one step that survives a power cut."""
    folder = os.path.dirname(path)
    part = path + _PART
    command = ["age", "--encrypt", "--output", part]
    for recipient in recipients:
        command += ["--recipient", recipient]
    try:
        with _memory() as errors, _started(command, errors, stdin=subprocess.PIPE) as process:
            with contextlib.suppress(BrokenPipeError):
                _write_tar(cast("IO[bytes]", process.stdin), members)
            _end(
                process,
                errors,
                part,
                "expected a disk that takes it: free some there (see df -h), or look at dmesg whether the"
                " disk fails",
            )
        # Not for others, whatever age made of it; FAT has no modes, and it is encrypted.
        with contextlib.suppress(PermissionError):
            os.chmod(part, 0o600)
        sync(part)
        os.replace(part, path)
        sync(folder)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part)
        raise


def remove_parts(folder: str, *, owner: str) -> None:
    """Remove what a run of this node that was killed, or a power cut, has left."""
    for name in os.listdir(folder):
        if name.endswith(_PART) and retention.created_of(name[: -len(_PART)], owner=owner):
            os.unlink(os.path.join(folder, name))


def _memory() -> IO[bytes]:
    """Give a file that a full disk does not keep from being written."""
    return os.fdopen(os.memfd_create("age"), "w+b")


@contextlib.contextmanager
def _started(
    command: list[str], errors: IO[bytes], *, stdin: int | None = None, stdout: int | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    try:
        process = subprocess.Popen(
            command, stdin=stdin or subprocess.DEVNULL, stdout=stdout or subprocess.DEVNULL, stderr=errors
        )
    except FileNotFoundError as error:
        raise BackupError(_NO_AGE) from error
    with process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise


def _end(process: subprocess.Popen[bytes], errors: IO[bytes], what: str, remedy: str) -> None:
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
    if process.wait() != 0:
        errors.seek(0)
        lines = errors.read().decode("utf-8", "replace").strip().splitlines()
        said = "; ".join(line for line in lines if not line.startswith(_WHERE_TO_REPORT))[-600:]
        raise BackupError(
            f"age ended with {process.returncode} at {what}: {said or 'it said nothing'}; {remedy}"
        )


def _write_tar(file: IO[bytes], members: Sequence[Member]) -> None:
    packed = gzip.GzipFile(fileobj=file, mode="wb", compresslevel=_LEVEL, mtime=0)
    with packed, tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        _add_members(archive, members)


def _add_members(archive: tarfile.TarFile, members: Sequence[Member]) -> None:
    for each in members:
        entry = tarfile.TarInfo(each.name)
        entry.mode = each.file.mode
        if each.file.link:
            entry.type = tarfile.SYMTYPE
            entry.linkname = (each.data or b"").decode()
            archive.addfile(entry)
            continue
        entry.size = each.file.size
        if each.data is not None:
            archive.addfile(entry, io.BytesIO(each.data))
        elif each.path is not None:
            with open(each.path, "rb") as source:
                archive.addfile(entry, source)


def sync(path: str) -> None:
    """Have a power cut not undo what was written to a file, or renamed in a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def with_manifest(of: manifest.Manifest, members: Sequence[Member]) -> list[Member]:
    """Put the manifest before the files."""
    return [member(manifest.NAME, of.dumped().encode()), *members]


# Reading


def extract(path: str, *, identity: str, folder: str) -> manifest.Manifest:
    """Decrypt an archive into a folder in memory, and check all of it; nothing else is touched.

    ``identity`` is the file of the secret key. A changed or truncated archive is refused: age authenticates
    it, and each file has its checksum in the manifest.
    """
    command = ["age", "--decrypt", "--identity", identity, path]
    seen: dict[str, File] = {}
    with _memory() as errors, _started(command, errors, stdout=subprocess.PIPE) as process:
        problem = ""
        try:
            with tarfile.open(fileobj=process.stdout, mode="r|gz") as archive:
                for entry in archive:
                    with _in_memory(folder, sum(file.size for file in seen.values()) + entry.size):
                        seen[entry.name] = _extract(archive, entry, folder)
        except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
            problem = str(error) or type(error).__name__
        # What follows the archive's end is authenticated, too.
        while process.stdout is not None and process.stdout.read(_BLOCK):
            pass
        _end(
            process,
            errors,
            f"{path}, which is no backup for this identity, or was changed or cut off",
            "expected a whole one: set backup_restore_file to another copy, or backup_identity_file to the"
            " key of one of its recipients",
        )
    if problem:
        raise BackupError(f"{path} cannot be read: {problem}; expected a whole backup: take another one")
    text = read_text(os.path.join(folder, manifest.NAME))
    if text is None:
        raise BackupError(f"{path} has no {manifest.NAME}; expected a backup that this collection made")
    of = manifest.parse(text)
    seen.pop(manifest.NAME)
    differences = manifest.differences(manifest=of, seen=seen)
    if differences:
        raise BackupError(
            f"{path} is not whole: {'; '.join(differences[:5])}. Nothing was touched; take another backup"
        )
    return of


@contextlib.contextmanager
def _in_memory(folder: str, needed: int) -> Iterator[None]:
    """Say of a folder that it is memory that is too small, and not a disk."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        status = os.statvfs(os.path.dirname(folder))
        raise BackupError(
            f"the memory for a backup is {(status.f_blocks * status.f_frsize) >> 20} MiB; expected more than"
            f" {needed >> 20} MiB, as nothing of it is written to the card: stop what runs on this node, or"
            " take a Pi with more memory"
        ) from error


def _belongs(name: str) -> bool:
    """Tell whether a file is one that a backup has: whoever knows a recipient can make one with others."""
    path = f"/{name}"
    trees = tuple(f"{tree}/" for tree in _TREES)
    return name in (manifest.NAME, manifest.SNAPSHOT) or path in _FILES or path.startswith(trees)


def _extract(archive: tarfile.TarFile, entry: tarfile.TarInfo, folder: str) -> File:
    parts = entry.name.split("/")
    if not _belongs(entry.name) or {"", ".", ".."} & set(parts) or not (entry.isreg() or entry.issym()):
        raise BackupError(f"the backup has {entry.name!r}; expected files of Kubernetes only")
    target = os.path.join(folder, entry.name)
    os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
    if entry.issym():
        # Where it points to is only text here.
        data = entry.linkname.encode()
        with open(target, "wb") as file:
            file.write(data)
        return member(entry.name, data, mode=entry.mode, link=True).file
    source = cast("IO[bytes]", archive.extractfile(entry))
    digest = hashlib.sha256()
    with open(target, "wb") as file:
        while block := source.read(_BLOCK):
            digest.update(block)
            file.write(block)
    return File(digest.hexdigest(), entry.size, entry.mode)
