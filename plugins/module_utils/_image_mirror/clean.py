# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cleans the image mirror: notes what was used, and removes what was used least recently."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._common.commands import Runner
from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text, write_text
from ansible_collections.bramble.pi.plugins.module_utils._image_mirror import blobs, units

_V2 = "docker/registry/v2"
#: How far each registry's log was read.
_CURSORS = ".read.json"
_CURSOR = "-- cursor: "
#: What was not written to for so long is an upload that nobody goes on with.
_ABANDONED_SECONDS = 3600


class Space(NamedTuple):
    """What the mirror has on its file system, in bytes."""

    #: What the mirror uses itself.
    used: int
    free: int
    total: int

    @property
    def short(self) -> int:
        """How much is missing of what is left to others."""
        return max(0, blobs.reserve(self.total) - self.free)


def space(folder: str) -> Space:
    """Measure the mirror's folder; one that is yet to come is on the file system of what is above it."""
    used = 0
    for path, _folders, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                used += os.lstat(os.path.join(path, name)).st_blocks * 512
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    found = os.statvfs(folder)
    return Space(used, found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize)


def blob_path(root: str, digest: str) -> str:
    """Return where a registry has what a digest names; ``root`` is its folder."""
    number = digest.partition(":")[2]
    return f"{root}/{_V2}/blobs/sha256/{number[:2]}/{number}/data"


def find(folder: str) -> Iterator[blobs.Blob]:
    """Find all blobs of the mirror."""
    for root in _roots(folder):
        for path, _folders, names in os.walk(f"{root}/{_V2}/blobs/sha256"):
            if "data" in names:
                file = os.path.join(path, "data")
                with contextlib.suppress(FileNotFoundError):
                    found = os.lstat(file)
                    used = max(found.st_atime, found.st_mtime)
                    digest = f"sha256:{os.path.basename(path)}"
                    yield blobs.Blob(file, digest, found.st_blocks * 512, used)


def _roots(folder: str) -> list[str]:
    try:
        return [entry.path for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []


def note_uses(folder: str, registry: str, *, run: Runner) -> None:
    """Note when images were used, by the log of the registry that serves them.

    It is the time of the last access to their files, which most file systems of Raspberry Pis do not keep by
    themselves (noatime).
    """
    try:
        cursors = dict(json.loads(read_text(f"{folder}/{_CURSORS}") or "{}"))
    except ValueError:
        cursors = {}
    after = [f"--after-cursor={cursors[registry]}"] if registry in cursors else []
    command = ["journalctl", f"--unit={units.instance(registry)}", "--output=cat", "--show-cursor", *after]
    code, output, _errors = run(command)
    if code != 0:
        # The log was removed meanwhile; the next time it is read from its beginning.
        cursors.pop(registry, None)
    lines = output.splitlines()
    touch(f"{folder}/{registry}", blobs.uses(lines))
    if lines and lines[-1].startswith(_CURSOR):
        cursors[registry] = lines[-1][len(_CURSOR) :]
    # After what was read has been noted: a run that is killed reads it again.
    write_text(f"{folder}/{_CURSORS}", json.dumps(cursors) + "\n", mode=0o600)


def touch(root: str, uses: Iterable[blobs.Use]) -> None:
    """Note uses; that of an image is one of all its parts, which a node that has them does not ask for."""
    for use in uses:
        digest = use.reference
        if not blobs.DIGEST.fullmatch(digest):
            link = f"{root}/{_V2}/repositories/{use.name}/_manifests/tags/{use.reference}/current/link"
            digest = (read_text(link) or "").strip()
            if not blobs.DIGEST.fullmatch(digest):
                continue
        parts = []
        if use.kind == "manifests":
            with contextlib.suppress(FileNotFoundError), open(blob_path(root, digest), "rb") as file:
                parts = blobs.parts_of(file.read())
        for each in (digest, *parts):
            path = blob_path(root, each)
            with contextlib.suppress(FileNotFoundError):
                found = os.lstat(path)
                if found.st_atime < use.time:
                    os.utime(path, (use.time, found.st_mtime), follow_symlinks=False)


def clean(folder: str, *, bound: int) -> tuple[int, Space]:
    """Remove the least recently used until the mirror is within its bound.

    The registries go on: what they read stays readable to its end, and what they do not find they fetch
    again. Returns how many blobs were removed, and the space that there is then.
    """
    _remove_abandoned(folder)
    found = space(folder)
    gone = blobs.surplus(find(folder), excess=max(found.used - bound, found.short))
    if gone:
        digests = {blob.path.partition(f"/{_V2}/")[0]: set[str]() for blob in gone}
        for blob in gone:
            digests[blob.path.partition(f"/{_V2}/")[0]].add(blob.digest)
        # First what names them: a run that is killed then leaves blobs, which are the next to go.
        for root, names in digests.items():
            _unlink_names(f"{root}/{_V2}/repositories", names)
        for blob in gone:
            shutil.rmtree(os.path.dirname(blob.path), ignore_errors=True)
        found = space(folder)
    return len(gone), found


def _unlink_names(folder: str, digests: set[str]) -> None:
    """Remove the links to blobs below the names of images, and tags that lead to them."""
    for path, folders, _names in os.walk(folder):
        above = os.path.basename(path)
        for name in list(folders):
            inner = os.path.join(path, name)
            link = (read_text(f"{inner}/current/link") or "").strip() if above == "tags" else ""
            if link in digests or (above == "sha256" and f"sha256:{name}" in digests):
                shutil.rmtree(inner, ignore_errors=True)
                folders.remove(name)


def _remove_abandoned(folder: str) -> None:
    """Remove what a registry had begun to fetch when it was stopped, or its disk was full."""
    before = time.time() - _ABANDONED_SECONDS
    for root in _roots(folder):
        for path, folders, _names in os.walk(f"{root}/{_V2}/repositories"):
            if os.path.basename(path) != "_uploads":
                continue
            for name in list(folders):
                upload = os.path.join(path, name)
                if _newest(upload) < before:
                    shutil.rmtree(upload, ignore_errors=True)
            folders.clear()


def _newest(folder: str) -> float:
    times = [0.0]
    for path, _folders, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                times.append(os.lstat(os.path.join(path, name)).st_mtime)
    return max(times)
