# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images kept in the form that is quick to write to cards.

For each image: ``<sha256>.img.zst``, its beginning up to the end of the boot partition as
``<sha256>.boot.img`` (sparse), and ``<sha256>.json``, which is written last and makes the image count.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import IO, Any, NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._common.download import file_sha256
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text, write_text
from ansible_collections.bramble.pi.plugins.module_utils._os_image.data_map import (
    ImageMap,
    ImageMapError,
    ImageMapper,
)
from ansible_collections.bramble.pi.plugins.module_utils._os_image.formats import (
    ImageReader,
    detect_compression,
    open_image,
    require_tool,
    tool_environment,
)
from ansible_collections.bramble.pi.plugins.module_utils._os_image.partition_table import (
    HEAD_SIZE,
    DiskImageError,
    check_head,
    find_boot_partition,
    read_partition_table,
)
from ansible_collections.bramble.pi.plugins.module_utils._os_image.source import Expected, file_name

_SCHEMA = 1
_BUFFER = 4 << 20
_LOCK = ".lock"
_NEW = ".new."
#: Level 3 is the smallest that still keeps up with unpacking xz; all processors at once.
_PACK = ("zstd", "-3", "-T0", "-q", "-c")
#: In bytes; file systems allow 255.
_LONGEST_NAME = 200
#: Interrupted downloads of other images are kept for a week.
_DOWNLOAD_AGE = 7 * 24 * 3600


class ImageCacheError(BrambleError):
    """An image that cannot be put into the cache."""


class NoRoomError(ImageCacheError):
    """The file system of the cache is full."""


class Kept(NamedTuple):
    """An image in the cache."""

    image_map: ImageMap
    #: Its file name, unpacked.
    name: str
    archive_sha256: str
    boot_offset: int
    boot_size: int
    #: What first boot reads, as found by the boot partition; None if that is not known.
    init_format: str | None
    layout: str | None
    #: Sizes of the files, by which damage is noticed.
    packed_size: int
    boot_image_size: int


class Request(NamedTuple):
    """What the user asked for, by which an image is found again."""

    src: str
    checksum: str
    extract_checksum: str
    image_list: str


class Found(NamedTuple):
    """An image in the cache, and what was known of it when it came there."""

    kept: Kept
    archive_sha256: str
    init_format: str | None
    verified: bool


def _to_json(kept: Kept, source: str) -> str:
    document = {
        "schema": _SCHEMA,
        "source": source,
        **kept.image_map._asdict(),
        **{key: value for key, value in kept._asdict().items() if key != "image_map"},
    }
    return json.dumps(document) + "\n"


def _from_json(text: str) -> Kept | None:
    try:
        document = json.loads(text)
        if document["schema"] != _SCHEMA:
            return None
        fields = {key: document[key] for key in Kept._fields if key != "image_map"}
        return Kept(image_map=ImageMap.from_json(text), **fields)
    except (ValueError, TypeError, KeyError, ImageMapError):
        return None


def _size(path: str) -> int | None:
    try:
        return os.path.getsize(path)
    except OSError:
        return None


def _kept_name(name: str) -> str:
    """Return a name that a file can have, and its companions with a longer one."""
    end = name.replace("\0", "_").encode(errors="surrogateescape")[-_LONGEST_NAME:].decode(errors="ignore")
    return "image" if end in ("", ".", "..") else end


def _fresh(path: str) -> IO[bytes]:
    """Open a new file, not the one that a child of a killed run may still be writing to."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    return open(path, "xb")


class _PackedDisk:
    """Reads a packed image at any offset; to go back is to unpack it from the beginning again."""

    def __init__(self, *, path: str, stack: contextlib.ExitStack) -> None:
        self._path = path
        self._stack = stack
        self._buffer = bytearray(_BUFFER)
        self._rewind()
        self._head = self._next(_BUFFER)

    def _rewind(self) -> None:
        self._stack.close()
        self._reader: ImageReader = self._stack.enter_context(open_image(path=self._path))
        self._position = 0

    def _next(self, length: int) -> bytes:
        view = memoryview(self._buffer)[: min(length, _BUFFER)]
        count = self._reader.readinto(view)
        self._position += count
        return bytes(view[:count])

    def read(self, offset: int, length: int) -> bytes:
        """Read at most a buffer's length of bytes."""
        if offset + length <= len(self._head):
            return self._head[offset : offset + length]
        if offset < self._position:
            self._rewind()
        while self._position < offset:
            if not self._next(offset - self._position):
                return b""
        return self._next(length)


class ImageCache:
    """The images of a user, in one folder."""

    def __init__(self, *, folder: str, detect: Callable[[str, int], tuple[str | None, str | None]]) -> None:
        self.folder = os.path.join(folder, "images")
        self._detect = detect
        self._index = os.path.join(self.folder, "index.json")
        self._downloads = os.path.join(self.folder, "downloads")

    # Names

    def packed_path(self, sha256: str) -> str:
        """Return where an image is, as zstd."""
        return os.path.join(self.folder, f"{sha256}.img.zst")

    def map_path(self, sha256: str) -> str:
        """Return where the map of an image is, and what else is known of it."""
        return os.path.join(self.folder, f"{sha256}.json")

    def boot_path(self, sha256: str) -> str:
        """Return where the beginning of an image is, up to the end of its boot partition."""
        return os.path.join(self.folder, f"{sha256}.boot.img")

    def download_path(self, url: str) -> str:
        """Return where a URL is downloaded to, in a folder of its own so that it keeps its name."""
        key = hashlib.sha256(url.encode()).hexdigest()[:16]
        return os.path.join(self._downloads, key, _kept_name(file_name(url)))

    # Access

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Make the folder and keep other runs from changing what is in it; wait for them."""
        for folder in (os.path.dirname(self.folder), self.folder):
            os.makedirs(folder, mode=0o700, exist_ok=True)
        os.chmod(self.folder, 0o700)
        with open(os.path.join(self.folder, _LOCK), "a", encoding="ascii") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _no_room(self, why: str) -> NoRoomError:
        return NoRoomError(
            f"{why}. {self.folder} has {shutil.disk_usage(self.folder).free} bytes free: make room there, or "
            f"set 'cache_dir' (flash_cache_dir of the role flash) to a folder with more"
        )

    def check_room(self, needed: int) -> None:
        """Refuse to begin what will not fit."""
        free = shutil.disk_usage(self.folder).free
        if free < needed:
            raise self._no_room(f"an image for the cache needs {needed} bytes")

    def load(self, sha256: str) -> Kept | None:
        """Return an image if it is there and undamaged, as far as sizes tell."""
        text = read_text(self.map_path(sha256))
        kept = _from_json(text) if text else None
        if (
            kept is None
            or _size(self.packed_path(sha256)) != kept.packed_size
            or _size(self.boot_path(sha256)) != kept.boot_image_size
        ):
            return None
        return kept

    # The index: what led to which image

    def _entries(self) -> list[dict[str, Any]]:
        try:
            entries = json.loads(read_text(self._index) or "[]")
        except ValueError:
            return []
        return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []

    def _found(self, entry: dict[str, Any], verified: bool) -> Found | None:
        kept = self.load(str(entry.get("image")))
        return kept and Found(kept, str(entry["archive_sha256"]), entry.get("init_format"), verified)

    def find(self, *, request: Request, stat: list[int] | None, expected: Expected) -> Found | None:
        """Return the image that is what is expected; without a checksum, what came from the same source.

        ``stat`` is size and time of a local file, which has to be the same file still.
        """
        for entry in self._entries():
            same_source = entry.get("request", [None])[0] == request.src and entry.get("stat") == stat
            if (
                (same_source or (stat is None and expected.verifies))
                and expected.archive_sha256 in (None, entry.get("archive_sha256"))
                and expected.sha256 in (None, entry.get("image"))
            ):
                found = self._found(entry, expected.verifies)
                if found:
                    return found
        return None

    def find_request(self, *, request: Request, stat: list[int] | None) -> Found | None:
        """Return the image that the same request led to before, without asking anybody for its checksum."""
        for entry in self._entries():
            if entry.get("request") == list(request) and entry.get("stat") == stat:
                return self._found(entry, bool(entry.get("verified")))
        return None

    def _entry(self, request: Request, stat: list[int] | None, found: Found) -> dict[str, Any]:
        return {
            "request": list(request),
            "stat": stat,
            "image": found.kept.image_map.sha256,
            "archive_sha256": found.archive_sha256,
            "init_format": found.init_format,
            "verified": found.verified,
        }

    def remembers(self, *, request: Request, stat: list[int] | None, found: Found) -> bool:
        """Tell whether it is noted already which image a request led to."""
        return self._entry(request, stat, found) in self._entries()

    def remember(self, *, request: Request, stat: list[int] | None, found: Found) -> None:
        """Note which image a request led to; only under the lock."""
        entry = self._entry(request, stat, found)
        others = [other for other in self._entries() if other.get("request") != entry["request"]]
        # A URL may have a password in it.
        write_text(self._index, json.dumps([*others, entry], indent=1) + "\n", mode=0o600)

    # Making an image

    def remove_leftovers(self) -> None:
        """Remove what killed runs left, and old downloads; only under the lock."""
        for name in os.listdir(self.folder):
            if name.startswith(".") and name != _LOCK:
                os.unlink(os.path.join(self.folder, name))
        if not os.path.isdir(self._downloads):
            return
        for name in os.listdir(self._downloads):
            path = os.path.join(self._downloads, name)
            times = [os.path.getmtime(os.path.join(path, file)) for file in os.listdir(path)]
            if time.time() - max(times, default=0) > _DOWNLOAD_AGE:
                shutil.rmtree(path)

    def add(self, *, path: str, source: str, archive_sha256: str | None, expected: Expected) -> Kept:
        """Put an image into the cache; nothing is left of one that is refused."""
        packed = os.path.join(self.folder, f"{_NEW}img.zst")
        boot = os.path.join(self.folder, f"{_NEW}boot.img")
        try:
            if archive_sha256 is not None:
                _require(source, "the sha256", archive_sha256, expected.archive_sha256, "checksum")
            image_map, name = self._pack(path=path, packed=packed)
            if archive_sha256 is None:
                archive_sha256 = image_map.sha256
                _require(source, "the sha256", archive_sha256, expected.archive_sha256, "checksum")
            _require(source, "unpacked the size", image_map.size, expected.size, "image_list")
            _require(
                source,
                "unpacked the sha256",
                image_map.sha256,
                expected.sha256,
                "extract_checksum",
            )
            offset, size = self._extract_boot(packed=packed, boot=boot, image_map=image_map)
            init_format, layout = self._detect(boot, offset)
            kept = Kept(
                image_map=image_map,
                name=name,
                archive_sha256=archive_sha256,
                boot_offset=offset,
                boot_size=size,
                init_format=init_format,
                layout=layout,
                packed_size=os.path.getsize(packed),
                boot_image_size=os.path.getsize(boot),
            )
            os.replace(boot, self.boot_path(image_map.sha256))
            os.replace(packed, self.packed_path(image_map.sha256))
            write_text(self.map_path(image_map.sha256), _to_json(kept, source))
        except DiskImageError as error:
            raise ImageCacheError(f"{source} is {error}") from error
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise self._no_room("the boot partition of an image could not be kept") from error
        finally:
            for leftover in (packed, boot):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(leftover)
        return kept

    def _pack(self, *, path: str, packed: str) -> tuple[ImageMap, str]:
        """Unpack, hash, map and pack an image, all in one pass."""
        require_tool(command=_PACK[0], package="zstd", why="keeping images in the cache")
        mapper = ImageMapper()
        buffer = bytearray(_BUFFER)
        with _fresh(packed) as out, tempfile.TemporaryFile() as errors, open_image(path=path) as reader:
            process = subprocess.Popen(
                _PACK, stdin=subprocess.PIPE, stdout=out, stderr=errors, bufsize=0, env=tool_environment()
            )
            with process:
                try:
                    if process.stdin is None:
                        raise ValueError("the process was started without a pipe")
                    while count := reader.readinto(buffer):
                        if not mapper.size:
                            check_head(head=bytes(buffer[: min(count, HEAD_SIZE)]))
                        mapper.update(buffer=buffer, length=count)
                        _write(process.stdin, memoryview(buffer)[:count])
                    if not mapper.size:
                        check_head(head=b"")
                    process.stdin.close()
                    code = process.wait()
                except BrokenPipeError:
                    code = process.wait()
                except BaseException:
                    process.kill()
                    raise
            if code != 0:
                errors.seek(0)
                said = errors.read().decode(errors="replace").strip()
                raise self._no_room(
                    f"{' '.join(_PACK)} ended with {code}; expected 0: {said or 'it said nothing'}"
                )
            os.fsync(out.fileno())
            name = reader.name
        return mapper.finish(), name

    def _extract_boot(self, *, packed: str, boot: str, image_map: ImageMap) -> tuple[int, int]:
        """Copy the beginning of the disk up to the end of its boot partition; say where that is."""
        with contextlib.ExitStack() as stack, _fresh(boot) as out:
            disk = _PackedDisk(path=packed, stack=stack)
            table = read_partition_table(read=disk.read, size=image_map.size)
            partition = find_boot_partition(table=table)
            for first, length in image_map.data:
                end = min(first + length, partition.end)
                for offset in range(first, end, _BUFFER):
                    os.pwrite(out.fileno(), disk.read(offset, min(_BUFFER, end - offset)), offset)
            out.truncate(partition.end)
            os.fsync(out.fileno())
        return partition.offset, partition.size


def _require(source: str, what: str, seen: object, expected: object, option: str) -> None:
    if expected not in (None, seen):
        raise ImageCacheError(
            f"{source} has {what} {seen}; expected {expected}: fetch it again, or correct '{option}'"
        )


def _write(pipe: IO[bytes], view: memoryview) -> None:
    while view:
        view = view[pipe.write(view) :]


def room_for(*, path: str) -> int:
    """Estimate how many bytes an image takes in the cache: half more than as xz, a third of raw data."""
    stat = os.stat(path)
    if detect_compression(path=path) == "none":
        return min(stat.st_size, stat.st_blocks * 512) // 3
    return stat.st_size * 3 // 2


def archive_checksum(*, path: str) -> str | None:
    """Return the checksum of a packed image; that of a raw one comes with its map."""
    return None if detect_compression(path=path) == "none" else file_sha256(path)
