# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetching the images that nodes lack, once, into archives that are passed on."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

from ansible_collections.bramble.pi.plugins.module_utils._common.commands import Runner
from ansible_collections.bramble.pi.plugins.module_utils._common.download import (
    check_sha256,
    check_url,
    download,
    file_sha256,
    unproved,
)
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._common.urls import is_url, public_url, url_path
from ansible_collections.bramble.pi.plugins.module_utils._containers import archive, images
from ansible_collections.bramble.pi.plugins.module_utils._containers.base import Runtime

_SRC = "src in image_cache_archives"
_SHA256 = "sha256 in image_cache_archives"


class Offer(NamedTuple):
    """The archive that an image is in, or is to be in."""

    path: str
    #: Unknown in check mode, as long as the image has not been fetched.
    id: str | None
    #: Whether this node's runtime has the image already.
    own: bool = False


class Load(NamedTuple):
    """An archive that a node has to load, and for the sake of which images."""

    path: str
    ids: dict[str, str | None]


class ImageFetch:
    """The images that nodes lack, and the one node that fetches them."""

    def __init__(
        self,
        *,
        runtime: Runtime,
        run: Runner,
        has: Callable[[str], object],
        check_mode: bool,
        nodes: Mapping[str, Mapping[str, Any]],
        source: str,
        directory: str,
        url: str,
        archives: Sequence[Mapping[str, Any]] = (),
        warn: Callable[[str], None],
        pull: bool = True,
    ) -> None:
        for item in archives:
            images.check_archive(item, variable="image_cache_archives")
        self.client = runtime.client(run=run, architecture=images.node_architecture(run=run))
        self.needs = images.needs(nodes=nodes)
        self._has = has
        self._check_mode = check_mode
        self._nodes = nodes
        self._source = source
        self._directory = directory
        self._url = url
        self._archives = archives
        self._pull = pull
        self._warn = warn
        #: What the runtime has for its own architecture.
        self.own: dict[str, images.Image] = {}
        self.offers: dict[images.Need, Offer] = {}
        #: Why an image is not available.
        self.reasons: dict[images.Need, str] = {}
        self.fetched: list[str] = []
        self._changed = False

    @property
    def changed(self) -> bool:
        """Tell whether anything was fetched or written, or in check mode would be."""
        return self._changed or bool(self._check_mode and self.offers)

    def fetch(self) -> None:
        """Find all that is needed, or say what cannot be found."""
        if not self.needs:
            return
        if not self._check_mode:
            os.makedirs(self._directory, mode=0o755, exist_ok=True)
        self.take_own()
        self.take_left()
        self.take_given()
        if self._pull:
            # Docker gives a name to what was pulled last, and that has to be the node's own.
            for need in sorted(
                self.missing(), key=lambda need: need.architecture == self.client.architecture
            ):
                self.pull(need)
        problems = [self.problem(need) for need in self.missing()]
        if problems:
            # What has been fetched stays for the next run.
            with contextlib.suppress(OSError):
                os.rmdir(self._directory)
            raise images.ContainerImagesError("\n".join(problems))

    def missing(self) -> list[images.Need]:
        """Return what has not been found yet."""
        return [need for need in self.needs if need not in self.offers]

    def problem(self, need: images.Need) -> str:
        """Say what is missing, who needs it and what fixes it."""
        reason = self.reasons.get(
            need, "it is in none of image_cache_archives, and image_cache_pull is false"
        )
        return (
            f"{need.name} for {need.architecture}, needed by {', '.join(need.nodes)}, is not available: "
            f"{reason}. Correct {need.variable}, or name an archive that has it for {need.architecture} in "
            "image_cache_archives"
        )

    def path(self, need: images.Need) -> str:
        """Return where the archive of an image is."""
        return os.path.join(
            self._directory, archive.archive_name(name=need.name, architecture=need.architecture)
        )

    def offer_from(self, path: str, needs: list[images.Need]) -> list[images.Image]:
        """Offer what of these needs an archive has."""
        found = archive.images_in(path)
        for need in needs:
            for image in found:
                if (image.name, image.architecture) == (need.name, need.architecture):
                    self.offers[need] = Offer(path, image.id)
        return found

    def take_own(self) -> None:
        """Take what the runtime has; an archive is made only if another node needs it."""
        if self._check_mode and not self._has(self.client.program):
            return
        self.own = self.client.images(
            names={need.name for need in self.needs if need.architecture == self.client.architecture}
        )
        for need in self.missing():
            if need.architecture == self.client.architecture and need.name in self.own:
                self.offer_own(need)

    def offer_own(self, need: images.Need) -> None:
        """Offer an image of the runtime, unless that has thrown away what the image was unpacked from."""
        image = self.own[need.name]
        path = self.path(need)
        offer = Offer(path, image.id, own=True)
        needed = not self._check_mode and self.lacking(need, offer)
        if needed and not (os.path.exists(path) and image in archive.images_in(path)):
            try:
                with archive.part_of(path) as part:
                    self.client.save(need.name, part)
            except BrambleError:
                return
            self._changed = True
        self.offers[need] = offer

    def lacking(self, need: images.Need, offer: Offer) -> list[str]:
        """Return the nodes that have to load an image, as they have none with the id on offer."""
        return [
            node
            for node in need.nodes
            for image in self._nodes[node]["images"]
            if image["name"] == need.name
            and (image["id"] is None or image["id"] != offer.id)
            and not (offer.own and node == self._source)
        ]

    def take_left(self) -> None:
        """Take archives that a run left which did not come to its end, or that were to be kept."""
        for need in self.missing():
            if os.path.exists(self.path(need)):
                self.offer_from(self.path(need), [need])

    def take_given(self) -> None:
        """Look into the archives that the user named, as long as something is missing."""
        for number, given in enumerate(self._archives):
            missing = self.missing()
            if not missing:
                return
            source = given["src"]
            if self._check_mode and is_url(source):
                check_url(source, variable=_SRC)
                self.fetched.append(public_url(source))
                continue
            path = self.given(number, source, given["sha256"])
            found = self.offer_from(path, missing)
            for need in self.missing():
                others = {image.architecture for image in found if image.name == need.name}
                if others:
                    self.reasons[need] = f"{source} has it only for {', '.join(sorted(others))}"

    def given(self, number: int, source: str, sha256: str | None) -> str:
        """Have an archive in the folder."""
        # Two of them may be called alike.
        name = os.path.basename(url_path(source) if is_url(source) else source)
        path = os.path.join(self._directory, f"given-{number}-{name}")
        if is_url(source):
            if not (sha256 and os.path.exists(path) and file_sha256(path) == sha256.lower()):
                download(url=source, path=path, sha256=sha256, variable=_SRC, checksum_variable=_SHA256)
                remedy = "set sha256 beside it in image_cache_archives"
                for warning in unproved(url=source, sha256=sha256, remedy=remedy):
                    self._warn(warning)
                self.fetched.append(public_url(source))
                self._changed = True
            return path
        if not os.path.exists(source):
            raise images.ContainerImagesError(
                f"{source} is not there: put it on this node, or correct src in image_cache_archives"
            )
        if sha256 is not None:
            check_sha256(name=source, seen=file_sha256(source), expected=sha256, variable=_SHA256)
        if self._check_mode:
            return source
        with archive.part_of(path) as part:
            shutil.copyfile(source, part)
        self._changed = True
        return path

    def pull(self, need: images.Need) -> None:
        """Fetch an image from its registry."""
        wish = f"{need.name} for {need.architecture}"
        if self._check_mode:
            own = need.architecture == self.client.architecture
            self.offers[need] = Offer(self.path(need), None, own=own)
            self.fetched.append(wish)
            return
        try:
            if need.architecture == self.client.architecture and need.name not in self.own:
                image = self.client.pull(need.name)
                if image is not None:
                    self.own[need.name] = image
                    self.offer_own(need)
            if need not in self.offers and (
                need.architecture != self.client.architecture or need.name in self.own
            ):
                with archive.part_of(self.path(need)) as part:
                    self.client.fetch_aside(need.name, need.architecture, part)
                self.offer_from(self.path(need), [need])
                if need not in self.offers:
                    os.unlink(self.path(need))
        except BrambleError as error:
            self.reasons[need] = str(error)
            return
        if need in self.offers:
            self.fetched.append(wish)
            self._changed = True
        else:
            self.reasons[need] = "the registry has it for another architecture only"

    def archives(self) -> dict[str, list[dict[str, object]]]:
        """Return what each node has to load, an archive once."""
        loads: dict[str, dict[str, Load]] = {}
        for need, offer in self.offers.items():
            for node in self.lacking(need, offer):
                load = loads.setdefault(node, {}).setdefault(offer.path, Load(offer.path, {}))
                load.ids[need.name] = offer.id
        paths = {path for entries in loads.values() for path in entries}
        checksums = {} if self._check_mode else {path: self.publish(path) for path in sorted(paths)}
        return {
            node: [
                {
                    "src": f"{self._url}/{quote(os.path.basename(load.path))}",
                    "sha256": checksums.get(load.path),
                    "images": list(load.ids),
                    "ids": {name: image for name, image in load.ids.items() if image is not None},
                }
                for load in entries.values()
            ]
            for node, entries in loads.items()
        }

    def publish(self, path: str) -> str:
        """Let the server read an archive, and return its checksum."""
        os.chmod(path, 0o644)
        return file_sha256(path)
