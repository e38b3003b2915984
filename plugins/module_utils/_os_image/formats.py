# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images as they are published: raw, or packed as zip, gzip, xz or zstd, recognised by their content."""

from __future__ import annotations

import contextlib
import errno
import io
import lzma
import os
import re
import shutil
import struct
import subprocess
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO, Any, NamedTuple, Protocol, cast

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError

_HEAD = 512
_ZIP_END = b"PK\x05\x06"
_ZIP_END_SIZE = 22
_ZIP_ENCRYPTED = 1
_ZIP_ENTRY = b"PK\x01\x02"
_ZIP64_LOCATOR = b"PK\x06\x07"
_ZIP64_LOCATOR_SIZE = 20
#: Those of the methods that Python does not know which programs use without being asked.
_ZIP_METHODS = {9: "Deflate64", 93: "Zstandard", 95: "xz", 98: "PPMd"}


class ImageFormatError(BrambleError):
    """A file that cannot be unpacked; the message names it."""


class MissingToolError(ImageFormatError):
    """A command that has to be installed first."""


class ImageReader(Protocol):
    """The bytes of an image, unpacked."""

    #: The name of the image inside, such as ``2025-10-01-raspios-trixie-arm64-lite.img``.
    name: str
    #: ``none``, ``zip``, ``gzip``, ``xz`` or ``zstd``.
    compression: str

    def readinto(self, buffer: memoryview | bytearray) -> int:
        """Fill the buffer; fewer bytes, then 0, come only at the end, and only if the file is sound."""


class _Tool(NamedTuple):
    """A decompressor that reads standard input."""

    compression: str
    command: tuple[str, ...]
    package: str
    suffixes: tuple[str, ...]


# xz uses all processors where the archive has several blocks. The limit of zstd is what frames made with
# --long=31 need; it allocates only what the archive at hand does.
_XZ = _Tool("xz", ("xz", "-dc", "-T0"), "xz-utils (in Homebrew: xz)", (".xz",))
_GZIP = _Tool("gzip", ("gzip", "-dc"), "gzip", (".gz",))
_ZSTD = _Tool("zstd", ("zstd", "-dcq", "--memory=2048MB"), "zstd", (".zst", ".zstd"))

_TOOLS = (
    (b"\xfd7zXZ\x00", _XZ),
    (b"\x1f\x8b", _GZIP),
    (b"\x28\xb5\x2f\xfd", _ZSTD),
    # A skippable frame, with which pzstd begins.
    *((bytes((low, 0x2A, 0x4D, 0x18)), _ZSTD) for low in range(0x50, 0x60)),
)
_ZIP_MAGICS = (b"PK\x03\x04", _ZIP_END)
#: Settings of the decompressors that a user may have in the environment.
_TOOL_VARIABLES = frozenset({"XZ_DEFAULTS", "XZ_OPT", "GZIP", "ZSTD_CLEVEL", "ZSTD_NBTHREADS"})
_EXPECTED = "expected a raw image, or one packed as .zip, .gz, .xz or .zst"
_OTHERS = (
    (0, b"BZh", "a bzip2 archive"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (0, b"Rar!", "a rar archive"),
    (257, b"ustar", "a tar archive"),
)


def tool_environment() -> dict[str, str]:
    """Return the environment of a compressor: messages in English, and no options of the user's."""
    kept = {name: value for name, value in os.environ.items() if name not in _TOOL_VARIABLES}
    return {**kept, "LC_ALL": "C"}


def require_tool(*, command: str, package: str, why: str) -> None:
    """Refuse at once if a command is missing."""
    if shutil.which(command) is None:
        raise MissingToolError(
            f"{why} needs the command {command}, which is not there; install the package {package}"
        )


def _fill(source: IO[bytes], buffer: memoryview | bytearray) -> int:
    """Read until the buffer is full or the source at its end."""
    view = memoryview(buffer)
    done = 0
    while done < len(view):
        count = source.readinto(view[done:])  # type: ignore[attr-defined]  # IO lacks it, all used here have it
        if not count:
            break
        done += count
    return done


class _RawReader:
    compression = "none"

    def __init__(self, *, path: str, file: IO[bytes]) -> None:
        self.name = os.path.basename(path)
        self._file = file

    def readinto(self, buffer: memoryview | bytearray) -> int:
        return _fill(self._file, buffer)


class _ToolReader:
    """The output of a decompressor."""

    def __init__(
        self, *, path: str, tool: _Tool, process: subprocess.Popen[bytes], errors: IO[bytes]
    ) -> None:
        self.compression = tool.compression
        self.name = os.path.basename(path)
        for suffix in tool.suffixes:
            if self.name.lower().endswith(suffix):
                self.name = self.name[: -len(suffix)]
        self._path = path
        self._tool = tool
        self._process = process
        self._errors = errors

    def readinto(self, buffer: memoryview | bytearray) -> int:
        if self._process.stdout is None:
            raise ValueError("the process was started without a pipe")
        count = _fill(self._process.stdout, buffer)
        # Only the exit code says whether that was the end of the image or of what could be read of it.
        if count < len(buffer) and self._process.wait() != 0:
            self._errors.seek(0)
            said = self._errors.read().decode(errors="replace").strip().replace("\n", "; ")
            raise ImageFormatError(
                f"{self._path} is truncated or corrupt: {' '.join(self._tool.command)} ended with "
                f"{self._process.returncode}; expected 0, and said: {said or 'nothing'}. Fetch it again"
            )
        return count


class _ZipReader:
    compression = "zip"

    def __init__(self, *, path: str, member: zipfile.ZipInfo, file: IO[bytes]) -> None:
        self.name = os.path.basename(member.filename)
        self._path = path
        self._left = member.file_size
        self._file = file

    def readinto(self, buffer: memoryview | bytearray) -> int:
        try:
            count = _fill(self._file, buffer)
        except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError) as error:
            raise ImageFormatError(
                f"{self._path} is truncated or corrupt: {error or 'it ends too early'}. Fetch it again"
            ) from error
        self._left -= count
        if count < len(buffer) and self._left:
            raise ImageFormatError(
                f"{self._path} is corrupt: its {self.name} is {self._left} bytes shorter than it says. "
                f"Fetch it again"
            )
        return count


@contextlib.contextmanager
def _open_tool(*, path: str, tool: _Tool, file: IO[bytes]) -> Iterator[ImageReader]:
    require_tool(command=tool.command[0], package=tool.package, why=f"unpacking {path}")
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            tool.command, stdin=file, stdout=subprocess.PIPE, stderr=errors, bufsize=0, env=tool_environment()
        )
        with process:
            try:
                yield _ToolReader(path=path, tool=tool, process=process, errors=errors)
            finally:
                # It has ended by itself unless the caller left before the end of the image.
                process.kill()


class _ZipWithoutComment(io.RawIOBase):
    """A zip up to its end record, without the comment in that, in which zipfile would look for another."""

    def __init__(self, *, file: IO[bytes], end: int) -> None:
        self._file = file
        self._comment_at = end + _ZIP_END_SIZE - 2
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._comment_at + 2}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer)
        if self._position < self._comment_at:
            self._file.seek(self._position)
            size = min(len(view), self._comment_at - self._position)
            count = self._file.readinto(view[:size])  # type: ignore[attr-defined]  # as in _fill
        else:
            # The length of the comment.
            count = max(0, min(len(view), self._comment_at + 2 - self._position))
            view[:count] = bytes(count)
        self._position += count
        return int(count)


def _is_zip_end(*, tail: bytes, end: int) -> bool:
    """Tell an end record from what looks like one: its comment is the rest, what it belongs to before it."""
    if end + _ZIP_END_SIZE > len(tail):
        return False
    comment, table = (int.from_bytes(tail[end + at : end + to], "little") for at, to in ((20, 22), (12, 16)))
    if end + _ZIP_END_SIZE + comment != len(tail):
        return False
    locator, entry = end - _ZIP64_LOCATOR_SIZE, end - table
    return (
        (locator >= 0 and tail.startswith(_ZIP64_LOCATOR, locator))
        or table == 0
        or (entry >= 0 and tail.startswith(_ZIP_ENTRY, entry))
    )


def _check_zip_end(*, path: str, file: IO[bytes]) -> IO[bytes]:
    """Refuse what follows the end of a zip, which zipfile passes over; return what zipfile is to read."""
    size = os.fstat(file.fileno()).st_size
    # The table of contents of a zip with one file is less than the other half.
    tail_start = max(0, size - 2 * (_ZIP_END_SIZE + 0xFFFF))
    file.seek(tail_start)
    tail = file.read()
    ends = [match.start() for match in re.finditer(re.escape(_ZIP_END), tail)]
    if not ends:
        raise ImageFormatError(
            f"{path} is truncated: a zip of {size} bytes whose table of contents is missing. Fetch it again"
        )
    end = next((end for end in ends if _is_zip_end(tail=tail, end=end)), ends[-1])
    extra = len(tail) - (end + _ZIP_END_SIZE + int.from_bytes(tail[end + 20 : end + 22], "little"))
    if extra:
        raise ImageFormatError(
            f"{path} is corrupt: {abs(extra)} bytes too {'many' if extra > 0 else 'few'} at its end. "
            f"Fetch it again"
        )
    if end == ends[-1]:
        return file
    return cast("IO[bytes]", io.BufferedReader(_ZipWithoutComment(file=file, end=tail_start + end)))


def _check_zip_method(*, path: str, member: zipfile.ZipInfo) -> None:
    """Refuse a compression that Python cannot unpack."""
    try:
        with io.BytesIO() as empty, zipfile.ZipFile(empty, "w", member.compress_type):
            return
    except (NotImplementedError, RuntimeError, ValueError) as error:
        name = _ZIP_METHODS.get(member.compress_type)
        raise ImageFormatError(
            f"{path} is a zip with the compression method {member.compress_type}"
            f"{f' ({name})' if name else ''}, which is not supported; expected 8 (Deflate) or 0 (none): "
            f"unpack it, such as with unzip or 7z, and give the path of the image"
        ) from error


@contextlib.contextmanager
def _open_zip(*, path: str, file: IO[bytes]) -> Iterator[ImageReader]:
    zipped = _check_zip_end(path=path, file=file)
    with contextlib.ExitStack() as stack:
        try:
            archive = stack.enter_context(zipfile.ZipFile(zipped))
            members = [member for member in archive.infolist() if not member.is_dir()]
            if len(members) != 1:
                names = ", ".join(member.filename for member in members[:5])
                more = ", ..." if len(members) > 5 else ""
                raise ImageFormatError(
                    f"{path} is a zip with {len(members)} files ({names}{more}); expected one, the image. "
                    f"Unpack it and give the path of the image"
                )
            member = members[0]
            if member.flag_bits & _ZIP_ENCRYPTED:
                raise ImageFormatError(
                    f"{path} is a zip with a password; expected one without. Unpack it first"
                )
            _check_zip_method(path=path, member=member)
            inside = stack.enter_context(archive.open(member))
        except ImageFormatError:
            raise
        except OSError as error:
            # A place before the beginning of the file.
            if error.errno != errno.EINVAL:
                raise
            raise ImageFormatError(f"{path} is a zip that cannot be read: {error}. Fetch it again") from error
        except (
            zipfile.BadZipFile,
            NotImplementedError,
            ValueError,
            IndexError,
            struct.error,
            EOFError,
        ) as error:
            raise ImageFormatError(f"{path} is a zip that cannot be read: {error}. Fetch it again") from error
        yield _ZipReader(path=path, member=member, file=inside)


def _sniff(*, path: str, head: bytes) -> _Tool | str:
    """Tell by the first bytes what a file is packed with."""
    for offset, magic, name in _OTHERS:
        if head.startswith(magic, offset):
            raise ImageFormatError(f"{path} is {name}; {_EXPECTED}")
    for magic, tool in _TOOLS:
        if head.startswith(magic):
            return tool
    return "zip" if head.startswith(_ZIP_MAGICS) else "none"


def detect_compression(*, path: str) -> str:
    """Return what an image is packed with: ``none``, ``zip``, ``gzip``, ``xz`` or ``zstd``."""
    with open(path, "rb") as file:
        found = _sniff(path=path, head=file.read(_HEAD))
    return found.compression if isinstance(found, _Tool) else found


@contextlib.contextmanager
def open_image(*, path: str) -> Iterator[ImageReader]:
    """Open an image for reading from its beginning to its end."""
    with open(path, "rb", buffering=0) as file:
        found = _sniff(path=path, head=file.read(_HEAD))
        file.seek(0)
        if isinstance(found, _Tool):
            with _open_tool(path=path, tool=found, file=file) as reader:
                yield reader
        elif found == "zip":
            with _open_zip(path=path, file=file) as reader:
                yield reader
        else:
            yield _RawReader(path=path, file=file)
