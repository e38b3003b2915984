# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be checked of the image without a card; test_sd_card has the rest, on loop devices."""

from __future__ import annotations

import hashlib

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._os_image.data_map import PIECE
from ansible_collections.bramble.pi.plugins.module_utils._sd_card import stream
from ansible_collections.bramble.pi.plugins.module_utils._sd_card.device import aligned_buffer
from hypothesis import given
from hypothesis import strategies as st

LENGTH = 6 * PIECE + 700
bytes_set = st.dictionaries(st.integers(0, LENGTH - 1), st.integers(1, 255), max_size=6)


def buffer_with(content: dict[int, int]) -> memoryview:
    buffer = aligned_buffer(LENGTH)
    for offset, value in content.items():
        buffer[offset] = value
    return buffer


def chunk_of(buffer: memoryview) -> stream.Chunk:
    data = stream.data_runs(buffer, LENGTH)
    return stream.Chunk(1 << 20, LENGTH, data, hashlib.sha256(buffer).digest() if data else None)


@given(bytes_set)
def test_runs_and_zeros_are_all_there_is(content: dict[int, int]) -> None:
    buffer = buffer_with(content)
    chunk = chunk_of(buffer)
    parts = sorted([*chunk.data, *chunk.zeros()])
    assert [begin for begin, _end in parts] == [0, *(end for _begin, end in parts[:-1])]
    assert parts[-1][1] == LENGTH
    assert all(any(begin <= offset < end for begin, end in chunk.data) for offset in content)
    assert all(not any(buffer[begin:end]) for begin, end in chunk.zeros())
    assert all(begin % PIECE == 0 and any(buffer[begin:end]) for begin, end in chunk.data)


@given(bytes_set, bytes_set)
def test_any_other_byte_is_seen(content: dict[int, int], other: dict[int, int]) -> None:
    desired, seen = buffer_with(content), buffer_with(other)
    chunk = chunk_of(desired)
    assert chunk.is_in(desired)
    assert chunk.is_in(seen) == (bytes(seen) == bytes(desired))
    if content != other:
        first = min(offset for offset, value in content.items() ^ other.items())
        assert stream.first_difference(desired, seen) == first


@given(bytes_set)
def test_what_is_not_zeros_is_written_anew(content: dict[int, int]) -> None:
    buffer = buffer_with(content)
    dirty = list(stream.dirty_pieces(buffer, 0, LENGTH))
    assert {begin // PIECE for begin, _end in dirty} == {offset // PIECE for offset in content}


@pytest.mark.parametrize(
    ("data", "zeros"),
    [
        ([], [(stream.HEAD, 10 * stream.HEAD - stream.HEAD)]),
        ([(0, 10 * stream.HEAD)], []),
        (
            [(0, PIECE), (2 * stream.HEAD, stream.HEAD)],
            [(stream.HEAD, stream.HEAD), (3 * stream.HEAD, 7 * stream.HEAD)],
        ),
        ([(PIECE, 2 * stream.HEAD)], [(2 * stream.HEAD + PIECE, 8 * stream.HEAD - PIECE)]),
    ],
)
def test_the_first_megabyte_is_no_place_to_look_for_zeros(
    data: list[tuple[int, int]], zeros: list[tuple[int, int]]
) -> None:
    image = stream.Image("/i", 10 * stream.HEAD, "0", data, 0, "0")
    assert list(image.zeros()) == zeros
