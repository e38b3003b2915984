# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write one image to many cards at once, and prove it.

The image is unpacked once, into a few buffers that all cards are written from, each by a thread of its own
(Python lets go of its lock while it writes, reads and computes checksums). What a card gets, in this order:

1. Zeros over its first megabyte and over a backup partition table at its end. From here on it has no
   partition table, neither the old one nor the new one.
2. The image from the second megabyte on; then it is read back.
3. What the seed changes in the boot partition; read back.
4. The first megabyte, its first block last; read back.

So a card that was interrupted at any point has no partition table: it does not boot, and it is not taken for
finished. A backup GPT inside the image is no table without the first block, which announces it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import select
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from ansible_collections.bramble.pi.plugins.module_utils._boot.storage import BootPartitionError
from ansible_collections.bramble.pi.plugins.module_utils._os_image.data_map import PIECE
from ansible_collections.bramble.pi.plugins.module_utils._os_image.formats import (
    ImageFormatError,
    ImageReader,
    open_image,
)
from ansible_collections.bramble.pi.plugins.module_utils._sd_card.device import (
    BLOCK,
    Busy,
    CardDevice,
    CardError,
    aligned_buffer,
    round_up,
)
from ansible_collections.bramble.pi.plugins.module_utils._sd_card.progress import Meter

#: What is written last: the partition table, and what boot loaders keep behind it.
HEAD = 1 << 20
CHUNK = 4 << 20
_ZEROS = bytes(PIECE)
#: Buffers that the image is unpacked into. Two would do if all cards were equally fast at any moment.
_SLOTS = 4
#: How many pieces of a card are looked at to tell whether it is a used one.
_SAMPLES = 32
_LOOK_SECONDS = 0.1


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


class Overlay(Protocol):
    """What a card gets instead of what the image has."""

    #: Offset and length of what differs, in whole blocks, none of it in the first megabyte.
    ranges: Sequence[tuple[int, int]]

    def read(self, into: memoryview, offset: int) -> None:
        """Fill a buffer from one of the ranges, or from the first megabyte."""


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
            return _zeros_until(buffer, 0, self.length) == self.length
        return hashlib.sha256(buffer[: self.length]).digest() == self.sha256

    def zeros(self) -> Iterator[tuple[int, int]]:
        """Return what is zeros: begin and end in the chunk."""
        end = 0
        for begin, end_of_data in (*self.data, (self.length, self.length)):
            if begin > end:
                yield end, begin
            end = end_of_data


def _zeros_until(buffer: memoryview, begin: int, end: int) -> int:
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
        if _zeros_until(buffer, begin, end) == end:
            continue
        if runs and runs[-1][1] == begin:
            runs[-1] = (runs[-1][0], end)
        else:
            runs.append((begin, end))
    return tuple(runs)


class Card:
    """A card, what it is to get, and what came of it."""

    def __init__(
        self,
        *,
        node: str,
        device: CardDevice,
        overlay: Overlay | None = None,
        reseed: Callable[[], int] | None = None,
    ) -> None:
        self.node = node
        self.device = device
        #: What it gets beside the image.
        self.overlay = overlay
        #: Or else how it is seeded in place; returns how many bytes that wrote.
        self.reseed = reseed
        self.meter = Meter(total=0)
        self.bytes_written = 0
        self.bytes_verified = 0
        self.seconds = 0.0
        self.error: str | None = None
        self.finished = False

    def write(self, data: memoryview, offset: int) -> None:
        """Write to the card, and count it."""
        self.device.write(data, offset)
        self.bytes_written += len(data)

    def result(self) -> dict[str, Any]:
        """Return what came of it, as the module reports it."""
        return {
            "bytes_written": self.bytes_written,
            "bytes_verified": self.bytes_verified,
            "seconds": round(self.seconds, 1),
            "error": self.error,
        }


class _Stream:
    """The image, unpacked once, for all cards that still follow."""

    def __init__(self, *, image: Image, cards: Sequence[Card]) -> None:
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
                    f"{image.boot_sha256}, wanted {digest.hexdigest()}. Remove it, and fetch the image again"
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
                f"{image.path} has {offset} bytes with the sha256 {digest.hexdigest()}, wanted {image.size} "
                f"with {image.sha256}: it was changed meanwhile, or is damaged. Fetch it again"
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

    def follow(self, card: Card) -> Iterator[tuple[Chunk, memoryview]]:
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

    def leave(self, card: Card) -> None:
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
        wanted = aligned_buffer(chunk.length)
        if chunk.sha256 is not None:
            with open_image(path=self._image.path) as reader:
                skipped, length = 0, HEAD
                while skipped < chunk.offset:
                    skipped += reader.readinto(aligned_buffer(length))
                    length = CHUNK
                reader.readinto(wanted)
        return chunk.offset + first_difference(wanted, buffer[: chunk.length])


def first_difference(one: memoryview, other: memoryview) -> int:
    """Return the index of the first byte in which two buffers differ, which they must."""
    for begin in range(0, len(one), BLOCK):
        ours, theirs = bytes(one[begin : begin + BLOCK]), bytes(other[begin : begin + BLOCK])
        if ours != theirs:
            return begin + next(index for index, pair in enumerate(zip(ours, theirs)) if pair[0] != pair[1])
    raise ValueError("there is no difference")


def _reads_back_different(offset: int) -> CardError:
    return CardError(
        f"reads back other bytes than were written, first at offset {offset}: the card or its reader is worn "
        f"out or forged; try another reader, then another card"
    )


class _Writer:
    """Does what is to be done with one card."""

    def __init__(self, *, card: Card, image: Image, stream: _Stream, skip_zeros: bool) -> None:
        self._card = card
        self._device = card.device
        self._image = image
        self._stream = stream
        self._skip_zeros = skip_zeros

    def run(self) -> None:
        """Write, and note what came of it."""
        card = self._card
        began = time.monotonic()
        try:
            if card.overlay:
                self._write(card.overlay)
            elif card.reseed:
                self._seed(card.reseed)
            card.meter.finish()
        except (CardError, BootPartitionError) as error:
            self._fail(str(error))
        except Exception:
            # Nothing that goes wrong may pass for success.
            self._fail(traceback.format_exc())
        finally:
            self._stream.leave(card)
            if not card.finished:
                card.seconds = time.monotonic() - began
            card.finished = True

    def _fail(self, error: str) -> None:
        if not self._card.finished:
            self._card.error = error
            self._card.meter.begin("failed")

    def _write(self, overlay: Overlay) -> None:
        self._wipe()
        if backup := self._device.backup_gpt():
            self._card.write(aligned_buffer(backup[1]), backup[0])
        self._skip_zeros = self._skip_zeros and self._has_zeros()
        self._card.meter.total = self._image.size
        self._card.meter.total += self._image.data_bytes if self._skip_zeros else self._image.size
        self._card.meter.begin("writing")
        for chunk, content in self._stream.follow(self._card):
            for begin, end in chunk.data if self._skip_zeros else ((0, chunk.length),):
                self._card.write(content[begin:end], chunk.offset + begin)
                self._card.meter.add(end - begin)
        self._device.sync()
        buffer = aligned_buffer(CHUNK)
        self._card.meter.begin("verifying")
        self._verify(buffer)
        self._write_ranges(overlay, buffer)
        overlay.read(buffer[:HEAD], 0)
        self._write_head(buffer[:HEAD])

    def _seed(self, reseed: Callable[[], int]) -> None:
        head = aligned_buffer(HEAD)
        self._device.read(head, 0)
        self._wipe()
        self._card.meter.begin("seeding")
        written = reseed()
        self._card.bytes_written += written
        self._card.bytes_verified += written
        self._write_head(head)

    def _wipe(self) -> None:
        """Leave the card without a partition table; the block that makes it one goes first."""
        self._card.meter.begin("wiping")
        for begin, end in ((0, BLOCK), (BLOCK, HEAD)):
            self._card.write(aligned_buffer(end - begin), begin)
            self._device.sync()

    def _has_zeros(self) -> bool:
        """Tell by samples whether the card has zeros where the image has them.

        Where it has not, as on most used cards, it is quicker to write the zeros at once than to find that
        out when reading back, and to read them again.
        """
        places = [
            (offset + begin, min(PIECE, length - begin))
            for offset, length in self._image.zeros()
            for begin in range(0, length, PIECE)
        ]
        samples = places[:: max(1, len(places) // _SAMPLES)]
        buffer = aligned_buffer(PIECE)
        used = 0
        for offset, length in samples:
            self._device.read(buffer[: round_up(length)], offset)
            used += _zeros_until(buffer, 0, length) != length
        return used <= len(samples) // 2

    def _verify(self, buffer: memoryview) -> None:
        chunks = self._stream.chunks
        unsettled = [
            chunk for chunk in chunks if not self._is_on_card(chunk, buffer, settle=self._skip_zeros)
        ]
        if unsettled:
            self._device.sync()
        for chunk in unsettled:
            self._is_on_card(chunk, buffer, settle=False)

    def _is_on_card(self, chunk: Chunk, buffer: memoryview, *, settle: bool) -> bool:
        """Read a chunk back; zeros that were not written and are none are written now, to be read again."""
        self._device.read(buffer[: round_up(chunk.length)], chunk.offset)
        if chunk.is_in(buffer):
            self._card.bytes_verified += chunk.length
            self._card.meter.add(chunk.length)
            return True
        dirty = [run for zeros in chunk.zeros() for run in dirty_pieces(buffer, *zeros)] if settle else []
        if not dirty:
            raise _reads_back_different(self._stream.first_difference(chunk, buffer))
        for begin, end in dirty:
            self._card.write(aligned_buffer(end - begin), chunk.offset + begin)
        return False

    def _write_ranges(self, overlay: Overlay, buffer: memoryview) -> None:
        """Write what the seed changed, and read it back."""
        self._card.meter.begin("seeding")
        for verify in (False, True):
            for offset, length in _pieces(overlay.ranges, len(buffer) // 2):
                wanted, seen = buffer[:length], buffer[len(buffer) // 2 :][: round_up(length)]
                overlay.read(wanted, offset)
                if verify:
                    self._compare(wanted, seen, offset)
                else:
                    self._card.write(wanted, offset)
            self._device.sync()

    def _compare(self, wanted: memoryview, into: memoryview, offset: int) -> None:
        self._device.read(into, offset)
        if bytes(into[: len(wanted)]) != bytes(wanted):
            raise _reads_back_different(offset + first_difference(wanted, into))
        self._card.bytes_verified += len(wanted)

    def _write_head(self, head: memoryview) -> None:
        """Make the card one that boots: the first block comes when everything else is on the card."""
        self._card.meter.begin("finishing")
        try:
            for begin, end in ((BLOCK, HEAD), (0, BLOCK)):
                self._card.write(head[begin:end], begin)
                self._device.sync()
                self._compare(head[begin:end], aligned_buffer(end - begin), begin)
        except CardError:
            with contextlib.suppress(CardError):
                self._wipe()
            raise
        self._device.reread_table()


def dirty_pieces(buffer: memoryview, begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Return begin and end of what is not zeros in a part of a buffer."""
    for piece, piece_end in ((offset, min(offset + PIECE, end)) for offset in range(begin, end, PIECE)):
        if _zeros_until(buffer, piece, piece_end) != piece_end:
            yield piece, piece_end


def _pieces(ranges: Sequence[tuple[int, int]], size: int) -> Iterator[tuple[int, int]]:
    for offset, length in ranges:
        for begin in range(offset, offset + length, size):
            yield begin, min(size, offset + length - begin)


def write_cards(
    *,
    image: Image,
    cards: Sequence[Card],
    skip_zeros: bool,
    stall_timeout: float,
    publish: Callable[[list[dict[str, Any]]], None],
    alive: int,
) -> None:
    """Write all cards at once, and note in each what came of it.

    ``alive`` is the reading end of a pipe; when nobody holds its other end any more, this process ends.
    """
    written = [card for card in cards if card.overlay]
    stream = _Stream(image=image, cards=written)
    if written:
        threading.Thread(target=stream.fill, daemon=True).start()
    for card in cards:
        writer = _Writer(card=card, image=image, stream=stream, skip_zeros=skip_zeros)
        threading.Thread(target=writer.run, daemon=True).start()
    look = True
    while look:
        look = not all(card.finished for card in cards)
        if select.select([alive], [], [], _LOOK_SECONDS)[0]:
            os._exit(1)
        for card in cards:
            busy = card.device.busy
            if not card.finished and busy and time.monotonic() - busy.since > stall_timeout:
                _give_up(card, busy, stall_timeout)
                stream.leave(card)
        publish([{"node": card.node, "device": card.device.path, **card.meter.sample()} for card in cards])


def _give_up(card: Card, busy: Busy, stall_timeout: float) -> None:
    """Count a card as failed whose thread waits in the kernel, which nothing can end but the card."""
    card.device.given_up = True
    where = "" if busy.offset is None else f" at offset {busy.offset}"
    card.error = (
        f"{busy.doing}{where} did not come back for {stall_timeout:g} s: the card or its reader hangs; take "
        f"it out, try another reader, then another card (a slow one may need more 'stall_timeout')"
    )
    card.finished = True
    card.meter.begin("failed")
