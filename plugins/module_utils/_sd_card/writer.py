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
finished. A backup GPT inside the image is not a table without the first block, which announces it.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from ansible_collections.bramble.pi.plugins.module_utils._boot.storage import BootPartitionError
from ansible_collections.bramble.pi.plugins.module_utils._os_image.data_map import PIECE
from ansible_collections.bramble.pi.plugins.module_utils._sd_card.device import (
    BLOCK,
    Busy,
    CardDevice,
    CardError,
    CardUnchangedError,
    aligned_buffer,
    round_up,
)
from ansible_collections.bramble.pi.plugins.module_utils._sd_card.progress import Meter
from ansible_collections.bramble.pi.plugins.module_utils._sd_card.stream import (
    CHUNK,
    HEAD,
    Chunk,
    Image,
    Stream,
    dirty_pieces,
    first_difference,
    zeros_until,
)

#: How many pieces of a card are looked at to tell whether it is a used one.
_SAMPLES = 32
_LOOK_SECONDS = 0.1


class Overlay(Protocol):
    """What a card gets instead of what the image has."""

    #: Offset and length of what differs, in whole blocks, none of it in the first megabyte.
    ranges: Sequence[tuple[int, int]]

    def read(self, into: memoryview, offset: int) -> None:
        """Fill a buffer from one of the ranges, or from the first megabyte."""


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


def _reads_back_different(offset: int) -> CardError:
    return CardError(
        f"reads back other bytes than were written, first at offset {offset}: the card or its reader is worn "
        f"out or forged; try another reader, then another card"
    )


class _Writer:
    """Does what is to be done with one card."""

    def __init__(self, *, card: Card, image: Image, stream: Stream, skip_zeros: bool) -> None:
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
        try:
            written = reseed()
        except CardUnchangedError:
            self._device.sync()
            self._write_head(head)
            raise
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
            used += zeros_until(buffer, 0, length) != length
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
                desired, seen = buffer[:length], buffer[len(buffer) // 2 :][: round_up(length)]
                overlay.read(desired, offset)
                if verify:
                    self._compare(desired, seen, offset)
                else:
                    self._card.write(desired, offset)
            self._device.sync()

    def _compare(self, desired: memoryview, into: memoryview, offset: int) -> None:
        self._device.read(into, offset)
        if bytes(into[: len(desired)]) != bytes(desired):
            raise _reads_back_different(offset + first_difference(desired, into))
        self._card.bytes_verified += len(desired)

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
    stream = Stream(image=image, cards=written)
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
