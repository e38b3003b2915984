# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The image as it comes to the cards: unpacked once, into a few buffers that all cards are written from."""

from __future__ import annotations

import hashlib
import threading
import traceback
from collections.abc import Hashable, Iterator, Sequence
from typing import NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._os_image.data_map import PIECE
from ansible_collections.bramble.pi.plugins.module_utils._os_image.formats import (
    ImageFormatError,
    ImageReader,
    open_image,
)
from ansible_collections.bramble.pi.plugins.module_utils._sd_card.device import (
    BLOCK,
    CardError,
    aligned_buffer,
)

#: What is written last: the partition table, and what boot loaders keep behind it.
HEAD = 1 << 20
CHUNK = 4 << 20
_ZEROS = bytes(PIECE)
#: Buffers that the image is unpacked into. Two would do if all cards were equally fast at any moment.
_SLOTS = 4


class Image(NamedTuple):
    """The image that the cards get."""

    path: str
    size: int
    sha256: str
    #: Offset and length of what is not zeros.
    data: Sequence[tuple[int, int]]
    #: Its beginning, up to the end of the boot partition, as the seeds were applied to it.
    boot_size: int
    boot_sha256: str

    @property
    def data_bytes(self) -> int:
        """Return how much of it is not zeros."""
        return sum(length for _offset, length in self.data)

    def zeros(self) -> Iterator[tuple[int, int]]:
        """Return offset and length of what is zeros."""
        end = HEAD
        for offset, length in (*self.data, (self.size, 0)):
            if offset > end:
                yield end, offset - end
            end = max(end, offset + length)


class Chunk(NamedTuple):
    """A part of the image as it was written."""

    offset: int
    length: int
    #: What is not zeros: begin and end in the chunk.
    data: tuple[tuple[int, int], ...]
    #: None if all of it is zeros.
    sha256: bytes | None

    def is_in(self, buffer: memoryview) -> bool:
        """Tell whether a buffer holds the chunk."""
        if self.sha256 is None:
            return zeros_until(buffer, 0, self.length) == self.length
        return hashlib.sha256(buffer[: self.length]).digest() == self.sha256

    def zeros(self) -> Iterator[tuple[int, int]]:
        """Return what is zeros: begin and end in the chunk."""
        end = 0
        for begin, end_of_data in (*self.data, (self.length, self.length)):
            if begin > end:
                yield end, begin
            end = end_of_data


def zeros_until(buffer: memoryview, begin: int, end: int) -> int:
    """Return where the first piece begins that is not zeros, or the end."""
    for offset in range(begin, end, PIECE):
        length = min(PIECE, end - offset)
        # Copies are compared at once; a memoryview would be compared byte by byte.
        if bytes(buffer[offset : offset + length]) != (_ZEROS if length == PIECE else bytes(length)):
            return offset
    return end


def data_runs(buffer: memoryview, length: int) -> tuple[tuple[int, int], ...]:
    """Return begin and end of everything that is not zeros, in whole pieces."""
    runs: list[tuple[int, int]] = []
    for begin in range(0, length, PIECE):
        end = min(begin + PIECE, length)
        if zeros_until(buffer, begin, end) == end:
            continue
        if runs and runs[-1][1] == begin:
            runs[-1] = (runs[-1][0], end)
        else:
            runs.append((begin, end))
    return tuple(runs)


class Stream:
    """The image, unpacked once, for all cards that still follow; what a card is does not count here."""

    def __init__(self, *, image: Image, cards: Sequence[Hashable]) -> None:
        self.chunks: list[Chunk] = []
        self._image = image
        self._changed = threading.Condition()
        self._slots = [aligned_buffer(CHUNK) for _number in range(_SLOTS)]
        self._lost: set[int] = set()
        #: The chunk that each card takes next, or is being written from.
        self._next = dict.fromkeys(cards, 0)
        self._complete = False
        self._error: str | None = None

    def fill(self) -> None:
        """Unpack the image until its end, or until no card follows any more."""
        try:
            with open_image(path=self._image.path) as reader:
                self._fill(reader)
        except (ImageFormatError, CardError, OSError) as error:
            self._error = str(error)
        except Exception:
            # The cards wait for the image, or for what became of it.
            self._error = traceback.format_exc()
        with self._changed:
            self._complete = True
            self._changed.notify_all()

    def _fill(self, reader: ImageReader) -> None:
        image = self._image
        digest = hashlib.sha256()
        offset, length = 0, HEAD
        while True:
            buffer = self._free_slot()
            if buffer is None:
                return
            count = reader.readinto(buffer[:length])
            # The seeds were applied to a copy of the beginning, which may have been damaged in the cache.
            boot = min(max(0, image.boot_size - offset), count)
            digest.update(buffer[:boot])
            if boot and offset + boot == image.boot_size and digest.hexdigest() != image.boot_sha256:
                raise CardError(
                    f"the boot partition kept beside {image.path} is not the image's: it has the sha256 "
                    f"{image.boot_sha256}; expected {digest.hexdigest()}. Remove it, and fetch the image "
                    "again"
                )
            digest.update(buffer[boot:count])
            # The first megabyte is written last, out of the overlay.
            if offset and count:
                self._add(buffer, offset, count)
            offset += count
            if count < length:
                break
            length = CHUNK
        if (offset, digest.hexdigest()) != (image.size, image.sha256):
            raise CardError(
                f"{image.path} has {offset} bytes with the sha256 {digest.hexdigest()}; expected "
                f"{image.size} with {image.sha256}: it was changed meanwhile, or is damaged. Fetch it again"
            )

    def _add(self, buffer: memoryview, offset: int, length: int) -> None:
        data = data_runs(buffer, length)
        chunk = Chunk(offset, length, data, hashlib.sha256(buffer[:length]).digest() if data else None)
        with self._changed:
            self.chunks.append(chunk)
            self._changed.notify_all()

    def _free_slot(self) -> memoryview | None:
        """Wait until every card has been written from a buffer; None if no card is left."""
        with self._changed:
            number = len(self.chunks)
            self._changed.wait_for(lambda: not self._next or min(self._next.values()) > number - _SLOTS)
            if not self._next:
                return None
            slot = number % _SLOTS
            if slot in self._lost:
                self._lost.remove(slot)
                self._slots[slot] = aligned_buffer(CHUNK)
            return self._slots[slot]

    def follow(self, card: Hashable) -> Iterator[tuple[Chunk, memoryview]]:
        """Return the chunks with their contents as they come; at the end, the image was what it is to be."""
        while chunk := self._take(number := self._next[card]):
            yield chunk, self._slots[number % _SLOTS]
            with self._changed:
                if card in self._next:
                    self._next[card] = number + 1
                    self._changed.notify_all()
        self.leave(card)

    def _take(self, number: int) -> Chunk | None:
        with self._changed:
            self._changed.wait_for(lambda: number < len(self.chunks) or self._complete)
            if self._error:
                raise CardError(self._error)
            return self.chunks[number] if number < len(self.chunks) else None

    def leave(self, card: Hashable) -> None:
        """Wait for this card no longer; the kernel may still read the buffer that it is written from."""
        with self._changed:
            number = self._next.pop(card, None)
            if number is not None and number < len(self.chunks):
                self._lost.add(number % _SLOTS)
            if not self._next:
                self._slots.clear()
            self._changed.notify_all()

    def first_difference(self, chunk: Chunk, buffer: memoryview) -> int:
        """Return the offset of the first byte in which a buffer differs from the image, unpacked again."""
        desired = aligned_buffer(chunk.length)
        if chunk.sha256 is not None:
            with open_image(path=self._image.path) as reader:
                skipped, length = 0, HEAD
                while skipped < chunk.offset:
                    skipped += reader.readinto(aligned_buffer(length))
                    length = CHUNK
                reader.readinto(desired)
        return chunk.offset + first_difference(desired, buffer[: chunk.length])


def first_difference(one: memoryview, other: memoryview) -> int:
    """Return the index of the first byte in which two buffers differ, which they must."""
    for begin in range(0, len(one), BLOCK):
        ours, theirs = bytes(one[begin : begin + BLOCK]), bytes(other[begin : begin + BLOCK])
        if ours != theirs:
            return begin + next(index for index, pair in enumerate(zip(ours, theirs)) if pair[0] != pair[1])
    raise ValueError("there is no difference")


def dirty_pieces(buffer: memoryview, begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Return begin and end of what is not zeros in a part of a buffer."""
    for piece, piece_end in ((offset, min(offset + PIECE, end)) for offset in range(begin, end, PIECE)):
        if zeros_until(buffer, piece, piece_end) != piece_end:
            yield piece, piece_end
