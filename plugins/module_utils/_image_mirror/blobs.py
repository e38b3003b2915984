# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which images of the mirror were used, and which go: the least recently used first."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import NamedTuple

_UNITS = {"MB": 10**6, "GB": 10**9, "TB": 10**12}
_SIZE = re.compile(r"([1-9][0-9]*)(MB|GB|TB)")
#: This part of a file system, or this much, is left to others.
_RESERVED_PART, _RESERVED = 20, 10**9

DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_NAME = r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*"
#: A line of a registry's log. What clients asked for is in it as they wrote it; containerd adds a query.
_ASKED = re.compile(
    rf'\S+ \S+ \S+ \[(?P<time>[^\]]+)\] "(?:GET|HEAD) /v2/(?P<name>{_NAME}(?:/{_NAME})*)/'
    r"(?P<kind>manifests|blobs)/"
    r'(?P<reference>[A-Za-z0-9_][A-Za-z0-9_.:-]{0,134})(?:\?\S*)? HTTP/[0-9.]+" (?:2[0-9][0-9]|304|307) .*'
)


class Use(NamedTuple):
    """An image, or a part of one, that a node asked for."""

    #: The image's name, without the registry.
    name: str
    kind: str
    #: A digest, or a tag.
    reference: str
    #: Seconds since 1970.
    time: float


class Blob(NamedTuple):
    """A file of the mirror, how large it is and when it was used."""

    path: str
    digest: str
    size: int
    used: float


def size_of(text: str) -> int | None:
    """Return how many bytes a size such as 20GB is; None for what is none."""
    match = _SIZE.fullmatch(text)
    return int(match[1]) * _UNITS[match[2]] if match else None


def size_text(size: int) -> str:
    """Return a size as it is written in messages, and in variables."""
    return f"{size / 10**9:.1f} GB" if size >= 10**9 else f"{size / 10**6:.0f} MB"


def reserve(total: int) -> int:
    """Return how much of a file system of that size the mirror leaves to others."""
    return min(_RESERVED, total // _RESERVED_PART)


def uses(log: Iterable[str]) -> Iterator[Use]:
    """Read from a registry's log what was asked for, and was there."""
    for line in log:
        match = _ASKED.fullmatch(line)
        if match is None:
            continue
        try:
            time = datetime.strptime(match["time"], "%d/%b/%Y:%H:%M:%S %z").timestamp()
        except ValueError:
            continue
        yield Use(match["name"], match["kind"], match["reference"], time)


def parts_of(manifest: bytes) -> list[str]:
    """Return the digests of what an image consists of, by its manifest."""
    try:
        found = json.loads(manifest)
        parts = [found["config"], *found["layers"]]
        return [part["digest"] for part in parts if DIGEST.fullmatch(part["digest"])]
    except (ValueError, KeyError, TypeError):
        # A list of manifests, or no manifest at all.
        return []


def surplus(blobs: Iterable[Blob], *, excess: int) -> list[Blob]:
    """Return the blobs that go so that so many bytes are free, the least recently used first."""
    gone = []
    for blob in sorted(blobs, key=lambda each: (each.used, each.path)):
        if excess <= 0:
            break
        gone.append(blob)
        excess -= blob.size
    return gone
