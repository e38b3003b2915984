# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives of container images: how images are named, and which archives have to be imported."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError

_DEFAULT_REGISTRY = "docker.io"
_REFERENCE = re.compile(
    r"(?:[a-zA-Z0-9.-]+(?::\d+)?/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*(?::[A-Za-z0-9_][A-Za-z0-9._-]{0,127})?"
)


class ImageArchiveError(BrambleError):
    """An archive that cannot be imported, or a wish that cannot be understood."""


class Archive(NamedTuple):
    """An archive, and the images that it is for."""

    source: str
    images: list[str]
    sha256: str | None
    #: The versions of images that it has, as far as they are told.
    ids: Mapping[str, str]


def normalize(reference: str, *, variable: str = "kube_packages_image_archives") -> str:
    """Spell a reference out as containerd does: docker.io/library/busybox:latest for busybox."""
    if not _REFERENCE.fullmatch(reference):
        raise ImageArchiveError(
            f"image {reference!r} is not understood: it has to be a name with a tag, such as "
            f"registry.k8s.io/pause:3.10, and without a digest. Set it in {variable}"
        )
    return spell_out(reference)


def spell_out(reference: str) -> str:
    """Spell out a name that is known to be one."""
    first, slash, rest = reference.partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost"):
        first, rest = _DEFAULT_REGISTRY, reference
    if first in (_DEFAULT_REGISTRY, "index.docker.io"):
        first = _DEFAULT_REGISTRY
        rest = rest if "/" in rest else f"library/{rest}"
    tag = "" if ":" in rest else ":latest"
    return f"{first}/{rest}{tag}"


def missing_images(*, archive: Archive, present: Mapping[str, str]) -> list[str]:
    """Name the images of an archive that the runtime has not, or has with another id than told."""
    return [
        image
        for image in archive.images
        if present.get(normalize(image)) is None
        or present[normalize(image)] != archive.ids.get(image, present[normalize(image)])
    ]
