#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.container_images_info``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: container_images_info
short_description: Say which container images a node needs, and which of them it has
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
    description: Whose images kubelet uses.
    type: str
    choices: [containerd, docker]
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
  cri_socket:
    description: The socket of the runtime, in the form that kubeadm wants.
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
    cri_socket: unix:///run/containerd/containerd.sock
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

import os
import tempfile

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._containers import images as containers_images
from ansible_collections.bramble.pi.plugins.module_utils._containers.archive import (
    ImageArchiveError,
    normalize,
)
from ansible_collections.bramble.pi.plugins.module_utils._containers.runtime import (
    RuntimeConfigError,
    sandbox_image,
)
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.config import (
    KubeadmConfigError,
    dumped,
    minimal_documents,
)
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.node import KubeadmError, Node

#: Where to correct what kubeadm and containerd name.
_KUBEADM_VARIABLE = "kube_packages_version, or imageRepository in control_plane_cluster_configuration"
_SANDBOX_VARIABLE = "docker_sandbox_image"
_INSTALL = "run the playbook bramble.pi.site with --tags os_prep,docker,kube_packages before"


class ContainerImagesInfo:
    """The images of a node."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        runtime = containers_images.RUNTIMES[module.params["runtime"]]
        self.architecture = containers_images.node_architecture(run=module.run_command)
        self.runtime = runtime(run=module.run_command, architecture=self.architecture)
        self.unknown: list[str] = []

    def find(self) -> list[dict[str, str | None]]:
        """Return what is needed, and the ids of what is there."""
        has_runtime = self.has(self.runtime.program, "whether its images are there is")
        variables: dict[str, str] = {}
        for variable, names in self.module.params["images"].items():
            variables.update({normalize(name, variable=variable): variable for name in names})
        if self.module.params["kubernetes"]:
            if self.has("kubeadm", "its images are"):
                for name in self.kubeadm_images():
                    variables.setdefault(name, _KUBEADM_VARIABLE)
            sandbox = self.sandbox_image() if has_runtime else None
            if sandbox:
                variables.setdefault(normalize(sandbox, variable=_SANDBOX_VARIABLE), _SANDBOX_VARIABLE)
        present = self.runtime.images(names=set(variables)) if has_runtime else {}
        return [
            {"name": name, "variable": variable, "id": present[name].id if name in present else None}
            for name, variable in variables.items()
        ]

    def has(self, program: str, what: str) -> bool:
        """Tell whether a program is there; only in check mode it may be missing."""
        if self.module.get_bin_path(program) is not None:
            return True
        if not self.module.check_mode:
            raise containers_images.ContainerImagesError(
                f"{program} is not installed on this node: {_INSTALL}"
            )
        self.unknown.append(f"{program} is not installed yet; {what} not known")
        return False

    def kubeadm_images(self) -> list[str]:
        """Ask kubeadm for its images, without its asking the internet for the newest version."""
        node = Node(run=self.module.run_command)
        documents = minimal_documents(
            version=node.api_version(),
            kubernetes_version=node.release(),
            cri_socket=self.module.params["cri_socket"],
            cluster_configuration=self.module.params["cluster_configuration"],
        )
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "kubeadm.json")
            with open(path, "w", encoding="utf-8") as file:
                file.write(dumped(documents=documents))
            output = self.runtime.do(["kubeadm", "config", "images", "list", "--config", path])
        return containers_images.kubeadm_images(
            text=output, control_plane=self.module.params["control_plane"]
        )

    def sandbox_image(self) -> str | None:
        """Ask containerd, which makes sandboxes of an image of its own choice."""
        if self.module.params["runtime"] != "containerd":
            return None
        return sandbox_image(dump=self.runtime.do(["containerd", "config", "dump"]))


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "runtime": {"type": "str", "choices": ["containerd", "docker"], "required": True},
            "images": {"type": "dict", "default": {}},
            "kubernetes": {"type": "bool", "default": True},
            "control_plane": {"type": "bool", "default": False},
            "cri_socket": {"type": "str"},
            "cluster_configuration": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    try:
        info = ContainerImagesInfo(module)
        images = info.find()
    except (
        containers_images.ContainerImagesError,
        ImageArchiveError,
        KubeadmConfigError,
        KubeadmError,
        RuntimeConfigError,
    ) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, architecture=info.architecture, images=images, unknown=info.unknown)


if __name__ == "__main__":
    main()
