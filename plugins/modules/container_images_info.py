#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.container_images_info``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: container_images_info
short_description: List the container images that a node needs, and which of them it has
version_added: '0.1.0'
description:
  - Adds to the images given those that the installed kubeadm names, without those that a worker does not
    run, and the one that containerd makes pods' sandboxes of.
  - An image counts as there if the runtime has it for the node's architecture.
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
    description: What kubelet runs containers by.
    type: str
    choices: [containerd, cri_dockerd, dockershim]
    required: true
  images:
    description: Images beside those that the node itself names, in lists by the variable that they come from.
    type: dict
    default: {}
  kubernetes:
    description: Whether the images of Kubernetes and of the sandboxes belong to it.
    type: bool
    default: true
  control_plane:
    description: Whether the node is a control plane.
    type: bool
    default: false
  kubernetes_version:
    description: The version whose images of Kubernetes are meant, such as V(1.37.0). By default that of the
      installed kubeadm, which for a newer version names its own etcd and CoreDNS.
    type: str
  cluster_configuration:
    description: Values of kubeadm's C(ClusterConfiguration), which may name another C(imageRepository).
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Find out which images are needed and there
  bramble.pi.container_images_info:
    runtime: containerd
    control_plane: true
    images:
      image_cache_images: [ghcr.io/me/app:1]
  register: found
"""

RETURN = r"""
architecture:
  description: The architecture of the node's system, as images name it.
  returned: success
  type: str
  sample: arm64
images:
  description: The images that the node needs.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name and tag, spelled out.
      returned: success
      type: str
      sample: docker.io/library/busybox:latest
    variable:
      description: The variable that it comes from.
      returned: success
      type: str
      sample: image_cache_images
    id:
      description: The digest of its configuration; none if it is not there.
      returned: success
      type: str
      sample: sha256:5b434d7842fc62e260c1d242ce476b355976888c0ad87053db7cec8bb949b3ba
unknown:
  description: In check mode, what cannot be known yet.
  returned: success
  type: list
  elements: str
  sample: [kubeadm is not installed yet; its images are not known]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import module_errors
from ansible_collections.bramble.pi.plugins.module_utils._containers.runtime import RUNTIMES
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.images import NeededImages


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "runtime": {"type": "str", "choices": list(RUNTIMES), "required": True},
            "images": {"type": "dict", "default": {}},
            "kubernetes": {"type": "bool", "default": True},
            "control_plane": {"type": "bool", "default": False},
            "kubernetes_version": {"type": "str"},
            "cluster_configuration": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    parameters = dict(module.params)
    with module_errors(module):
        node = NeededImages(
            runtime=RUNTIMES[parameters.pop("runtime")],
            run=module.run_command,
            has=module.get_bin_path,
            check_mode=module.check_mode,
        )
        images = node.find(images_by_variable=parameters.pop("images"), **parameters)
    module.exit_json(changed=False, architecture=node.architecture, images=images, unknown=node.unknown)


if __name__ == "__main__":
    main()
