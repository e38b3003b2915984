# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Downloading to a file, checked on the way and taken up again where it was interrupted."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import time
import zlib
from collections.abc import Callable
from http.client import HTTPException, IncompleteRead
from netrc import NetrcParseError
from typing import Any, NamedTuple, TypeVar
from urllib.error import HTTPError, URLError

from ansible.module_utils import urls as ansible_urls
from ansible_collections.bramble.pi.plugins.module_utils._common import download_advice
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._common.files import naming
from ansible_collections.bramble.pi.plugins.module_utils._common.urls import (
    UrlError,
    is_https,
    is_url,
    public_url,
    redirect_target,
    request_url,
    with_login,
)

_CHUNK = 1 << 18
_TIMEOUT = 60
#: How often in a row a connection may break without bringing anything new, or a server be too busy.
_FRUITLESS = 3
_PAUSE = 1.0
#: The longest time in seconds that a busy server may ask for.
_LONGEST_PAUSE = 30.0
_MAX_TEXT = 32 << 20
_BEGINNING = 1024
_REDIRECTS = 10
#: What has a URL, where nobody says which variable that is.
_ADDRESS = "the address"
_REDIRECT_CODES = (301, 302, 303, 307, 308)
#: Beside the file while it is fetched: what has come so far, and by what the server knows its version.
_PART = ".part"
_VERSION = ".part.json"
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-")
_NUMBER = re.compile(r"[0-9]{1,18}")
_SECONDS = re.compile(r"[0-9]{1,5}")
#: What asking for a URL raises; ValueError and OverflowError come from proxies that cannot be read as well.
_ERRORS = (
    OSError,
    HTTPException,
    ValueError,
    OverflowError,
    EOFError,
    zlib.error,
    NetrcParseError,
    ansible_urls.ConnectionError,
    ansible_urls.MissingModuleError,
)
_Result = TypeVar("_Result")


class DownloadError(BrambleError):
    """Something that could not be fetched, or is not what it should be."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        #: What the server answered, if that was the reason.
        self.status = status


class _CutError(Exception):
    """The connection broke on the way."""


class _Answer(NamedTuple):
    """The beginning of what the server sends."""

    response: Any
    start: int
    total: int | None
    #: Whether the server can go on in the middle, as far as it has shown.
    resumes: bool


def check_url(url: str, *, variable: str = _ADDRESS) -> str:
    """Return a URL as it is asked for; refuse one that nobody can ask for."""
    try:
        return request_url(url)
    except UrlError as error:
        raise DownloadError(
            f"{public_url(url)!r} is not a URL: {error}; expected one such as https://example.org/pi.img.xz: "
            f"set {variable}"
        ) from error


def unproved(*, url: str, sha256: str | None, remedy: str) -> list[str]:
    """Say that nobody vouches for what comes from there: no checksum of the user's own, and no https."""
    if sha256 or not is_url(url) or is_https(url):
        return []
    return [
        f"{public_url(url)} came over http and was not checked, so that anybody on the way could have "
        f"changed it; expected a checksum or https: {remedy}"
    ]


def _failed(url: str, error: Exception, variable: str) -> DownloadError:
    if isinstance(error, DownloadError):
        return error
    status = error.code if isinstance(error, HTTPError) else None
    advice = download_advice.advice(error, variable=variable)
    return DownloadError(f"{public_url(url)} cannot be fetched: {error}; {advice}", status=status)


def _is_temporary(error: Exception) -> bool:
    """Tell whether the same request may be answered a moment later."""
    if isinstance(error, HTTPError):
        return error.code in download_advice.TEMPORARY_CODES
    reason = error.reason if isinstance(error, URLError) else error
    return isinstance(reason, (ConnectionResetError, BrokenPipeError, IncompleteRead))


def _pause(error: Exception, number: int) -> float:
    """Return for how many seconds to wait after an answer: as long as the server says, if it does."""
    said = str(error.headers.get("Retry-After", "")).strip() if isinstance(error, HTTPError) else ""
    return min(float(said), _LONGEST_PAUSE) if _SECONDS.fullmatch(said) else _PAUSE * number


def _persist(url: str, variable: str, ask: Callable[[], _Result]) -> _Result:
    """Ask, and ask again where that may help; say what a user can do about it in the end."""
    number = 1
    while True:
        try:
            return ask()
        except _ERRORS as error:
            if number == _FRUITLESS or not _is_temporary(error):
                raise _failed(url, error, variable) from error
            pause = _pause(error, number)
        number += 1
        time.sleep(pause)


def _open(url: str, variable: str, **options: Any) -> Any:
    """Open a URL, and go where it leads, but never from https to what anybody on the way can change."""
    place = check_url(url, variable=variable)
    for _number in range(_REDIRECTS):
        try:
            return ansible_urls.open_url(place, follow_redirects="none", timeout=_TIMEOUT, **options)
        except HTTPError as error:
            if error.code not in _REDIRECT_CODES or not error.headers.get("Location"):
                raise
            target = redirect_target(place=place, location=error.headers["Location"])
            error.close()
        if not is_url(target) or (is_https(place) and not is_https(target)):
            raise DownloadError(
                f"{public_url(url)} is redirected from {public_url(place)} to {public_url(target)}; expected "
                "https all the way, as without it anybody in between can change what comes: set "
                f"{variable} to the address of the file itself, one that begins with https://"
            )
        try:
            place = with_login(request_url(target), of=place)
        except UrlError as problem:
            raise DownloadError(
                f"{public_url(url)} is redirected from {public_url(place)} to {public_url(target)!r}, which "
                f"is not a URL: {problem}; expected one that leads to the file: set {variable} to the "
                "address of the file itself"
            ) from problem
    raise DownloadError(
        f"{public_url(url)} is redirected more than {_REDIRECTS} times, at last to {public_url(place)}; "
        f"expected a file: set {variable} to the address of the file itself"
    )


def fetch_text(*, url: str, variable: str = _ADDRESS) -> str:
    """Fetch a small text file."""

    def ask() -> bytes:
        with _open(url, variable) as response:
            return bytes(response.read(_MAX_TEXT + 1))

    content = _persist(url, variable, ask)
    if len(content) > _MAX_TEXT:
        raise DownloadError(
            f"{public_url(url)} is larger than {_MAX_TEXT} bytes; expected a small text file: set {variable}"
        )
    return content.decode(errors="replace")


def final_url(*, url: str, variable: str = _ADDRESS) -> str:
    """Return where a URL leads in the end, without fetching what is there."""

    def ask() -> str:
        with _open(url, variable, method="HEAD") as response:
            return str(response.geturl())

    return _persist(url, variable, ask)


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except FileNotFoundError:
        return 0


def discard_download(*, path: str) -> None:
    """Remove what a download to this file has left, be it finished or not."""
    for leftover in (path, path + _PART, path + _VERSION):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(leftover)


def _known_version(*, url: str, path: str) -> str | None:
    """Return by what the server knew the version whose beginning is there."""
    try:
        with open(path + _VERSION, encoding="utf-8") as file:
            known = json.load(file)
        return str(known["version"]) if known["url"] == public_url(url) else None
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None


def _version(headers: Any) -> str:
    """Return by what the server knows this version of a file."""
    etag = str(headers.get("ETag", ""))
    # A weak one does not promise the same bytes.
    return etag if etag and not etag.startswith("W/") else str(headers.get("Last-Modified", ""))


def _note_version(*, url: str, path: str, version: str | None) -> None:
    """Keep the version, before its content is kept; an empty one is that of a server that cannot go on."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path + _VERSION)
    # Without one nobody can say later whether the beginning still fits.
    if version is not None:
        with open(path + _VERSION, "w", encoding="utf-8") as file:
            json.dump({"url": public_url(url), "version": version}, file)


def _ask(*, url: str, path: str, variable: str) -> _Answer:
    """Ask for the file, or for the rest of it if it is still the same."""
    version = _known_version(url=url, path=path)
    # One byte again: the rest of a file that is there to its end would be an error.
    start = max(0, _size(path + _PART) - 1) if version else 0
    headers = {"Range": f"bytes={start}-", "If-Range": version} if version and start else {}
    # What is packed is to stay packed, or its checksum is another.
    response = _persist(url, variable, lambda: _open(url, variable, headers=headers, decompress=False))
    length = str(response.headers.get("Content-Length", "")).strip()
    if length and not _NUMBER.fullmatch(length):
        response.close()
        raise DownloadError(
            f"{public_url(url)} is sent with the Content-Length {length[:40]!r}; expected a number of "
            "bytes: correct the server, or the proxy before it"
        )
    ranges = str(response.headers.get("Accept-Ranges", "")).strip().lower() != "none"
    if start and response.status == 206:
        match = _CONTENT_RANGE.match(response.headers.get("Content-Range", ""))
        # Not every server looks at If-Range.
        if match is None or int(match[1]) != start or _version(response.headers) not in (version, ""):
            response.close()
            discard_download(path=path)
            return _ask(url=url, path=path, variable=variable)
    else:
        # Asked for the rest of the very file that it has, it sends all of it.
        ranges = ranges and version != "" and not (start and _version(response.headers) == version)
        start = 0
    return _Answer(response, start, start + int(length) if length else None, ranges)


def _fetch(*, url: str, path: str, variable: str, check_room: Callable[[int, int], None] | None) -> str:
    """Fetch what is missing of a file, and return the checksum of the whole."""
    try:
        answer = _ask(url=url, path=path, variable=variable)
    except DownloadError as error:
        if error.status != 416:
            raise
        # The file became shorter, and is taken for the same.
        discard_download(path=path)
        raise _CutError("the file on the server has changed") from error
    response, done, total, resumes = answer
    with response, contextlib.ExitStack() as stack:
        if check_room and total is not None:
            check_room(total, total - done)
        if not done:
            version = (_version(response.headers) or None) if resumes else ""
            _note_version(url=url, path=path, version=version)
        file = stack.enter_context(open(path + _PART, "r+b" if done else "wb"))
        digest = hashlib.sha256()
        for left in range(done, 0, -_CHUNK):
            digest.update(file.read(min(left, _CHUNK)))
        while True:
            try:
                # What has come is not to be lost by waiting for more.
                chunk = response.read1(_CHUNK)
            except (OSError, HTTPException) as error:
                raise _CutError(f"{error} after {done} bytes") from error
            if not chunk:
                break
            with naming(path + _PART):
                file.write(chunk)
            digest.update(chunk)
            done += len(chunk)
    if total is not None and done < total:
        raise _CutError(f"the connection ended after {done} of {total} bytes")
    return digest.hexdigest()


def download(
    *,
    url: str,
    path: str,
    sha256: str | None = None,
    variable: str = _ADDRESS,
    checksum_variable: str = "the checksum",
    check_room: Callable[[int, int], None] | None = None,
) -> str:
    """Fetch a URL into a file, and return its checksum; memory stays small however large it is.

    What was fetched stays if it is interrupted, and the next call goes on from there, provided that the file
    on the server is still the same. ``variable`` and ``checksum_variable`` are what has the address and the
    checksum, for messages. ``check_room`` is told the size of the file and what is missing of it.
    """
    fruitless = 0
    best = _size(path + _PART)
    while True:
        try:
            seen = _fetch(url=url, path=path, variable=variable, check_room=check_room)
            break
        except _CutError as error:
            reached = _size(path + _PART)
            fruitless = 1 if reached > best else fruitless + 1
            best = max(best, reached)
            if fruitless >= _FRUITLESS:
                if reached and _known_version(url=url, path=path):
                    kept = f"{reached} bytes are kept in {path + _PART}; run it again to go on from there"
                else:
                    discard_download(path=path)
                    kept = (
                        "Nothing is kept, as the server cannot go on where it stopped or names no version of "
                        f"the file; run it again, or set {variable} to another server"
                    )
                raise DownloadError(f"{public_url(url)} cannot be fetched: {error}. {kept}") from error
            time.sleep(_PAUSE * fruitless)
    try:
        check_sha256(name=public_url(url), seen=seen, expected=sha256, variable=checksum_variable)
    except DownloadError as error:
        with open(path + _PART, "rb") as file:
            beginning = file.read(_BEGINNING)
        discard_download(path=path)
        if sha256 and download_advice.is_web_page(beginning):
            message = download_advice.web_page(name=public_url(url), expected=sha256, variable=variable)
            raise DownloadError(message) from error
        raise
    os.replace(path + _PART, path)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path + _VERSION)
    return seen


def check_sha256(*, name: str, seen: str, expected: str | None, variable: str) -> None:
    """Compare checksums, if one is expected; ``variable`` is what has it."""
    if expected is not None and seen != expected.lower():
        raise DownloadError(
            download_advice.wrong_checksum(name=name, seen=seen, expected=expected, variable=variable)
        )


def file_sha256(path: str) -> str:
    """Compute the checksum of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
