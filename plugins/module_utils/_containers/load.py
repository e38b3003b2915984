# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Importing images from archives into the runtime of a node."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._common.commands import Runner
from ansible_collections.bramble.pi.plugins.module_utils._common.download import (
    check_sha256,
    download,
    file_sha256,
    unproved,
)
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._common.urls import is_url
from ansible_collections.bramble.pi.plugins.module_utils._containers import archive, images
from ansible_collections.bramble.pi.plugins.module_utils._containers.base import Runtime

#: Where a large file does not lie in memory.
_DOWNLOADS = "/var/tmp"  # noqa: S108 - the file is in a private directory there


class ImageArchives:
    """Archives, and the images of a runtime on this node."""

    def __init__(
        self,
        *,
        runtime: Runtime,
        run: Runner,
        has: Callable[[str], object],
        check_mode: bool,
        archives: Sequence[Mapping[str, Any]],
        variable: str,
        warn: Callable[[str], None],
    ) -> None:
        for item in archives:
            images.check_archive(item, variable=variable)
        self.client = runtime.client(run=run, architecture=images.node_architecture(run=run))
        self.archives = [
            archive.Archive(item["src"], item["images"], item["sha256"], item["ids"]) for item in archives
        ]
        self._has = has
        self._check_mode = check_mode
        #: Where the archives are named, for messages.
        self._variable = variable
        self._warn = warn

    def ensure(self) -> list[str]:
        """Import what is missing, and return it."""
        names = {
            images.normalize(image, variable=self._variable)
            for wish in self.archives
            for image in wish.images
        }
        present = self.present_images(names)
        imported: list[str] = []
        for wish in self.archives:
            missing = archive.missing_images(archive=wish, present=present)
            if missing and not self._check_mode:
                self.import_archive(wish)
                present = self.present_images(names)
                lacking = archive.missing_images(archive=wish, present=present)
                if lacking:
                    raise images.ContainerImagesError(
                        f"{wish.source} was imported, and {', '.join(lacking)} for "
                        f"{self.client.architecture} is still missing: correct the archive, or its images "
                        f"in {self._variable}"
                    )
            imported += missing
        return imported

    def present_images(self, names: set[str]) -> dict[str, str]:
        """Ask the runtime for the ids of images."""
        if self._check_mode and not self._has(self.client.program):
            return {}
        return {name: image.id for name, image in self.client.images(names=names).items()}

    def import_archive(self, wish: archive.Archive) -> None:
        """Import an archive, downloading it before if it is elsewhere."""
        checksum_variable = f"sha256 in {self._variable}"
        if not is_url(wish.source):
            if not os.path.exists(wish.source):
                raise images.ContainerImagesError(
                    f"{wish.source} is not there, needed for {', '.join(wish.images)}: put it on the "
                    f"node, or correct src in {self._variable}"
                )
            if wish.sha256 is not None:
                seen = file_sha256(wish.source)
                check_sha256(name=wish.source, seen=seen, expected=wish.sha256, variable=checksum_variable)
            self.import_file(wish, wish.source)
            return
        with tempfile.TemporaryDirectory(dir=_DOWNLOADS) as directory:
            path = os.path.join(directory, "images.tar")
            download(
                url=wish.source,
                path=path,
                sha256=wish.sha256,
                variable=f"src in {self._variable}",
                checksum_variable=checksum_variable,
            )
            remedy = f"set sha256 beside it in {self._variable}"
            for warning in unproved(url=wish.source, sha256=wish.sha256, remedy=remedy):
                self._warn(warning)
            self.import_file(wish, path)

    def import_file(self, wish: archive.Archive, path: str) -> None:
        """Have the runtime import a file."""
        try:
            self.client.load(path, names={images.normalize(image) for image in wish.images})
        except BrambleError as error:
            raise images.ContainerImagesError(f"{wish.source} cannot be imported: {error}") from error
