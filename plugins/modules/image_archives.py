#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.image_archives``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: image_archives
short_description: Import container images from archives
version_added: '0.1.0'
description:
  - Imports those archives of which the runtime lacks an image, for racks without a registry. An image of
    another architecture than the node's counts as lacking.
  - Archives are as C(docker image save) and C(podman save) write them, or of the OCI image layout.
author:
  - bramble.pi contributors (@bramble-pi)
extends_documentation_fragment:
  - bramble.pi.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  runtime:
    description:
      - Whose images kubelet uses. For V(containerd) they are imported into its namespace C(k8s.io).
    type: str
    choices: [containerd, docker]
    required: true
  archives:
    description: The archives.
    type: list
    elements: dict
    required: true
    suboptions:
      src:
        description: A URL, which the node downloads, or a path on the node.
        type: str
        required: true
      images:
        description: The images in it, by name and tag.
        type: list
        elements: str
        required: true
      sha256:
        description: Checksum of the archive.
        type: str
      ids:
        description:
          - The ids of images in it, by the names in O(archives[].images). An image that is there with
            another id counts as lacking.
        type: dict
        default: {}
  variable:
    description: The variable that the archives come from, for messages.
    type: str
    default: kube_packages_image_archives
"""

EXAMPLES = r"""
- name: Import images from the head node
  bramble.pi.image_archives:
    runtime: containerd
    archives:
      - src: http://192.168.1.2/images/pause.tar
        images: [registry.k8s.io/pause:3.10]
        sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
"""

RETURN = r"""
imported:
  description: The images that were missing and have been imported, or would be.
  returned: success
  type: list
  elements: str
  sample: [registry.k8s.io/pause:3.10]
"""

import os
import tempfile

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common.download import (
    DownloadError,
    check_sha256,
    download,
    file_sha256,
    is_url,
)
from ansible_collections.bramble.pi.plugins.module_utils._containers import archive as containers_archive
from ansible_collections.bramble.pi.plugins.module_utils._containers.images import (
    RUNTIMES,
    ContainerImagesError,
    node_architecture,
)

#: Where a large file does not lie in memory.
_DOWNLOADS = "/var/tmp"  # noqa: S108 - the file is in a private directory there


class ImageArchives:
    """The images of a runtime on this node."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.variable: str = module.params["variable"]
        runtime = RUNTIMES[module.params["runtime"]]
        self.runtime = runtime(run=module.run_command, architecture=node_architecture(run=module.run_command))

    def ensure(self) -> list[str]:
        """Import what is missing, and return it."""
        archives = [
            containers_archive.Archive(item["src"], item["images"], item["sha256"], item["ids"])
            for item in self.module.params["archives"]
        ]
        names = {
            containers_archive.normalize(image, variable=self.variable)
            for archive in archives
            for image in archive.images
        }
        present = self.present_images(names)
        imported: list[str] = []
        for archive in archives:
            missing = containers_archive.missing_images(archive=archive, present=present)
            if missing and not self.module.check_mode:
                self.import_archive(archive)
                present = self.present_images(names)
                lacking = containers_archive.missing_images(archive=archive, present=present)
                if lacking:
                    raise containers_archive.ImageArchiveError(
                        f"{archive.source} was imported, and {', '.join(lacking)} for "
                        f"{self.runtime.architecture} is still missing: correct the archive, or its images "
                        f"in {self.variable}"
                    )
            imported += missing
        return imported

    def present_images(self, names: set[str]) -> dict[str, str]:
        """Ask the runtime for the ids of images."""
        if self.module.check_mode and self.module.get_bin_path(self.runtime.program) is None:
            return {}
        return {name: image.id for name, image in self.runtime.images(names=names).items()}

    def import_archive(self, archive: containers_archive.Archive) -> None:
        """Import an archive, downloading it before if it is elsewhere."""
        if not is_url(archive.source):
            if not os.path.exists(archive.source):
                raise containers_archive.ImageArchiveError(
                    f"{archive.source} is not there, wanted for {', '.join(archive.images)}: put it on the "
                    f"node, or correct src in {self.variable}"
                )
            if archive.sha256 is not None:
                check_sha256(name=archive.source, seen=file_sha256(archive.source), wanted=archive.sha256)
            self.import_file(archive, archive.source)
            return
        with tempfile.TemporaryDirectory(dir=_DOWNLOADS) as directory:
            path = os.path.join(directory, "images.tar")
            download(url=archive.source, path=path, sha256=archive.sha256)
            self.import_file(archive, path)

    def import_file(self, archive: containers_archive.Archive, path: str) -> None:
        """Have the runtime import a file."""
        try:
            self.runtime.load(path, names={containers_archive.normalize(image) for image in archive.images})
        except ContainerImagesError as error:
            raise containers_archive.ImageArchiveError(
                f"{archive.source} cannot be imported: {error}"
            ) from error


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "runtime": {"type": "str", "choices": ["containerd", "docker"], "required": True},
            "archives": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "src": {"type": "str", "required": True},
                    "images": {"type": "list", "elements": "str", "required": True},
                    "sha256": {"type": "str"},
                    "ids": {"type": "dict", "default": {}},
                },
            },
            "variable": {"type": "str", "default": "kube_packages_image_archives"},
        },
        supports_check_mode=True,
    )
    try:
        imported = ImageArchives(module).ensure()
    except (containers_archive.ImageArchiveError, ContainerImagesError, DownloadError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(imported), imported=imported)


if __name__ == "__main__":
    main()
