#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.os_image``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: os_image
short_description: Fetch the image of an operating system and keep it ready for cards
version_added: '0.1.0'
description:
  - Downloads an image, or takes a file, checks its SHA-256, and unpacks it once into a cache, in a form that
    is quick to write to cards.
  - Images are raw or packed as zip, gzip, xz or zstd, told by what is in the file, not by its name.
  - An interrupted download goes on where it stopped, if the server can do that and still has the same file.
  - What is truncated, corrupt, another file than wanted, or no image of a whole disk with a boot partition is
    refused by name, and nothing of it stays in the cache.
notes:
  - Runs on the controller, as a rule, with C(delegate_to=localhost).
  - "Commands that are needed: C(zstd), C(mcopy) (package mtools), and C(xz) or C(gzip) for images packed so."
  - Images stay in the cache until they are removed by hand; each file there may be deleted at any time.
  - Of two calls at once, one waits for the other.
author:
  - bramble.pi contributors (@bramble-pi)
extends_documentation_fragment:
  - bramble.pi.attributes
attributes:
  check_mode:
    support: partial
    details:
      - Nothing is fetched, so an image that is not in the cache yet cannot be judged.
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  src:
    description:
      - URL (http or https) or path of the image.
    type: str
    required: true
  checksum:
    description:
      - The SHA-256 of the file at O(src), as it is published. One of the following.
      - The checksum itself, with or without C(sha256:) before it.
      - The URL or path of a file with checksums, as C(sha256sum) writes it. The line is found by the name of
        the image.
      - "Empty: such a file is looked for beside the image, with C(.sha256) added to the name of the image, or
        named C(SHA256SUMS). A URL without one is refused, a local file is taken with a warning."
      - "V(none): the image is not checked, and a warning says so. What was fetched once is not fetched
        again."
    type: str
    default: ''
  extract_checksum:
    description:
      - The SHA-256 of the image inside, unpacked.
    type: str
    default: ''
  image_list:
    description:
      - URL or path of the image list that Raspberry Pi Imager uses, or of one of the same form.
      - The image with the same URL in it gives the checksums, the size and RV(image.init_format).
    type: str
    default: ''
  init_format:
    description:
      - How first boot is told what to do. V(auto) takes it from O(image_list), or from what lies on the boot
        partition.
    type: str
    choices: [auto, cloudinit, cloudinit-rpi, systemd, cloudinit-legacy]
    default: auto
  cache_dir:
    description:
      - Folder of the cache. Images are in C(images) within it.
    type: path
    default: ~/.cache/bramble
seealso:
  - name: The image list of Raspberry Pi
    description: What Raspberry Pi Imager offers.
    link: https://downloads.raspberrypi.com/os_list_imagingutility_v4.json
"""

EXAMPLES = r"""
- name: Fetch an image, with the checksum beside it
  bramble.pi.os_image:
    src: https://example.org/images/2025-11-24-raspios-trixie-arm64-lite.img.xz
  delegate_to: localhost
  register: os_image

- name: Fetch an image, with what the official list knows of it
  bramble.pi.os_image:
    src: https://example.org/images/2025-11-24-raspios-trixie-arm64-lite.img.xz
    image_list: https://downloads.raspberrypi.com/os_list_imagingutility_v4.json
  delegate_to: localhost

- name: Take an image from a file
  bramble.pi.os_image:
    src: ~/Downloads/hypriotos-rpi-v1.12.3.img.zip
    checksum: sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
  delegate_to: localhost
"""

RETURN = r"""
image:
  description:
    - The image. In check mode, all but C(source) may be V(none), if it is not in the cache yet.
  returned: success
  type: dict
  contains:
    path:
      description: The image in the cache, packed as zstd.
      type: str
      sample: /home/pi/.cache/bramble/images/9f86d081884c7d659a2f....img.zst
    map:
      description: JSON that says where the image has data, and what else is known of it.
      type: str
      sample: /home/pi/.cache/bramble/images/9f86d081884c7d659a2f....json
    size:
      description: Bytes of the image, unpacked.
      type: int
      sample: 2977955840
    data_bytes:
      description: How many of them are not zero, counted in pieces of 64 KiB.
      type: int
      sample: 2274361344
    sha256:
      description: Checksum of the image, unpacked.
      type: str
      sample: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    name:
      description: File name of the image, unpacked.
      type: str
      sample: 2025-11-24-raspios-trixie-arm64-lite.img
    source:
      description: Where it came from.
      type: str
      sample: https://example.org/images/2025-11-24-raspios-trixie-arm64-lite.img.xz
    archive_sha256:
      description: Checksum of the file as it is published.
      type: str
      sample: 0b822cd15d6c15b0f00a089f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b
    verified:
      description: Whether a checksum was known, and so the image is what it should be.
      type: bool
      sample: true
    boot_image:
      description: The beginning of the image up to the end of its boot partition, as a sparse file.
      type: str
      sample: /home/pi/.cache/bramble/images/9f86d081884c7d659a2f....boot.img
    boot_partition:
      description: Where the boot partition is.
      type: dict
      contains:
        offset:
          description: Its first byte.
          type: int
          sample: 8388608
        size:
          description: Its length in bytes.
          type: int
          sample: 536870912
    init_format:
      description:
        - How first boot is told what to do, V(cloudinit), V(cloudinit-rpi), V(systemd) or
          V(cloudinit-legacy).
      type: str
      sample: cloudinit-rpi
    layout:
      description: Which system the boot partition belongs to; V(none) if that is not known.
      type: str
      sample: raspios
changes:
  description: What was done, or would be.
  returned: success
  type: list
  elements: str
  sample: ['Download https://example.org/images/trixie.img.xz', Keep it in the cache]
"""

import contextlib
import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils import _image_source as core
from ansible_collections.bramble.pi.plugins.module_utils._boot_partition import (
    BootPartitionError,
    FatBoot,
    detect_init_format,
)
from ansible_collections.bramble.pi.plugins.module_utils._download import (
    DownloadError,
    discard_download,
    download,
    fetch_text,
    file_sha256,
    final_url,
    is_url,
    public_url,
)
from ansible_collections.bramble.pi.plugins.module_utils._files import read_text
from ansible_collections.bramble.pi.plugins.module_utils._image_cache import (
    Found,
    ImageCache,
    ImageCacheError,
    NoRoomError,
    Request,
    archive_checksum,
    room_for,
)
from ansible_collections.bramble.pi.plugins.module_utils._image_formats import (
    ImageFormatError,
    MissingToolError,
    require_tool,
)

_INIT_FORMATS = ("cloudinit", "cloudinit-rpi", "systemd", "cloudinit-legacy")
#: Answers to a request for a file that is not there; some servers of static files give no other.
_NOT_THERE = (403, 404, 410)


class OsImage:
    """One image, from its source into the cache."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        options = module.params
        self.src: str = options["src"]
        if "://" not in self.src:
            self.src = core.own_path(self.src)
        self.request = Request(
            self.src, options["checksum"], options["extract_checksum"], options["image_list"]
        )
        self.cache = ImageCache(folder=options["cache_dir"], detect=self.judge)
        self.changes: list[str] = []
        self.stat: list[int] | None = None

    @property
    def source(self) -> str:
        """Return where the image comes from, for people to read."""
        return public_url(self.src) if is_url(self.src) else self.src

    def ensure(self) -> dict[str, Any]:
        """Have the image in the cache, and say what is known of it."""
        checksum = core.parse_checksum(self.request.checksum)
        given = self.given(checksum)
        self.check_source()
        if self.module.check_mode:
            if self.asks_nobody(checksum, given):
                found = self.search(self.expect(checksum, given))
            else:
                found = self.cache.find_request(request=self.request, stat=self.stat)
            if found is None:
                self.changes.append(f"{'Download' if is_url(self.src) else 'Read'} {self.source}")
                self.changes.append("Keep it in the cache")
        else:
            found = self.obtain(checksum, given)
        return self.result(found)

    def given(self, checksum: core.Checksum) -> core.Expected:
        """Return what the options themselves say of the image."""
        extract = self.request.extract_checksum
        return core.Expected(
            archive_sha256=checksum.value if checksum.kind == "literal" else None,
            sha256=core.literal_sha256(text=extract, option="extract_checksum") if extract else None,
        )

    def asks_nobody(self, checksum: core.Checksum, given: core.Expected) -> bool:
        """Tell whether all that is to be known of the image is on this machine."""
        if is_url(checksum.value) or is_url(self.request.image_list):
            return False
        return checksum.kind != "beside" or given.verifies or not is_url(self.src)

    def search(self, expected: core.Expected) -> Found | None:
        """Look for the image in the cache."""
        found = self.cache.find(request=self.request, stat=self.stat, expected=expected)
        return found and found._replace(init_format=expected.init_format or found.init_format)

    def check_source(self) -> None:
        """Refuse what can be no source, and note by what a file is known again."""
        if is_url(self.src):
            return
        if "://" in self.src or not os.path.isfile(self.src):
            raise core.ImageSourceError(
                f"src is {self.src!r}, and there is no such file; wanted the path of an image, or a URL that "
                f"begins with http:// or https://. Correct 'src' (flash_image of the role flash)"
            )
        stat = os.stat(self.src)
        self.stat = [stat.st_size, stat.st_mtime_ns]

    def obtain(self, checksum: core.Checksum, given: core.Expected) -> Found:
        """Find the image in the cache, or put it there."""
        try:
            expected = self.expect(checksum, given)
        except DownloadError as error:
            known = self.cache.find_request(request=self.request, stat=self.stat)
            if known is None:
                raise
            self.module.warn(f"{error}. The image that is in the cache from an earlier run is taken.")
            return known
        found = self.search(expected)
        # Left by a run that was killed when it had the image.
        left = is_url(self.src) and os.path.exists(self.cache.download_path(self.src))
        if (
            left
            or found is None
            or not self.cache.remembers(request=self.request, stat=self.stat, found=found)
        ):
            with self.cache.lock():
                # Another run may have put it there while this one waited.
                found = self.search(expected) or self.make(expected)
                self.cache.remember(request=self.request, stat=self.stat, found=found)
                if is_url(self.src):
                    discard_download(path=self.cache.download_path(self.src))
                self.cache.remove_leftovers()
        return found

    def expect(self, checksum: core.Checksum, given: core.Expected) -> core.Expected:
        """Find out what is known of the image."""
        expected = given
        if self.request.image_list:
            text = self.text(self.request.image_list, "image_list")
            listed = core.find_in_list(text=text, url=self.src, origin=public_url(self.request.image_list))
            expected = core.merge(given=given, listed=listed, origin=public_url(self.request.image_list))
        if checksum.kind == "file":
            text = self.text(checksum.value, "checksum")
            found = core.find_sha256(
                text=text, name=core.file_name(self.src), origin=public_url(checksum.value)
            )
            return expected._replace(archive_sha256=found)
        if checksum.kind == "beside" and not expected.verifies:
            return expected._replace(archive_sha256=self.beside())
        return expected

    def text(self, place: str, option: str) -> str:
        """Read a small file from a URL or a path."""
        if is_url(place):
            return fetch_text(url=place)
        text = read_text(core.own_path(place))
        if text is None:
            raise core.ImageSourceError(
                f"{option} is {place!r}, and there is no such file: correct '{option}'"
            )
        return text

    def beside(self) -> str | None:
        """Look for a checksum beside the image."""
        looked = core.beside(self.src)
        found = self.look_in(looked, core.file_name(self.src))
        if found or not is_url(self.src):
            return found
        try:
            final = final_url(url=self.src)
        except DownloadError as error:
            if error.status in (None, 404, 410):
                raise
            # A server that tells this only to those who fetch the file.
            final = self.src
        if final != self.src:
            # Links such as "latest" lead to a file of another name.
            more = core.beside(final)
            looked += more
            found = self.look_in(more, core.file_name(final))
        if found is None:
            raise core.nothing_beside(source=self.source, looked=[public_url(place) for place in looked])
        return found

    def look_in(self, places: list[str], name: str) -> str | None:
        """Look for a checksum in files that need not be there."""
        for place in places:
            if is_url(place):
                try:
                    text: str | None = fetch_text(url=place)
                except DownloadError as error:
                    if error.status not in _NOT_THERE:
                        raise
                    text = None
            else:
                text = read_text(place)
            if text is not None and (place.endswith(".sha256") or name in text):
                return core.find_sha256(text=text, name=name, origin=public_url(place))
        return None

    def make(self, expected: core.Expected) -> Found:
        """Put the image into the cache."""
        require_tool(command="zstd", package="zstd", why="keeping images in the cache")
        require_tool(command="mcopy", package="mtools", why="reading the boot partition of an image")
        archive_sha256: str | None
        if is_url(self.src):
            path, archive_sha256 = self.fetch(expected)
        else:
            path, archive_sha256 = self.src, archive_checksum(path=self.src)
            self.changes.append(f"Read {self.source}")
        self.cache.check_room(room_for(path=path))
        try:
            kept = self.cache.add(
                path=path, source=self.source, archive_sha256=archive_sha256, expected=expected
            )
        except (MissingToolError, NoRoomError):
            raise
        except (ImageFormatError, ImageCacheError):
            if is_url(self.src):
                discard_download(path=path)
            raise
        self.changes.append("Keep it in the cache")
        return Found(kept, kept.archive_sha256, expected.init_format, expected.verifies)

    def fetch(self, expected: core.Expected) -> tuple[str, str]:
        """Download the image, unless a run that was killed later has done so."""
        path = self.cache.download_path(self.src)
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        if os.path.exists(path):
            seen = file_sha256(path)
            if expected.archive_sha256 in (None, seen):
                return path, seen
            discard_download(path=path)
        self.changes.append(f"Download {self.source}")

        def check_room(total: int, missing: int) -> None:
            self.cache.check_room(missing + total * 3 // 2)

        return path, download(url=self.src, path=path, sha256=expected.archive_sha256, check_room=check_room)

    def judge(self, path: str, offset: int) -> tuple[str | None, str | None]:
        """Say what first boot reads, and whose boot partition it is, if that is known."""
        boot = FatBoot(path=path, offset=offset, run=self.module.run_command)
        with contextlib.suppress(BootPartitionError):
            found = detect_init_format(boot=boot)
            return found.init_format, found.layout
        return None, None

    def init_format(self, found: Found, boot_image: str) -> str:
        """Choose between what the user, the list and the boot partition say; refuse if none of them does."""
        given = self.module.params["init_format"]
        for value in (None if given == "auto" else given, found.init_format, found.kept.init_format):
            if value in _INIT_FORMATS:
                return str(value)
        boot = FatBoot(path=boot_image, offset=found.kept.boot_offset, run=self.module.run_command)
        return detect_init_format(boot=boot).init_format

    def result(self, found: Found | None) -> dict[str, Any]:
        """Say what is known of the image."""
        if found is None:
            keys = (
                "path map size data_bytes sha256 name archive_sha256 verified boot_image boot_partition "
                "init_format layout"
            )
            return {**dict.fromkeys(keys.split()), "source": self.source}
        if not found.verified:
            self.module.warn(
                f"{self.source} was not checked, as no checksum of it is known; its SHA-256 is "
                f"{found.archive_sha256}. Set 'checksum' (flash_image_checksum of the role flash)."
            )
        kept, sha256 = found.kept, found.kept.image_map.sha256
        boot_image = self.cache.boot_path(sha256)
        return {
            "path": self.cache.packed_path(sha256),
            "map": self.cache.map_path(sha256),
            "size": kept.image_map.size,
            "data_bytes": kept.image_map.data_bytes,
            "sha256": sha256,
            "name": kept.name,
            "source": self.source,
            "archive_sha256": found.archive_sha256,
            "verified": found.verified,
            "boot_image": boot_image,
            "boot_partition": {"offset": kept.boot_offset, "size": kept.boot_size},
            "init_format": self.init_format(found, boot_image),
            "layout": kept.layout,
        }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "src": {"type": "str", "required": True},
            "checksum": {"type": "str", "default": ""},
            "extract_checksum": {"type": "str", "default": ""},
            "image_list": {"type": "str", "default": ""},
            "init_format": {"type": "str", "choices": ["auto", *_INIT_FORMATS], "default": "auto"},
            "cache_dir": {"type": "path", "default": "~/.cache/bramble"},
        },
        supports_check_mode=True,
    )
    os_image = OsImage(module)
    try:
        image = os_image.ensure()
    except (
        core.ImageSourceError,
        DownloadError,
        ImageFormatError,
        ImageCacheError,
        BootPartitionError,
    ) as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(
            msg=f"{error.filename or os_image.source}: {error.strerror}. Wanted: to read the image, and to "
            f"write in 'cache_dir' ({os_image.cache.folder})."
        )
    changed = bool(os_image.changes)
    module.exit_json(changed=changed, image=image, changes=os_image.changes)


if __name__ == "__main__":
    main()
