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
      - What kubelet runs containers by. For V(containerd) they are imported into its namespace C(k8s.io).
    type: str
    choices: [containerd, cri_dockerd, dockershim]
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

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import module_errors
from ansible_collections.bramble.pi.plugins.module_utils._containers.load import ImageArchives
from ansible_collections.bramble.pi.plugins.module_utils._containers.runtime import RUNTIMES


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "runtime": {"type": "str", "choices": list(RUNTIMES), "required": True},
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
    parameters = dict(module.params)
    with module_errors(module):
        imported = ImageArchives(
            runtime=RUNTIMES[parameters.pop("runtime")],
            run=module.run_command,
            has=module.get_bin_path,
            check_mode=module.check_mode,
            warn=module.warn,
            **parameters,
        ).ensure()
    module.exit_json(changed=bool(imported), imported=imported)


if __name__ == "__main__":
    main()
