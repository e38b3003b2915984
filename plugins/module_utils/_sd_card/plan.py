# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to become of a card: decided, and its boot partition made up, before any card is touched."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any, NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._boot.applied import (
    KEY,
    applied,
    parse_applied,
    with_removals,
)
from ansible_collections.bramble.pi.plugins.module_utils._boot.fat import FatBoot
from ansible_collections.bramble.pi.plugins.module_utils._boot.partition import (
    RECEIPT,
    Seed,
    apply_seed,
    parse_seed,
    read_receipt,
)
from ansible_collections.bramble.pi.plugins.module_utils._boot.storage import BootPartitionError, MtoolsRunner
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._os_image.cache import (
    ImageCache,
    ImageCacheError,
    room_for,
)
from ansible_collections.bramble.pi.plugins.module_utils._os_image.data_map import ImageMap
from ansible_collections.bramble.pi.plugins.module_utils._os_image.formats import ImageFormatError
from ansible_collections.bramble.pi.plugins.module_utils._os_image.partition_table import (
    DiskImageError,
    find_boot_partition,
    read_partition_table,
)
from ansible_collections.bramble.pi.plugins.module_utils._os_image.source import Expected
from ansible_collections.bramble.pi.plugins.module_utils._sd_card.device import (
    BLOCK,
    CardDevice,
    CardError,
    CardUnchangedError,
    round_up,
)
from ansible_collections.bramble.pi.plugins.module_utils._sd_card.stream import HEAD

_PIECE = 1 << 20
_KEPT = re.compile(r"(.+)/images/([0-9a-f]{64})\.img\.zst")


_MAKE_SEED = "run the playbook flash, which makes it again"
#: What the role makes a seed of, as far as a user can make a mistake there.
_SET_SEED = "set flash_files, flash_config_txt and os_prep_kernel_cmdline"


class CardPlanError(BrambleError):
    """Something that is not to be written to a card."""


class Prepared(NamedTuple):
    """An image that was unpacked once, so that it is known to be sound."""

    path: str
    image_map: ImageMap
    name: str
    boot_path: str
    boot_offset: int


def prepare_image(*, path: str, folder: str) -> Prepared:
    """Find an image in the cache of os_image, or else keep it in a folder as that would."""
    kept = None
    in_cache = _KEPT.fullmatch(os.path.abspath(path))
    if in_cache:
        cache = ImageCache(folder=in_cache[1], detect=_no_detection)
        kept = cache.load(in_cache[2])
    if not kept:
        cache = ImageCache(folder=folder, detect=_no_detection)
        try:
            with cache.lock():
                cache.check_room(room_for(path=path))
                kept = cache.add(path=path, source=path, archive_sha256="", expected=Expected())
        except (ImageCacheError, ImageFormatError) as error:
            raise CardPlanError(str(error)) from error
        except OSError as error:
            raise CardPlanError(f"{path} cannot be read ({error.strerror}); correct 'image'") from error
    return Prepared(
        path=cache.packed_path(kept.image_map.sha256),
        image_map=kept.image_map,
        name=kept.name,
        boot_path=cache.boot_path(kept.image_map.sha256),
        boot_offset=kept.boot_offset,
    )


def _no_detection(_path: str, _offset: int) -> tuple[None, None]:
    return None, None


def read_seed(*, path: str, node: str) -> Seed:
    """Read a seed document, and refuse one that is another node's."""
    try:
        with open(path, encoding="utf-8") as file:
            seed = parse_seed(data=json.load(file))
    except OSError as error:
        raise CardPlanError(
            f"the seed {path} cannot be read ({error.strerror}); {_MAKE_SEED}, or correct 'seed'"
        ) from error
    except BootPartitionError as error:
        raise CardPlanError(f"the seed {path}: {error} For {node}, {_SET_SEED}; {_MAKE_SEED}") from error
    except ValueError as error:
        raise CardPlanError(f"the seed {path} is not JSON ({error}); {_MAKE_SEED}") from error
    if seed.node != node:
        raise CardPlanError(f"the seed {path} is for node {seed.node!r}; expected {node!r}; correct 'seed'")
    return seed


def make_receipt(*, image: Prepared, seed: Seed, written: str, collection: str) -> dict[str, Any]:
    """Say what a card carries; nothing in it is secret."""
    return {
        "schema": 1,
        "node": seed.node,
        "image": {"name": image.name, "sha256": image.image_map.sha256, "size": image.image_map.size},
        "seed": seed.id,
        "written": written,
        "collection": collection,
    }


def with_receipt(*, seed: Seed, receipt: Mapping[str, Any]) -> Seed:
    """Return the seed with the receipt among its files; on the card it tells what the seed has brought."""
    content = json.dumps({**receipt, KEY: applied(seed=seed)}, indent=2).encode() + b"\n"
    return seed._replace(files={**seed.files, RECEIPT: content})


def without_earlier(*, seed: Seed, receipt: bytes, image: Prepared, run: MtoolsRunner) -> Seed:
    """Have a seed take away what the seed of that receipt, as it lies on the card, has brought."""
    boot = FatBoot(path=image.boot_path, offset=image.boot_offset, run=run)
    return with_removals(seed=seed, before=parse_applied(content=receipt), image=boot)


def inspect_card(*, device: CardDevice, run: MtoolsRunner) -> tuple[dict[str, Any] | None, int, bytes]:
    """Return the receipt of a card, if any, where its boot partition begins, and the receipt's file."""
    try:
        table = read_partition_table(read=device.read_bytes, size=device.size)
        offset = find_boot_partition(table=table).offset
        boot = FatBoot(path=device.path, offset=offset, run=run)
        return read_receipt(boot=boot), offset, boot.read(RECEIPT) or b""
    except (DiskImageError, BootPartitionError):
        return None, 0, b""


def check_seed(*, device: CardDevice, offset: int, seed: Seed, run: MtoolsRunner) -> None:
    """Refuse a seed that the card cannot take, as far as that shows without writing."""
    try:
        apply_seed(boot=FatBoot(path=device.path, offset=offset, run=run), seed=seed, dry_run=True)
    except BootPartitionError as error:
        raise BootPartitionError(
            f"{error} Or have the whole card written again: set 'force' (flash_force of the role flash)."
        ) from error


def next_state(*, receipt: Mapping[str, Any] | None, sha256: str, seed: Seed, force: bool) -> str:
    """Say what is to become of a card that carries this receipt: written, seeded or unchanged."""
    if force or not receipt or receipt.get("schema") != 1 or receipt.get("node") != seed.node:
        return "written"
    carried = receipt.get("image")
    if not isinstance(carried, Mapping) or carried.get("sha256") != sha256:
        return "written"
    return "unchanged" if receipt.get("seed") == seed.id else "seeded"


def seed_in_place(*, device: CardDevice, offset: int, seed: Seed, run: MtoolsRunner) -> int:
    """Seed a card that carries the image, and read that back; return how many bytes the files have."""
    boot = FatBoot(path=device.path, offset=offset, run=run)
    try:
        with device.watched("seeding"):
            apply_seed(boot=boot, seed=seed, dry_run=False)
    except BootPartitionError as error:
        if boot.moved:
            raise
        raise CardUnchangedError(f"{error} The card has what it had before, and boots with that.") from error
    device.sync()
    device.drop_cache()
    with device.watched("reading the seed back"):
        boot = FatBoot(path=device.path, offset=offset, run=run)
        wrong = apply_seed(boot=boot, seed=seed, dry_run=True).changed
    if wrong:
        raise CardError(
            f"the boot partition reads back other files than were written ({', '.join(wrong)}): the card or "
            f"its reader is worn out; try another reader, then another card"
        )
    return sum(len(data) for data in seed.files.values())


def _extents(descriptor: int, size: int) -> Iterator[tuple[int, int]]:
    """Return begin and end of what a sparse file holds."""
    end = 0
    while end < size:
        try:
            begin = os.lseek(descriptor, end, os.SEEK_DATA)
        except OSError:
            # There is nothing but a hole up to the end.
            return
        end = min(os.lseek(descriptor, begin, os.SEEK_HOLE), size)
        yield begin, end


def _pieces(begin: int, end: int, size: int) -> Iterator[tuple[int, int]]:
    for offset in range(begin, end, size):
        yield offset, min(size, end - offset)


class SeededBoot:
    """What a card gets instead of what the image has: its first megabyte, and blocks of its boot partition.

    It is kept in a file without a name, so that no secret stays behind whatever happens.
    """

    def __init__(self, *, file: IO[bytes], ranges: Sequence[tuple[int, int]]) -> None:
        self.ranges = ranges
        self._file = file

    def read(self, into: memoryview, offset: int) -> None:
        """Fill a buffer from one of the ranges, or from the first megabyte."""
        while into:
            count = os.preadv(self._file.fileno(), [into], offset)
            into, offset = into[count:], offset + count


class BootSeeder:
    """Applies seeds to a copy of the beginning of an image, one after the other."""

    def __init__(self, *, path: str, boot_offset: int, folder: str, run: MtoolsRunner) -> None:
        self._source = open(path, "rb", buffering=0)  # noqa: SIM115 - open as long as this object is
        self.size = os.fstat(self._source.fileno()).st_size
        self._boot_offset = boot_offset
        self._folder = folder
        self._run = run
        descriptor, self._copy = tempfile.mkstemp(suffix=".img", dir=folder)
        self._descriptor = descriptor
        digest = hashlib.sha256()
        position = 0
        os.ftruncate(descriptor, self.size)
        for begin, end in _extents(self._source.fileno(), self.size):
            _update_with_zeros(digest, begin - position)
            for offset, length in _pieces(begin, end, _PIECE):
                data = os.pread(self._source.fileno(), length, offset)
                digest.update(data)
                os.pwrite(descriptor, data, offset)
            position = end
        _update_with_zeros(digest, self.size - position)
        self.sha256 = digest.hexdigest()

    def seed(self, seed: Seed) -> SeededBoot:
        """Apply a seed, return what that changes, and revert it in the copy."""
        apply_seed(
            boot=FatBoot(path=self._copy, offset=self._boot_offset, run=self._run), seed=seed, dry_run=False
        )
        file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - open as long as the card is written
        file.truncate(max(round_up(self.size), HEAD))
        for offset, length in _pieces(0, HEAD, _PIECE):
            os.pwrite(file.fileno(), os.pread(self._descriptor, length, offset), offset)
        ranges: list[tuple[int, int]] = []
        for offset, length in self._changed_blocks():
            data = os.pread(self._descriptor, length, offset)
            os.pwrite(self._descriptor, os.pread(self._source.fileno(), length, offset), offset)
            if offset < HEAD:
                continue
            os.pwrite(file.fileno(), data, offset)
            if ranges and sum(ranges[-1]) == offset:
                ranges[-1] = (ranges[-1][0], ranges[-1][1] + length)
            else:
                ranges.append((offset, length))
        return SeededBoot(file=file, ranges=tuple(ranges))

    def _changed_blocks(self) -> Iterator[tuple[int, int]]:
        # What is a hole in the copy is one in the source, as nothing makes holes again.
        for extent in list(_extents(self._descriptor, self.size)):
            for offset, length in _pieces(*extent, _PIECE):
                if not self._differs(offset, length):
                    continue
                for block, block_length in _pieces(offset, offset + length, BLOCK):
                    if self._differs(block, block_length):
                        yield block, block_length

    def _differs(self, offset: int, length: int) -> bool:
        return os.pread(self._descriptor, length, offset) != os.pread(self._source.fileno(), length, offset)

    def close(self) -> None:
        """Remove the copy."""
        os.unlink(self._copy)
        os.close(self._descriptor)
        self._source.close()


def _update_with_zeros(digest: Any, count: int) -> None:
    zeros = bytes(min(count, _PIECE))
    for _offset, length in _pieces(0, count, _PIECE):
        digest.update(zeros[:length])
