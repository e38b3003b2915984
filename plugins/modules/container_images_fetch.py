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
    description: What the kubelet of this node runs containers by.
    type: str
    choices: [containerd, cri_dockerd, dockershim]
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

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import module_errors
from ansible_collections.bramble.pi.plugins.module_utils._containers.fetch import ImageFetch
from ansible_collections.bramble.pi.plugins.module_utils._containers.runtime import RUNTIMES


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "runtime": {"type": "str", "choices": list(RUNTIMES), "required": True},
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
    parameters = dict(module.params)
    with module_errors(module):
        work = ImageFetch(
            runtime=RUNTIMES[parameters.pop("runtime")],
            run=module.run_command,
            has=module.get_bin_path,
            check_mode=module.check_mode,
            warn=module.warn,
            **parameters,
        )
        work.fetch()
        archives = work.archives()
    module.exit_json(changed=work.changed, fetched=work.fetched, archives=archives)


if __name__ == "__main__":
    main()
