# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives of container images: which images they have, and which of them have to be imported."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tarfile
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._containers import images


class Archive(NamedTuple):
    """An archive, and the images that it is for."""

    source: str
    images: list[str]
    sha256: str | None
    #: The versions of images that it has, as far as they are told.
    ids: Mapping[str, str]


def missing_images(*, archive: Archive, present: Mapping[str, str]) -> list[str]:
    """Name the images of an archive that the runtime has not, or has with another id than told."""
    return [
        image
        for image in archive.images
        if present.get(images.normalize(image)) is None
        or present[images.normalize(image)] != archive.ids.get(image, present[images.normalize(image)])
    ]


def archive_images(*, members: Collection[str], read: Callable[[str], bytes]) -> list[images.Image]:
    """Read which images an archive has, written by docker, podman, skopeo or containerd."""
    if "manifest.json" in members:
        return [
            images.image_of(images.spell_out(tag), read(entry["Config"]))
            for entry in images.read_json(read("manifest.json"), what="manifest.json")
            for tag in entry.get("RepoTags") or ()
        ]
    if "index.json" not in members:
        raise images.ContainerImagesError(
            "neither manifest.json nor index.json is in it; expected what docker image save, podman save or "
            "ctr images export write"
        )

    def read_blob(digest: str) -> bytes | None:
        path = f"blobs/{digest.replace(':', '/')}"
        return read(path) if path in members else None

    found: list[images.Image] = []
    for entry in images.read_json(read("index.json"), what="index.json").get("manifests", ()):
        annotations = entry.get("annotations") or {}
        name = annotations.get("io.containerd.image.name") or annotations.get(
            "org.opencontainers.image.ref.name", ""
        )
        # Some write a mere tag there.
        if ":" in name:
            found += images.images_below(name=images.spell_out(name), digest=entry["digest"], read=read_blob)
    return found


def images_in(path: str) -> list[images.Image]:
    """Read which images an archive has."""
    try:
        with tarfile.open(path) as archive:
            members = {member.name.removeprefix("./"): member for member in archive.getmembers()}

            def read(name: str) -> bytes:
                file = archive.extractfile(members[name])
                return file.read() if file else b""

            return archive_images(members=members, read=read)
    except (OSError, tarfile.TarError, KeyError, images.ContainerImagesError) as error:
        raise images.ContainerImagesError(
            f"{path} cannot be read as an archive of images: {error}"
        ) from error


def archive_name(*, name: str, architecture: str) -> str:
    """Return the file name of the archive of one image."""
    return f"{re.sub(r'[^A-Za-z0-9.-]+', '_', name)}-{architecture}-{_short_digest(name)}.tar"


def _short_digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


@contextlib.contextmanager
def part_of(path: str) -> Iterator[str]:
    """Have a file written beside its place, and put there when it is whole."""
    part = f"{path}.part"
    try:
        yield part
        os.replace(part, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part)
