# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Downloading to a file of the node, checked on the way."""

from __future__ import annotations

import hashlib
from http.client import HTTPException

from ansible.module_utils.urls import open_url

_CHUNK = 1 << 18
_TIMEOUT = 60


class DownloadError(Exception):
    """Something that could not be fetched, or is not what it should be."""


def is_url(source: str) -> bool:
    """Tell a URL from a path."""
    return source.startswith(("http://", "https://"))


def download(*, url: str, path: str, sha256: str | None = None) -> None:
    """Fetch a URL into a file; memory stays small however large it is."""
    digest = hashlib.sha256()
    try:
        with open_url(url, timeout=_TIMEOUT) as response, open(path, "wb") as file:
            while chunk := response.read(_CHUNK):
                file.write(chunk)
                digest.update(chunk)
    except (OSError, HTTPException) as error:
        raise DownloadError(f"{url} cannot be fetched: {error}") from error
    check_sha256(name=url, seen=digest.hexdigest(), wanted=sha256)


def check_sha256(*, name: str, seen: str, wanted: str | None) -> None:
    """Compare checksums, if one is wanted."""
    if wanted is not None and seen != wanted.lower():
        raise DownloadError(f"{name} has the sha256 {seen}, wanted {wanted}")


def file_sha256(path: str) -> str:
    """Compute the checksum of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
