# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A card as a device: read and written past the page cache, each call watched so that a hung one is seen."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import sys
import time
from collections.abc import Iterator
from typing import NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError

#: What transfers are aligned to, on the card and in memory; right for sectors of 512 and of 4096 bytes.
BLOCK = 4096

_BLKRRPART = 0x125F
#: Linux 5.15 and later.
_BLKGETDISKSEQ = 0x80081280
_BLKFLSBUF = 0x1261
_GPT_SIGNATURE = b"EFI PART"
#: Room for the backup GPT that may stand at the end of a disk: 33 sectors of 512 bytes, or 5 of 4096.
_BACKUP_GPT = 5 * BLOCK

_REMOVED = "the card was removed, or its reader lost it; put it in and run again"
_WORN = "the card or its reader is worn out, or has bad contact; try another reader, then another card"
_REASONS = {
    errno.ENODEV: _REMOVED,
    errno.ENXIO: _REMOVED,
    errno.ENOMEDIUM: _REMOVED,
    errno.EIO: f"{_WORN}, or put the card in again if it was removed",
    errno.ENOSPC: "the card has less room than it says, as forged ones have; try another card",
    errno.EROFS: "the card is write-protected; move its lock, or try another card",
}
_REASONS_TO_OPEN = {
    **_REASONS,
    errno.EBUSY: "something uses it, such as a mount or another program that writes to it; end that",
    errno.EACCES: "only root may; set 'become: true'",
    errno.EPERM: "only root may; set 'become: true', or move the card's lock if it is write-protected",
    errno.ENOENT: "there is no such device; put the card in, or correct 'device'",
}


class CardError(BrambleError):
    """A card that cannot be used any more; the message says what was seen, where, and what helps."""


class CardUnchangedError(CardError):
    """A card that could not be given what it was to get, and that has what it had."""


class Busy(NamedTuple):
    """What a device is asked for at the moment."""

    since: float
    doing: str
    offset: int | None


def aligned_buffer(size: int) -> memoryview:
    """Return memory of whole pages, as direct reads and writes want it."""
    return memoryview(mmap.mmap(-1, size))


def round_up(size: int) -> int:
    """Return the next multiple of ``BLOCK``."""
    return -(-size // BLOCK) * BLOCK


class CardDevice:
    """A device that nobody else uses, until it is closed.

    Every call to the kernel is noted in ``busy`` while it lasts: a card that hangs lets none of them return.
    """

    def __init__(self, *, path: str, write_path: str, size: int, sequence: str = "") -> None:
        """Open the device; ``sequence`` is the number of the card that is expected, where it has one."""
        #: What other programs read and write; on macOS the device itself is another one, without a cache.
        self.path = path
        self.size = size
        self.busy: Busy | None = None
        #: Set when nobody waits for the card any more: what wakes up late is not to go on.
        self.given_up = False
        flags = os.O_RDWR | os.O_CLOEXEC
        if sys.platform == "linux":
            # On a block device, O_EXCL refuses what is mounted or used otherwise, and keeps mounts away.
            flags |= os.O_EXCL | os.O_DIRECT
        try:
            self._descriptor = os.open(write_path, flags)
        except OSError as error:
            reason = _REASONS_TO_OPEN.get(error.errno or 0, "see the kernel's log ('dmesg')")
            raise CardError(f"cannot be opened ({error.strerror}): {reason}") from error
        if sys.platform == "darwin":
            fcntl.fcntl(self._descriptor, fcntl.F_NOCACHE, 1)
        if sys.platform == "linux":
            self._refuse_another(size, sequence)

    def _refuse_another(self, size: int, sequence: str) -> None:
        """Refuse a card that took the name of the one that was looked at; the open one stays what it is."""
        try:
            seen = os.lseek(self._descriptor, 0, os.SEEK_END)
            if seen != size:
                raise CardError(
                    f"has {seen} bytes now; expected the {size} that it had: another card was put in; run "
                    "again"
                )
            if sequence:
                number = bytearray(8)
                fcntl.ioctl(self._descriptor, _BLKGETDISKSEQ, number)
                now = int.from_bytes(number, sys.byteorder)
                if str(now) != sequence:
                    raise CardError(
                        f"is card number {now} of this machine now; expected number {sequence}, which was "
                        "looked at: another card was put in; run again"
                    )
        except BaseException:
            os.close(self._descriptor)
            raise

    @contextlib.contextmanager
    def watched(self, doing: str, offset: int | None = None) -> Iterator[None]:
        """Note what the card is asked for, and say it if that fails."""
        self.busy = Busy(time.monotonic(), doing, offset)
        where = "" if offset is None else f" at offset {offset}"
        try:
            yield
        except OSError as error:
            reason = _REASONS.get(error.errno or 0, "see the kernel's log ('dmesg')")
            raise CardError(f"{doing} failed{where} ({error.strerror}): {reason}") from error
        finally:
            self.busy = None
        if self.given_up:
            raise CardError(f"{doing}{where} came back after it was given up")

    def write(self, data: memoryview, offset: int) -> None:
        """Write aligned memory to a multiple of ``BLOCK``; what lies behind it in the last block stays."""
        whole = len(data) // BLOCK * BLOCK
        self._write_aligned(data[:whole], offset)
        if whole < len(data):
            rest = data[whole:]
            block = aligned_buffer(min(BLOCK, self.size - offset - whole))
            self.read(block, offset + whole)
            block[: len(rest)] = rest
            self._write_aligned(block, offset + whole)

    def _write_aligned(self, data: memoryview, offset: int) -> None:
        while data:
            with self.watched("writing", offset):
                count = os.pwrite(self._descriptor, data, offset)
            data, offset = data[count:], offset + count

    def read(self, into: memoryview, offset: int) -> None:
        """Fill aligned memory from a multiple of ``BLOCK``, as far as the device goes."""
        into = into[: max(0, self.size - offset)]
        while into:
            with self.watched("reading", offset):
                count = os.preadv(self._descriptor, [into], offset)
                if not count:
                    raise OSError(errno.ENOSPC, "the device ends here")
            into, offset = into[count:], offset + count

    def read_bytes(self, offset: int, length: int) -> bytes:
        """Read from anywhere; fewer bytes where the device ends."""
        start = offset // BLOCK * BLOCK
        end = max(start, min(offset + length, self.size))
        if start == end:
            return b""
        buffer = aligned_buffer(round_up(end - start))
        self.read(buffer, start)
        return bytes(buffer[offset - start : end - start])

    def backup_gpt(self) -> tuple[int, int] | None:
        """Return offset and length of the end of the device, if a backup GPT stands there."""
        for sector in (512, 4096):
            if self.read_bytes(self.size - sector, len(_GPT_SIGNATURE)) == _GPT_SIGNATURE:
                start = (self.size - _BACKUP_GPT) // BLOCK * BLOCK
                return start, self.size - start
        return None

    def sync(self) -> None:
        """Wait until all that was written is on the card."""
        with self.watched("flushing"):
            os.fsync(self._descriptor)

    def drop_cache(self) -> None:
        """Let other programs read from the card again, and not from memory."""
        if sys.platform == "linux":
            with self.watched("flushing"):
                fcntl.ioctl(self._descriptor, _BLKFLSBUF, 0)

    def reread_table(self) -> None:
        """Have the kernel look at the new partition table, which a loop device may not be able to."""
        if sys.platform == "linux":
            with contextlib.suppress(CardError), self.watched("reading the partition table"):
                fcntl.ioctl(self._descriptor, _BLKRRPART, 0)

    def close(self) -> None:
        """Let others use the device."""
        os.close(self._descriptor)
