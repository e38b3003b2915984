#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.container_images_fetch``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: container_images_fetch
short_description: Fetch the container images that nodes lack, once, into archives to pass on
version_added: '0.1.0'
description:
  - Writes an archive of each image and architecture that a node lacks, or has with another id than the
    others.
  - An image is taken from where it is first found - this node's runtime, archives left from before,
    O(archives), and the registry, by this node's runtime and its settings.
  - Images of other architectures do not become images of this node.
author:
  - bramble.pi contributors (@bramble-pi)
extends_documentation_fragment:
  - bramble.pi.attributes
attributes:
  check_mode:
    support: partial
    details: An archive that is yet to be downloaded is not looked into; its images count as fetched.
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  runtime:
    description: The runtime of this node.
    type: str
    choices: [containerd, docker]
    required: true
  nodes:
    description: What M(bramble.pi.container_images_info) says of each node, by the node's name.
    type: dict
    required: true
  source:
    description: The name of this node among them.
    type: str
    required: true
  directory:
    description: Where the archives are written to. Nothing else should be in it.
    type: path
    required: true
  url:
    description: Where the nodes will find that folder.
    type: str
    required: true
  archives:
    description: Archives that images may be in.
    type: list
    elements: dict
    default: []
    suboptions:
      src:
        description: A URL, which this node downloads, or a path on this node.
        type: str
        required: true
      sha256:
        description: Checksum of the archive.
        type: str
  pull:
    description: Whether a registry is asked for what is in no archive.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Fetch what the nodes lack
  bramble.pi.container_images_fetch:
    runtime: containerd
    source: pi-1
    directory: /var/cache/bramble-images
    url: http://10.0.0.11:8470
    nodes:
      pi-2:
        architecture: arm64
        images:
          - name: docker.io/library/busybox:latest
            variable: image_cache_images
            id:
"""

RETURN = r"""
fetched:
  description: What was fetched from outside, or would be.
  returned: success
  type: list
  elements: str
  sample: [docker.io/library/busybox:latest for arm64]
archives:
  description: For each node the archives of what it lacks, as M(bramble.pi.image_archives) takes them.
  returned: success
  type: dict
  sample:
    pi-2:
      - src: http://10.0.0.11:8470/docker.io_library_busybox_latest-arm64-9f86d081.tar
        images: [docker.io/library/busybox:latest]
        ids:
          docker.io/library/busybox:latest: >-
            sha256:5b434d7842fc62e260c1d242ce476b355976888c0ad87053db7cec8bb949b3ba
        sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
"""

import contextlib
import os
import shutil
import tarfile
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common.download import (
    DownloadError,
    check_sha256,
    download,
    file_sha256,
    is_url,
    public_url,
)
from ansible_collections.bramble.pi.plugins.module_utils._containers import images as containers_images
from ansible_collections.bramble.pi.plugins.module_utils._containers.archive import ImageArchiveError


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


class ContainerImagesFetch:
    """The images that nodes lack."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.directory: str = module.params["directory"]
        self.nodes = module.params["nodes"]
        architecture = containers_images.node_architecture(run=module.run_command)
        self.runtime = containers_images.RUNTIMES[module.params["runtime"]](
            run=module.run_command, architecture=architecture
        )
        self.needs = containers_images.needs(nodes=self.nodes)
        #: What the runtime has for its own architecture.
        self.own: dict[str, containers_images.Image] = {}
        self.offers: dict[containers_images.Need, Offer] = {}
        #: Why an image cannot be had.
        self.reasons: dict[containers_images.Need, str] = {}
        self.fetched: list[str] = []
        self.changed = False

    def fetch(self) -> None:
        """Find all that is needed, or say what cannot be found."""
        if not self.needs:
            return
        if not self.module.check_mode:
            os.makedirs(self.directory, mode=0o755, exist_ok=True)
        self.take_own()
        self.take_left()
        self.take_given()
        if self.module.params["pull"]:
            # Docker gives a name to what was pulled last, and that has to be the node's own.
            for need in sorted(
                self.missing(), key=lambda need: need.architecture == self.runtime.architecture
            ):
                self.pull(need)
        problems = [self.problem(need) for need in self.missing()]
        if problems:
            # What has been fetched stays for the next run.
            with contextlib.suppress(OSError):
                os.rmdir(self.directory)
            raise containers_images.ContainerImagesError("\n".join(problems))

    def missing(self) -> list[containers_images.Need]:
        """Return what has not been found yet."""
        return [need for need in self.needs if need not in self.offers]

    def problem(self, need: containers_images.Need) -> str:
        """Say what is missing, who wants it and what mends it."""
        reason = self.reasons.get(
            need, "it is in none of image_cache_archives, and image_cache_pull is false"
        )
        return (
            f"{need.name} for {need.architecture}, wanted by {', '.join(need.nodes)}, cannot be had: "
            f"{reason}. Correct {need.variable}, or name an archive that has it for {need.architecture} in "
            "image_cache_archives"
        )

    def path(self, need: containers_images.Need) -> str:
        """Return where the archive of an image is."""
        return os.path.join(
            self.directory, containers_images.archive_name(name=need.name, architecture=need.architecture)
        )

    def images_in(self, path: str) -> list[containers_images.Image]:
        """Read which images an archive has."""
        try:
            with tarfile.open(path) as archive:
                members = {member.name.removeprefix("./"): member for member in archive.getmembers()}

                def read(name: str) -> bytes:
                    file = archive.extractfile(members[name])
                    return file.read() if file else b""

                return containers_images.archive_images(members=members, read=read)
        except (OSError, tarfile.TarError, KeyError, containers_images.ContainerImagesError) as error:
            raise containers_images.ContainerImagesError(
                f"{path} cannot be read as an archive of images: {error}"
            ) from error

    def offer_from(self, path: str, needs: list[containers_images.Need]) -> list[containers_images.Image]:
        """Offer what of these needs an archive has."""
        images = self.images_in(path)
        for need in needs:
            for image in images:
                if (image.name, image.architecture) == (need.name, need.architecture):
                    self.offers[need] = Offer(path, image.id)
        return images

    def take_own(self) -> None:
        """Take what the runtime has; an archive is made only if another node needs it."""
        if self.module.check_mode and self.module.get_bin_path(self.runtime.program) is None:
            return
        self.own = self.runtime.images(
            names={need.name for need in self.needs if need.architecture == self.runtime.architecture}
        )
        for need in self.missing():
            if need.architecture == self.runtime.architecture and need.name in self.own:
                self.offer_own(need)

    def offer_own(self, need: containers_images.Need) -> None:
        """Offer an image of the runtime, unless that has thrown away what the image was unpacked from."""
        image = self.own[need.name]
        path = self.path(need)
        offer = Offer(path, image.id, own=True)
        wanted = not self.module.check_mode and self.lacking(need, offer)
        if wanted and not (os.path.exists(path) and image in self.images_in(path)):
            try:
                with containers_images.part_of(path) as part:
                    self.runtime.save(need.name, part)
            except containers_images.ContainerImagesError:
                return
            self.changed = True
        self.offers[need] = offer

    def lacking(self, need: containers_images.Need, offer: Offer) -> list[str]:
        """Return the nodes that have to load an image, as they have none with the id on offer."""
        return [
            node
            for node in need.nodes
            for image in self.nodes[node]["images"]
            if image["name"] == need.name
            and (image["id"] is None or image["id"] != offer.id)
            and not (offer.own and node == self.module.params["source"])
        ]

    def take_left(self) -> None:
        """Take archives that a run left which did not come to its end, or that were to be kept."""
        for need in self.missing():
            if os.path.exists(self.path(need)):
                self.offer_from(self.path(need), [need])

    def take_given(self) -> None:
        """Look into the archives that the user named, as long as something is missing."""
        for number, archive in enumerate(self.module.params["archives"]):
            missing = self.missing()
            if not missing:
                return
            source = archive["src"]
            if self.module.check_mode and is_url(source):
                self.fetched.append(public_url(source))
                continue
            path = self.given(number, source, archive["sha256"])
            images = self.offer_from(path, missing)
            for need in self.missing():
                others = {image.architecture for image in images if image.name == need.name}
                if others:
                    self.reasons[need] = f"{source} has it only for {', '.join(sorted(others))}"

    def given(self, number: int, source: str, sha256: str | None) -> str:
        """Have an archive in the folder."""
        # Two of them may be called alike.
        name = os.path.basename(urlsplit(source).path if is_url(source) else source)
        path = os.path.join(self.directory, f"given-{number}-{name}")
        if is_url(source):
            if not (sha256 and os.path.exists(path) and file_sha256(path) == sha256.lower()):
                download(url=source, path=path, sha256=sha256)
                self.fetched.append(public_url(source))
                self.changed = True
            return path
        if not os.path.exists(source):
            raise containers_images.ContainerImagesError(
                f"{source} is not there: put it on this node, or correct src in image_cache_archives"
            )
        if sha256 is not None:
            check_sha256(name=source, seen=file_sha256(source), wanted=sha256)
        if self.module.check_mode:
            return source
        with containers_images.part_of(path) as part:
            shutil.copyfile(source, part)
        self.changed = True
        return path

    def pull(self, need: containers_images.Need) -> None:
        """Fetch an image from its registry."""
        wish = f"{need.name} for {need.architecture}"
        if self.module.check_mode:
            own = need.architecture == self.runtime.architecture
            self.offers[need] = Offer(self.path(need), None, own=own)
            self.fetched.append(wish)
            return
        try:
            if need.architecture == self.runtime.architecture and need.name not in self.own:
                image = self.runtime.pull(need.name)
                if image is not None:
                    self.own[need.name] = image
                    self.offer_own(need)
            if need not in self.offers and (
                need.architecture != self.runtime.architecture or need.name in self.own
            ):
                with containers_images.part_of(self.path(need)) as part:
                    self.runtime.fetch_aside(need.name, need.architecture, part)
                self.offer_from(self.path(need), [need])
                if need not in self.offers:
                    os.unlink(self.path(need))
        except containers_images.ContainerImagesError as error:
            self.reasons[need] = str(error)
            return
        if need in self.offers:
            self.fetched.append(wish)
            self.changed = True
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
        checksums = {} if self.module.check_mode else {path: self.publish(path) for path in sorted(paths)}
        return {
            node: [
                {
                    "src": f"{self.module.params['url']}/{quote(os.path.basename(load.path))}",
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


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "runtime": {"type": "str", "choices": ["containerd", "docker"], "required": True},
            "nodes": {"type": "dict", "required": True},
            "source": {"type": "str", "required": True},
            "directory": {"type": "path", "required": True},
            "url": {"type": "str", "required": True},
            "archives": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {"src": {"type": "str", "required": True}, "sha256": {"type": "str"}},
            },
            "pull": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    try:
        work = ContainerImagesFetch(module)
        work.fetch()
        archives = work.archives()
    except (containers_images.ContainerImagesError, ImageArchiveError, DownloadError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=work.changed or bool(module.check_mode and work.offers),
        fetched=work.fetched,
        archives=archives,
    )


if __name__ == "__main__":
    main()
