# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of an image before it is fetched: its checksums, and its line in the official image list."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import unquote

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._common.urls import is_https, is_url, url_path
from ansible_collections.bramble.pi.plugins.module_utils._common.values import is_sha256

_OTHER_HASH = re.compile(r"(?:md5|sha1|sha224|sha384|sha512):", re.IGNORECASE)
#: As sha256sum writes it (with * for binary, and a backslash before a line with an escaped name), and as
#: the commands of BSD, OpenSSL 1 and OpenSSL 3 do.
_SUM_LINE = re.compile(r"(?P<escaped>\\?)(?P<sum>[0-9a-fA-F]{64})[ \t]+[ *]?(?P<name>\S.*)")
_BSD_LINE = re.compile(r"(?P<escaped>\\?)SHA(?:2-)?256 ?\((?P<name>.+)\) ?= ?(?P<sum>[0-9a-fA-F]{64})")
_ESCAPE = re.compile(r"\\([\\nr])")
_ESCAPED = {"\\": "\\", "n": "\n", "r": "\r"}

_SUMS = "SHA256SUMS"
_REMEDY = "set 'checksum' (flash_image_checksum of the role flash)"


class ImageSourceError(BrambleError):
    """A checksum or an image list that does not say what it has to."""


class Expected(NamedTuple):
    """What is known of an image; None is what is not."""

    #: Of the file as it is published.
    archive_sha256: str | None = None
    #: Of the raw image.
    sha256: str | None = None
    size: int | None = None
    init_format: str | None = None

    @property
    def verifies(self) -> bool:
        """Tell whether a checksum is known."""
        return self.archive_sha256 is not None or self.sha256 is not None


class Checksum(NamedTuple):
    """The option ``checksum``, understood."""

    #: ``literal``, ``file``, ``beside`` or ``none``.
    kind: str
    #: The checksum, or the URL or path of a file with checksums.
    value: str = ""


def own_path(text: str) -> str:
    """Fill in the home folder; an option that takes URLs as well cannot have the type path."""
    return os.path.abspath(os.path.expanduser(text))


def file_name(source: str) -> str:
    """Return the name of the file at the end of a URL or path."""
    path = unquote(url_path(source)) if is_url(source) else source
    return os.path.basename(path.rstrip("/"))


def literal_sha256(*, text: str, option: str) -> str:
    """Read a checksum that is given as such."""
    value = text.strip()
    if value.lower().startswith("sha256:"):
        value = value[len("sha256:") :]
    if not is_sha256(value):
        raise ImageSourceError(
            f"{option} is {text!r}; expected a SHA-256 checksum: 64 hexadecimal digits, "
            f"with or without sha256: before them"
        )
    return value.lower()


def parse_checksum(text: str) -> Checksum:
    """Understand the option ``checksum``."""
    value = text.strip()
    if value in ("", "none"):
        return Checksum("none" if value else "beside")
    if _OTHER_HASH.match(value):
        raise ImageSourceError(
            f"checksum is {text!r}; expected a SHA-256 checksum (sha256:...), a file with such checksums, "
            f"or none: {_REMEDY}"
        )
    if value.lower().startswith("sha256:"):
        value = value[len("sha256:") :]
        if not is_url(value):
            return Checksum("literal", literal_sha256(text=value, option="checksum"))
    if is_sha256(value):
        return Checksum("literal", value.lower())
    if not is_url(value) and re.fullmatch(r"[0-9a-fA-F]{32,}", value):
        # No file has such a name; a digit was lost, or it is another kind of checksum.
        literal_sha256(text=value, option="checksum")
    return Checksum("file", value)


def verified_by(*, verified: bool, place: str) -> str:
    """Say how far a checksum is to be trusted that came from a place; an empty one is the user's own word."""
    if not verified:
        return "none"
    if not is_url(place):
        return "given"
    return "https" if is_https(place) else "http"


def beside(source: str) -> list[str]:
    """Name the files beside an image in which its checksum would be."""
    if is_url(source):
        plain = re.split(r"[?#]", source, maxsplit=1)[0]
        return [f"{plain}.sha256", f"{plain.rpartition('/')[0]}/{_SUMS}"]
    return [f"{source}.sha256", os.path.join(os.path.dirname(source), _SUMS)]


def _lines(text: str) -> list[str]:
    """Return the lines that say something, in a file that Windows may have written."""
    lines = (line.strip() for line in text.lstrip("\ufeff").split("\n"))
    return [line for line in lines if line and not line.startswith("#")]


def _listed(lines: list[str]) -> list[tuple[str, str]]:
    """Return the names in lines of sha256sum or its like, as they stand there, and their checksums."""
    found = []
    for line in lines:
        if match := _SUM_LINE.fullmatch(line) or _BSD_LINE.fullmatch(line):
            name = match["name"]
            if match["escaped"]:
                name = _ESCAPE.sub(lambda escape: _ESCAPED[escape[1]], name)
            found.append((name, match["sum"].lower()))
    return found


def lists(*, text: str, name: str) -> bool:
    """Tell whether a file with checksums has one for a file of this name."""
    return any(os.path.basename(listed) == name for listed, _sha256 in _listed(_lines(text)))


def find_sha256(*, text: str, name: str, origin: str) -> str:
    """Find the checksum of a file in what sha256sum or its like has written."""
    lines = _lines(text)
    listed = _listed(lines)
    alike = [(place, sha256) for place, sha256 in listed if os.path.basename(place) == name]
    # Of two files called alike, it is the one in the folder itself.
    alike = [entry for entry in alike if entry[0].removeprefix("./") == name] or alike
    if len({sha256 for _place, sha256 in alike}) > 1:
        raise ImageSourceError(
            f"{origin} has {len(alike)} different checksums for {name} "
            f"({', '.join(f'{place}: {sha256[:8]}...' for place, sha256 in alike[:5])}); expected one: "
            f"{_REMEDY} to the right one"
        )
    if alike:
        return alike[0][1]
    if len(lines) == 1 and is_sha256(lines[0]):
        return lines[0].lower()
    if not listed:
        raise ImageSourceError(
            f"{origin} has no SHA-256 checksum in it (it begins with {text[:40]!r}); expected lines such as "
            f"'<64 hexadecimal digits>  {name}'. Correct it, or {_REMEDY}"
        )
    known = sorted({os.path.basename(place) for place, _sha256 in listed})
    raise ImageSourceError(
        f"{origin} has checksums for {', '.join(known[:5])}{', ...' if len(known) > 5 else ''}; "
        f"expected one for {name}: {_REMEDY}"
    )


def nothing_beside(*, source: str, looked: list[str]) -> ImageSourceError:
    """Say that an image has no checksum."""
    return ImageSourceError(
        f"there is no checksum for {source} (looked for {' and '.join(looked)}): {_REMEDY} to the "
        f"SHA-256 that the makers of the image name, to the URL or path of a file with it, or to none if the "
        f"image is not to be checked"
    )


def _entries(items: Any) -> Iterator[dict[str, Any]]:
    for item in items if isinstance(items, list) else []:
        if isinstance(item, dict):
            yield item
            yield from _entries(item.get("subitems"))


def _images(text: str, origin: str) -> list[dict[str, Any]]:
    try:
        return list(_entries(json.loads(text)["os_list"]))
    except (ValueError, TypeError, KeyError) as error:
        raise ImageSourceError(
            f"{origin} is not an image list; expected JSON with os_list as in os_list_imagingutility_v4.json"
            f": {error}. Correct 'image_list'"
        ) from error


def newest_in_list(*, text: str, name: str, origin: str) -> str | None:
    """Return the URL of the newest image of a name in an image list; None if it has none."""
    named = [
        (str(item.get("release_date", "")), str(item["url"]))
        for item in _images(text, origin)
        if item.get("name") == name and is_url(str(item.get("url", "")))
    ]
    return max(named)[1] if named else None


def find_in_list(*, text: str, url: str, origin: str) -> Expected:
    """Find an image in the official image list of Raspberry Pi, or one of the same form."""
    items = _images(text, origin)
    for item in items:
        if item.get("url") == url:
            break
    else:
        raise ImageSourceError(
            f"{origin} has {sum('url' in item for item in items)} images, and none with the URL {url}: "
            f"correct 'src' or leave 'image_list' out"
        )

    def checksum(key: str) -> str | None:
        # The official list leaves some of them empty.
        value = item.get(key)
        return literal_sha256(text=str(value), option=f"{key} in {origin}") if value else None

    size, init_format = item.get("extract_size"), item.get("init_format")
    return Expected(
        archive_sha256=checksum("image_download_sha256"),
        sha256=checksum("extract_sha256"),
        size=size if isinstance(size, int) and size > 0 else None,
        init_format=None if init_format in (None, "", "none") else str(init_format),
    )


def merge(*, given: Expected, listed: Expected, origin: str) -> Expected:
    """Put together what the user says and what the list says, unless they contradict each other."""
    for option, value, other in (
        ("checksum", given.archive_sha256, listed.archive_sha256),
        ("extract_checksum", given.sha256, listed.sha256),
    ):
        if value and other and value != other:
            raise ImageSourceError(
                f"{option} is {value}, and {origin} says {other}: correct it, or leave it or 'image_list' out"
            )
    return Expected(
        given.archive_sha256 or listed.archive_sha256,
        given.sha256 or listed.sha256,
        listed.size,
        listed.init_format,
    )
