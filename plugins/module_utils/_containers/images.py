# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Container images by name, architecture and id, and what of them nodes lack."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._common.commands import Runner, output_of
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._common.urls import (
    UrlError,
    is_url,
    public_url,
    request_url,
)
from ansible_collections.bramble.pi.plugins.module_utils._common.values import is_sha256

#: Returns a blob by its digest, or None if it is not there.
Reader = Callable[[str], "bytes | None"]

#: dpkg's names of architectures: those of images, where they differ.
_ARCHITECTURES = {"armhf": "arm", "i386": "386"}
#: What the images of an architecture are asked for by, where its name is not enough.
_VARIANTS = {"arm": "arm/v7"}

_DEFAULT_REGISTRY = "docker.io"
_REFERENCE = re.compile(
    r"(?:[a-zA-Z0-9.-]+(?::\d+)?/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*(?::[A-Za-z0-9_][A-Za-z0-9._-]{0,127})?"
)


class ContainerImagesError(BrambleError):
    """Images, or archives of them, that are not available, cannot be read, or are asked for by no name."""


class Image(NamedTuple):
    """An image of one architecture, known by the digest of its configuration, whatever it came in."""

    name: str
    architecture: str
    id: str


def normalize(reference: str, *, variable: str = "kube_packages_image_archives") -> str:
    """Spell a reference out as containerd does: docker.io/library/busybox:latest for busybox."""
    if not _REFERENCE.fullmatch(reference):
        raise ContainerImagesError(
            f"image {reference!r} is not valid; expected a name with a tag, such as "
            f"registry.k8s.io/pause:3.10, and without a digest. Set it in {variable}"
        )
    return spell_out(reference)


def check_archive(archive: Mapping[str, Any], *, variable: str) -> None:
    """Refuse an archive whose images, checksum or URL are none; ``variable`` is where it is named."""
    src = public_url(archive["src"])
    for image in archive.get("images") or ():
        normalize(image, variable=variable)
    if archive.get("sha256") and not is_sha256(archive["sha256"]):
        raise ContainerImagesError(
            f"sha256 of {src} in {variable} is {archive['sha256']!r}; expected the 64 digits that sha256sum "
            f"prints: set it in {variable}"
        )
    try:
        if is_url(archive["src"]):
            request_url(archive["src"])
    except UrlError as error:
        raise ContainerImagesError(
            f"src in {variable} is {src}, and {error}; expected a URL or a path: set it in {variable}"
        ) from error


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


def architecture(*, dpkg: str) -> str:
    """Return the name that images have for dpkg's architecture."""
    return _ARCHITECTURES.get(dpkg, dpkg)


def platform(architecture: str) -> str:
    """Return what runtimes ask for to get an image of an architecture."""
    return f"linux/{_VARIANTS.get(architecture, architecture)}"


def node_architecture(*, run: Runner) -> str:
    """Return the architecture of the node's system, which may be another than its kernel's."""
    return architecture(dpkg=output_of(run, ["dpkg", "--print-architecture"]).strip())


def read_json(content: bytes | str, *, what: str) -> Any:
    """Read JSON that a runtime or an archive has."""
    try:
        return json.loads(content)
    except ValueError as error:
        raise ContainerImagesError(f"{what} is not JSON: {error}") from error


def image_of(name: str, configuration: bytes) -> Image:
    """Read what image a configuration is that of."""
    content = read_json(configuration, what=f"the configuration of {name}")
    digest = hashlib.sha256(configuration).hexdigest()
    return Image(name, str(content.get("architecture", "")), f"sha256:{digest}")


def images_below(*, name: str, digest: str, read: Reader, architecture: str | None = None) -> Iterator[Image]:
    """Follow an index or a manifest to the configurations that are there, of one architecture or of all."""
    content = read(digest)
    if content is None:
        return
    document = read_json(content, what=f"{digest} of {name}")
    for entry in document.get("manifests", ()):
        # An index also has what is not an image, such as attestations.
        of = entry.get("platform", {}).get("architecture")
        if of is None or (of != "unknown" and architecture in (None, of)):
            yield from images_below(name=name, digest=entry["digest"], read=read, architecture=architecture)
    if "config" in document:
        configuration = read(document["config"]["digest"])
        if configuration is not None:
            yield image_of(name, configuration)


class Need(NamedTuple):
    """An image of one architecture that nodes lack, or have in another version than the others."""

    name: str
    architecture: str
    nodes: tuple[str, ...]
    #: Where the wish for it can be corrected.
    variable: str


def needs(*, nodes: Mapping[str, Mapping[str, Any]]) -> list[Need]:
    """Compare what nodes want with what they have.

    Where nodes have different versions under one name, all of them are in need, as only the source's counts.
    """
    desired: dict[tuple[str, str], dict[str, Mapping[str, Any]]] = {}
    for node, state in nodes.items():
        for image in state["images"]:
            desired.setdefault((image["name"], state["architecture"]), {})[node] = image
    return [
        Need(name, of, tuple(entries), next(iter(entries.values()))["variable"])
        for (name, of), entries in sorted(desired.items())
        if len({entry["id"] for entry in entries.values()}) > 1
        or None in {entry["id"] for entry in entries.values()}
    ]
