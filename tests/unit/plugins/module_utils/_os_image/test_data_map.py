# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The map says where data is, neither more nor less than pieces allow."""

from __future__ import annotations

import hashlib
import json

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._os_image.data_map import (
    PIECE,
    ImageMap,
    ImageMapError,
    ImageMapper,
)
from hypothesis import given
from hypothesis import strategies as st


def map_of(image: bytes, block: int = 4 * PIECE) -> ImageMap:
    mapper = ImageMapper()
    buffer = bytearray(block)
    for offset in range(0, len(image), block):
        piece = image[offset : offset + block]
        buffer[: len(piece)] = piece
        mapper.update(buffer=buffer, length=len(piece))
    return mapper.finish()


def test_pieces_next_to_each_other_are_one() -> None:
    data, zeros = b"x" * PIECE, bytes(PIECE)
    image = zeros + data + bytes(PIECE - 1) + b"x" + zeros * 5 + data * 3 + b"\0\0x"
    assert map_of(image).data == ((PIECE, 2 * PIECE), (8 * PIECE, 3 * PIECE + 3))
    assert map_of(image).data_bytes == 5 * PIECE + 3
    assert map_of(zeros * 9 + b"\0").data == ()
    assert map_of(b"") == ImageMap(0, hashlib.sha256(b"").hexdigest(), ())


@given(
    st.lists(st.sampled_from(["zeros", "data", "first", "last"]), max_size=12),
    st.sampled_from([1, 2, 7]),
    st.integers(0, PIECE),
)
def test_holds_all_data_and_no_piece_of_zeros(kinds: list[str], pieces: int, rest: int) -> None:
    patterns = {
        "zeros": bytes(PIECE),
        "data": b"\xff" * PIECE,
        "first": b"x" + bytes(PIECE - 1),
        "last": bytes(PIECE - 1) + b"x",
    }
    image = b"".join(patterns[kind] for kind in kinds) + b"y" * rest
    found = map_of(image, pieces * PIECE)
    assert (found.size, found.sha256) == (len(image), hashlib.sha256(image).hexdigest())
    rebuilt = bytearray(len(image))
    for offset, length in found.data:
        rebuilt[offset : offset + length] = image[offset : offset + length]
    assert rebuilt == image
    assert found.data_bytes == sum(kind != "zeros" for kind in kinds) * PIECE + rest
    assert all(sum(one) < two[0] for one, two in zip(found.data, found.data[1:], strict=False))
    assert ImageMap.from_json(json.dumps(found._asdict())) == found


def test_json_may_have_more_keys() -> None:
    document = {"size": 10, "sha256": "ab", "data": [[0, 5], [6, 4]], "name": "x.img"}
    assert ImageMap.from_json(json.dumps(document)) == ImageMap(10, "ab", ((0, 5), (6, 4)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no map of an image; expected JSON with size, sha256 and data"),
        ("[]", "no map of an image"),
        ('{"size": 10, "sha256": "ab"}', "no map of an image.*'data'"),
        ('{"size": 10, "sha256": "ab", "data": [[1]]}', "no map of an image"),
        ('{"size": 10, "sha256": "ab", "data": [["x", 1]]}', "no map of an image"),
        (
            '{"size": 10, "sha256": "ab", "data": [[5, 6]]}',
            "data at 5, 6 bytes long; expected .* within 10 bytes",
        ),
        ('{"size": 10, "sha256": "ab", "data": [[5, 2], [0, 2]]}', "data at 0, 2 bytes long"),
        ('{"size": 10, "sha256": "ab", "data": [[5, 0]]}', "data at 5, 0 bytes long"),
        ('{"size": 10, "sha256": "ab", "data": [[-1, 5]]}', "data at -1, 5 bytes long"),
    ],
)
def test_refuses_what_is_no_map(text: str, message: str) -> None:
    with pytest.raises(ImageMapError, match=message):
        ImageMap.from_json(text)
