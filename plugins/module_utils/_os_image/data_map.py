# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which pieces of an image hold anything but zeros."""

from __future__ import annotations

import hashlib
import json
from typing import NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError

#: How finely zeros are told from data, in bytes.
PIECE = 64 << 10

_ZEROS = bytes(PIECE)


class ImageMapError(BrambleError):
    """Text that is no map of an image."""


class ImageMap(NamedTuple):
    """An image, its checksum, and where its data is."""

    size: int
    #: Of the raw image.
    sha256: str
    #: Offset and length of what is not zero, in ascending order, apart from each other.
    data: tuple[tuple[int, int], ...]

    @property
    def data_bytes(self) -> int:
        """Return how much of the image is not zero."""
        return sum(length for _offset, length in self.data)

    @classmethod
    def from_json(cls, text: str) -> ImageMap:
        """Read a map, be it with further keys."""
        try:
            document = json.loads(text)
            pieces = tuple((int(offset), int(length)) for offset, length in document["data"])
            image_map = cls(int(document["size"]), str(document["sha256"]), pieces)
        except (ValueError, TypeError, KeyError) as error:
            raise ImageMapError(
                f"this is no map of an image; expected JSON with size, sha256 and data: {error}"
            ) from error
        end = 0
        for offset, length in pieces:
            if length <= 0 or offset < end or offset + length > image_map.size:
                raise ImageMapError(
                    f"this map has data at {offset}, {length} bytes long; "
                    f"expected pieces in ascending order within {image_map.size} bytes"
                )
            end = offset + length
        return image_map


class ImageMapper:
    """Makes the map of an image that passes by once, from its beginning to its end."""

    def __init__(self) -> None:
        self.size = 0
        self._digest = hashlib.sha256()
        self._data: list[tuple[int, int]] = []

    def update(self, *, buffer: bytearray, length: int) -> None:
        """Take the next bytes; every call but the last one brings a multiple of ``PIECE``."""
        self._digest.update(memoryview(buffer)[:length])
        for start in range(0, length, PIECE):
            end = min(start + PIECE, length)
            # Slices compare by memcmp; a memoryview compares byte by byte.
            if buffer[start:end] != _ZEROS[: end - start]:
                self._add(self.size + start, end - start)
        self.size += length

    def _add(self, offset: int, length: int) -> None:
        if self._data and sum(self._data[-1]) == offset:
            first, before = self._data[-1]
            self._data[-1] = (first, before + length)
        else:
            self._data.append((offset, length))

    def finish(self) -> ImageMap:
        """Return the map."""
        return ImageMap(self.size, self._digest.hexdigest(), tuple(self._data))
