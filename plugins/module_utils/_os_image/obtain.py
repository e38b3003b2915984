# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Obtain an OS image: from a URL or a file into the cache, checked by whatever checksum is known."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.download import (
    DownloadError,
    check_url,
    discard_download,
    download,
    fetch_text,
    file_sha256,
    final_url,
)
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text
from ansible_collections.bramble.pi.plugins.module_utils._common.urls import is_https, is_url, public_url
from ansible_collections.bramble.pi.plugins.module_utils._os_image import source
from ansible_collections.bramble.pi.plugins.module_utils._os_image.cache import (
    Found,
    ImageCache,
    ImageCacheError,
    NoRoomError,
    Request,
    archive_checksum,
    room_for,
)
from ansible_collections.bramble.pi.plugins.module_utils._os_image.formats import (
    ImageFormatError,
    MissingToolError,
    require_tool,
)

#: How the first boot can be configured.
INIT_FORMATS = ("cloudinit", "cloudinit-rpi", "systemd", "cloudinit-legacy")
#: The options with addresses, and the variables that set them.
_VARIABLES = {
    "src": "'src' (flash_image of the role flash)",
    "checksum": "'checksum' (flash_image_checksum of the role flash)",
    "image_list": "'image_list' (flash_image_list of the role flash)",
}
#: Those that the boot partition shows by a file of its own, not by the lack of one.
_SHOWN = ("cloudinit", "cloudinit-rpi", "cloudinit-legacy")
#: Answers to a request for a file that is not there; some servers of static files give no other.
_NOT_THERE = (403, 404, 410)

#: Says of a boot partition, in a file from a byte on, what first boot reads and which system it belongs to.
#: Raises BrambleError if that cannot be said.
Detect = Callable[[str, int], "tuple[str, str]"]


class OsImage:
    """One image, from its source into the cache."""

    def __init__(
        self,
        *,
        request: Request,
        init_format: str,
        cache_dir: str,
        detect: Detect,
        changes: Changes,
        warn: Callable[[str], None],
    ) -> None:
        """Take what the user asked for; ``init_format`` is ``auto`` if it is to be detected."""
        self._src = request.src if "://" in request.src else source.own_path(request.src)
        self._request = request._replace(src=self._src)
        self._given_format = init_format
        self._detect = detect
        self._cache = ImageCache(folder=cache_dir, detect=self._try_to_detect)
        self._changes = changes
        self._warn = warn
        self._stat: list[int] | None = None
        #: Where the checksum comes from; empty if it is the user's own.
        self._checksum_from = ""

    def _try_to_detect(self, path: str, offset: int) -> tuple[str | None, str | None]:
        try:
            return self._detect(path, offset)
        except BrambleError:
            return None, None

    @property
    def origin(self) -> str:
        """Return where the image comes from, for people to read."""
        return public_url(self._src) if is_url(self._src) else self._src

    def ensure(self) -> dict[str, Any]:
        """Have the image in the cache, and say what is known of it."""
        checksum = source.parse_checksum(self._request.checksum)
        given = self._given(checksum)
        if not given.verifies:
            # By the options alone; what is asked for knows better.
            self._checksum_from = checksum.value or self._request.image_list or self._src
        self._check_source(checksum)
        if self._changes.check_mode:
            if self._asks_nobody(checksum, given):
                found = self._search(self._expect(checksum, given))
            else:
                found = self._cache.find_request(request=self._request, stat=self._stat)
            if found is None:
                self._changes.note(f"{'Download' if is_url(self._src) else 'Read'} {self.origin}")
                self._changes.note("Keep it in the cache")
        else:
            found = self._obtain(checksum, given)
        return self._result(found)

    def _given(self, checksum: source.Checksum) -> source.Expected:
        """Return what the options themselves say of the image."""
        extract = self._request.extract_checksum
        return source.Expected(
            archive_sha256=checksum.value if checksum.kind == "literal" else None,
            sha256=source.literal_sha256(text=extract, option="extract_checksum") if extract else None,
        )

    def _asks_nobody(self, checksum: source.Checksum, given: source.Expected) -> bool:
        """Tell whether all that is to be known of the image is on this machine."""
        if is_url(checksum.value) or is_url(self._request.image_list):
            return False
        return checksum.kind != "beside" or given.verifies or not is_url(self._src)

    def _search(self, expected: source.Expected) -> Found | None:
        """Look for the image in the cache."""
        found = self._cache.find(request=self._request, stat=self._stat, expected=expected)
        return found and found._replace(init_format=expected.init_format or found.init_format)

    def _check_source(self, checksum: source.Checksum) -> None:
        """Refuse what can be no source, and note by what a file is known again."""
        places = {"src": self._src, "image_list": self._request.image_list, "checksum": checksum.value}
        for option, place in places.items():
            if is_url(place):
                check_url(place, variable=_VARIABLES[option])
        if is_url(self._src):
            return
        if "://" in self._src or not os.path.isfile(self._src):
            raise source.ImageSourceError(
                f"src is {self._src!r}, and there is no such file; expected the path of an image, or a "
                f"URL that begins with http:// or https://. Correct 'src' (flash_image of the role flash)"
            )
        stat = os.stat(self._src)
        self._stat = [stat.st_size, stat.st_mtime_ns]

    def _obtain(self, checksum: source.Checksum, given: source.Expected) -> Found:
        """Find the image in the cache, or put it there."""
        try:
            expected = self._expect(checksum, given)
        except DownloadError as error:
            known = self._cache.find_request(request=self._request, stat=self._stat)
            if known is None:
                raise
            self._warn(f"{error}. The image that is in the cache from an earlier run is taken.")
            return known
        found = self._search(expected)
        # Left by a run that was killed when it had the image.
        left = is_url(self._src) and os.path.exists(self._cache.download_path(self._src))
        if (
            left
            or found is None
            or not self._cache.remembers(request=self._request, stat=self._stat, found=found)
        ):
            with self._cache.lock():
                # Another run may have put it there while this one waited.
                found = self._search(expected) or self._make(expected)
                self._cache.remember(request=self._request, stat=self._stat, found=found)
                if is_url(self._src):
                    discard_download(path=self._cache.download_path(self._src))
                self._cache.remove_leftovers()
        return found

    def _expect(self, checksum: source.Checksum, given: source.Expected) -> source.Expected:
        """Find out what is known of the image."""
        expected = given
        if self._request.image_list:
            text = self._text(self._request.image_list, "image_list")
            listed = source.find_in_list(
                text=text, url=self._src, origin=public_url(self._request.image_list)
            )
            expected = source.merge(given=given, listed=listed, origin=public_url(self._request.image_list))
            if listed.verifies and not given.verifies:
                self._checksum_from = self._request.image_list
        if checksum.kind == "file":
            text = self._text(checksum.value, "checksum")
            found = source.find_sha256(
                text=text, name=source.file_name(self._src), origin=public_url(checksum.value)
            )
            self._checksum_from = "" if given.verifies else checksum.value
            return expected._replace(archive_sha256=found)
        if checksum.kind == "beside" and not expected.verifies:
            self._checksum_from = self._src
            return expected._replace(archive_sha256=self._beside())
        return expected

    def _text(self, place: str, option: str) -> str:
        """Read a small file from a URL or a path."""
        if is_url(place):
            return fetch_text(url=place, variable=_VARIABLES[option])
        text = read_text(source.own_path(place))
        if text is None:
            raise source.ImageSourceError(
                f"{option} is {place!r}, and there is no such file: correct '{option}'"
            )
        return text

    def _beside(self) -> str | None:
        """Look for a checksum beside the image."""
        looked = source.beside(self._src)
        found = self._look_in(looked, source.file_name(self._src))
        if found or not is_url(self._src):
            return found
        try:
            final = final_url(url=self._src, variable=_VARIABLES["src"])
        except DownloadError as error:
            if error.status in (None, 404, 410):
                raise
            # A server that tells this only to those who fetch the file.
            final = self._src
        if final != self._src:
            # Links such as "latest" lead to a file of another name.
            more = source.beside(final)
            looked += more
            found = self._look_in(more, source.file_name(final))
        if found is None:
            raise source.nothing_beside(source=self.origin, looked=[public_url(place) for place in looked])
        return found

    def _look_in(self, places: list[str], name: str) -> str | None:
        """Look for a checksum in files that need not be there."""
        for place in places:
            if is_url(place):
                try:
                    text: str | None = fetch_text(url=place, variable=_VARIABLES["src"])
                except DownloadError as error:
                    if error.status not in _NOT_THERE:
                        raise
                    text = None
            else:
                text = read_text(place)
            if text is not None and (place.endswith(".sha256") or source.lists(text=text, name=name)):
                return source.find_sha256(text=text, name=name, origin=public_url(place))
        return None

    def _make(self, expected: source.Expected) -> Found:
        """Put the image into the cache."""
        require_tool(command="zstd", package="zstd", why="keeping images in the cache")
        require_tool(command="mcopy", package="mtools", why="reading the boot partition of an image")
        archive_sha256: str | None
        path = self._src
        try:
            if is_url(self._src):
                path, archive_sha256 = self._fetch(expected)
            else:
                archive_sha256 = archive_checksum(path=path)
                self._changes.note(f"Read {self.origin}")
            self._cache.check_room(room_for(path=path))
            kept = self._cache.add(
                path=path, source=self.origin, archive_sha256=archive_sha256, expected=expected
            )
        except (MissingToolError, NoRoomError):
            raise
        except (ImageFormatError, ImageCacheError) as error:
            if is_url(self._src):
                discard_download(path=path)
            raise source.ImageSourceError(
                f"{str(error).rstrip('.')}; or set {_VARIABLES['src']} to another image"
            ) from error
        self._changes.note("Keep it in the cache")
        return Found(kept, kept.archive_sha256, expected.init_format, expected.verifies)

    def _fetch(self, expected: source.Expected) -> tuple[str, str]:
        """Download the image, unless a run that was killed later has done so."""
        path = self._cache.download_path(self._src)
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        if os.path.exists(path):
            seen = file_sha256(path)
            if expected.archive_sha256 in (None, seen):
                return path, seen
            discard_download(path=path)
        self._changes.note(f"Download {self.origin}")

        def check_room(total: int, missing: int) -> None:
            self._cache.check_room(missing + total * 3 // 2)

        return path, download(
            url=self._src,
            path=path,
            sha256=expected.archive_sha256,
            variable=_VARIABLES["src"],
            checksum_variable=_VARIABLES["checksum"],
            check_room=check_room,
        )

    def _init_format(self, found: Found, boot_image: str) -> str:
        """Choose between what the user, the list and the boot partition say; refuse if none of them does."""
        listed = found.init_format
        for value in (self._given_format, listed):
            if value in INIT_FORMATS:
                return str(value)
        own = found.kept.init_format
        if own not in INIT_FORMATS:
            own = self._detect(boot_image, found.kept.boot_offset)[0]
        image_list = public_url(self._request.image_list) or "the image list"
        says = f"init_format of {self.origin} is {listed!r} in {image_list}"
        if listed and own not in _SHOWN:
            raise source.ImageSourceError(
                f"{says}, and its boot partition has no user-data; expected one of "
                f"{', '.join(INIT_FORMATS)}: set flash_image to an image whose first boot reads one of "
                "these, or flash_init_format to what this one reads as well"
            )
        if listed:
            self._warn(
                f"{says}, which is not known here. Its boot partition has a user-data, so {own} is taken."
            )
        return str(own)

    def _result(self, found: Found | None) -> dict[str, Any]:
        """Say what is known of the image."""
        if found is None:
            keys = (
                "path map size data_bytes sha256 name archive_sha256 verified verified_by boot_image "
                "boot_partition init_format layout"
            )
            return {**dict.fromkeys(keys.split()), "source": self.origin}
        if not found.verified:
            self._warn(
                f"{self.origin} was not checked, as no checksum of it is known; its SHA-256 is "
                f"{found.archive_sha256}. Set 'checksum' (flash_image_checksum of the role flash)."
            )
        verified_by = source.verified_by(verified=found.verified, place=self._checksum_from)
        # What came over https itself was not changed on the way, whatever became of its checksum.
        if verified_by == "http" and is_url(self._src) and not is_https(self._src):
            self._warn(
                f"{self.origin} has the checksum that {public_url(self._checksum_from)} leads to, which came "
                "over http: that tells of a broken download, not of one that somebody changed on the way. "
                "Set 'checksum' (flash_image_checksum of the role flash) to the SHA-256 that the makers of "
                "the image name, or use https."
            )
        kept, sha256 = found.kept, found.kept.image_map.sha256
        boot_image = self._cache.boot_path(sha256)
        return {
            "path": self._cache.packed_path(sha256),
            "map": self._cache.map_path(sha256),
            "size": kept.image_map.size,
            "data_bytes": kept.image_map.data_bytes,
            "sha256": sha256,
            "name": kept.name,
            "source": self.origin,
            "archive_sha256": found.archive_sha256,
            "verified": found.verified,
            "verified_by": verified_by,
            "boot_image": boot_image,
            "boot_partition": {"offset": kept.boot_offset, "size": kept.boot_size},
            "init_format": self._init_format(found, boot_image),
            "layout": kept.layout,
        }
