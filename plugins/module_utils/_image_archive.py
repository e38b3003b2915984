# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives of container images: how runtimes name images, and which archives have to be imported."""

from __future__ import annotations

import re
from typing import NamedTuple

_DEFAULT_REGISTRY = "docker.io"
_REFERENCE = re.compile(
    r"(?:[a-zA-Z0-9.-]+(?::\d+)?/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*(?::[A-Za-z0-9_][A-Za-z0-9._-]{0,127})?"
)

#: Runtime: how it lists its images, one on each line, and how it imports an archive.
LIST_COMMANDS = {
    "containerd": ["ctr", "--namespace", "k8s.io", "images", "list", "--quiet"],
    "docker": ["docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}"],
}
IMPORT_COMMANDS = {
    "containerd": ["ctr", "--namespace", "k8s.io", "images", "import"],
    "docker": ["docker", "image", "load", "--input"],
}


class ImageArchiveError(Exception):
    """An archive that cannot be imported, or a wish that cannot be understood."""


class Archive(NamedTuple):
    """An archive, and the images that it is for."""

    source: str
    images: list[str]
    sha256: str | None


def normalize(reference: str) -> str:
    """Spell a reference out as containerd does: docker.io/library/busybox:latest for busybox."""
    if not _REFERENCE.fullmatch(reference):
        raise ImageArchiveError(
            f"image {reference!r} is not understood: it has to be a name with a tag, such as "
            "registry.k8s.io/pause:3.10, and without a digest. Set it in kube_packages_image_archives"
        )
    return _spell_out(reference)


def _spell_out(reference: str) -> str:
    first, slash, rest = reference.partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost"):
        first, rest = _DEFAULT_REGISTRY, reference
    if first in (_DEFAULT_REGISTRY, "index.docker.io"):
        first = _DEFAULT_REGISTRY
        rest = rest if "/" in rest else f"library/{rest}"
    tag = "" if ":" in rest else ":latest"
    return f"{first}/{rest}{tag}"


def read_images(*, text: str) -> set[str]:
    """Read a runtime's list of images; those without a name are left out."""
    return {
        _spell_out(line.strip())
        for line in text.splitlines()
        if line.strip() and "<none>" not in line and "@" not in line and not line.startswith("sha256:")
    }


def missing_images(*, archive: Archive, present: set[str]) -> list[str]:
    """Name the images of an archive that the runtime has not."""
    return [image for image in archive.images if normalize(image) not in present]
