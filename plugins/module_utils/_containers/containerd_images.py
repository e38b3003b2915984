# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""containerd's images, by its own client."""

from __future__ import annotations

import os
import re
from collections.abc import Collection

from ansible_collections.bramble.pi.plugins.module_utils._containers import base, images, mirrors

#: The namespace that kubelet uses.
NAMESPACE = "k8s.io"
#: Where images are for a moment that are not to take the place of the node's own.
_ASIDE = "bramble-images"
#: A line of ctr images check; the size has blanks in it.
_CHECKED = re.compile(r"(?P<name>\S+) +\S+ +(?P<digest>sha256:[0-9a-f]{64}) +\S+ .* (?P<unpacked>true|false)")


def usable(*, text: str) -> dict[str, str]:
    """Read what ctr images check says: the digests of images that containers can be made of, by name."""
    matches = (_CHECKED.match(line) for line in text.splitlines())
    return {
        match["name"]: match["digest"]
        for match in matches
        # Layers that were unpacked may have been thrown away, so that an image is not complete any more.
        if match and match["unpacked"] == "true"
    }


class ContainerdImages(base.ImageClient):
    """containerd's images, in the namespace that kubelet uses."""

    program = "ctr"
    remove_command = ("ctr", "--namespace", NAMESPACE, "images", "rm")

    def images(self, *, names: Collection[str]) -> dict[str, images.Image]:
        command = ["ctr", "--namespace", NAMESPACE, "images", "check"]
        output = self._run(command)[1]
        # It fails for an image of another architecture, and tells of the others all the same.
        if not output.startswith("REF"):
            output = self.do(command)
        found: dict[str, images.Image] = {}
        for name, digest in usable(text=output).items():
            if name in names:
                for image in images.images_below(
                    name=name, digest=digest, read=self._read, architecture=self.architecture
                ):
                    if image.architecture == self.architecture:
                        found.setdefault(name, image)
        return found

    def _read(self, digest: str) -> bytes | None:
        code, output, _error = self._run(["ctr", "--namespace", NAMESPACE, "content", "get", digest])
        return output.encode(errors="surrogateescape") if code == 0 else None

    @staticmethod
    def _hosts() -> list[str]:
        return ["--hosts-dir", mirrors.HOSTS] if os.path.isdir(mirrors.HOSTS) else []

    def _pull(self, name: str, architecture: str) -> None:
        self.do(
            [
                *("ctr", "--namespace", NAMESPACE, "images", "pull", *self._hosts()),
                *("--platform", images.platform(architecture), name),
            ]
        )

    def _export(self, namespace: str, name: str, architecture: str, path: str) -> None:
        self.do(
            [
                *("ctr", "--namespace", namespace, "images", "export"),
                *("--platform", images.platform(architecture), path, name),
            ]
        )

    def save(self, name: str, path: str) -> None:
        self._export(NAMESPACE, name, self.architecture, path)

    def fetch_aside(self, name: str, architecture: str, path: str) -> None:
        ctr = ["ctr", "--namespace", _ASIDE]
        try:
            # What is fetched so is not unpacked.
            self.do(
                [*ctr, "content", "fetch", *self._hosts(), "--platform", images.platform(architecture), name]
            )
            self._export(_ASIDE, name, architecture, path)
        finally:
            self._run([*ctr, "images", "rm", "--sync", name])
            self._run(["ctr", "namespaces", "rm", _ASIDE])

    def _load(self, path: str) -> None:
        # By itself it also wants what the node could run beside its own: 386 on amd64, arm on arm64.
        self.do(
            [
                *("ctr", "--namespace", NAMESPACE, "images", "import"),
                *("--platform", images.platform(self.architecture), path),
            ]
        )
