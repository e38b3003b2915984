# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which container images a node needs, by its kubeadm, its runtime and its user, and which of them it has."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._common.commands import Runner, output_of
from ansible_collections.bramble.pi.plugins.module_utils._containers import images
from ansible_collections.bramble.pi.plugins.module_utils._containers.base import Runtime
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import config
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.node import Node

#: Of kubeadm's list, what no worker runs.
_CONTROL_PLANE = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd")
#: Where to correct what kubeadm and containerd name.
_KUBEADM_VARIABLE = "kube_packages_version, or imageRepository in control_plane_cluster_configuration"
_SANDBOX_VARIABLE = "docker_sandbox_image"
_INSTALL = "run the playbook bramble.pi.site with --tags os_prep,docker,kube_packages before"


def kubeadm_images(*, text: str, control_plane: bool) -> list[str]:
    """Read kubeadm's list of images, without those that a worker does not run."""
    names = [images.spell_out(line.strip()) for line in text.splitlines() if line.strip()]
    return [
        name
        for name in names
        if control_plane or name.rpartition(":")[0].rpartition("/")[2] not in _CONTROL_PLANE
    ]


class NeededImages:
    """The images of a node."""

    def __init__(
        self, *, runtime: Runtime, run: Runner, has: Callable[[str], object], check_mode: bool
    ) -> None:
        self.architecture = images.node_architecture(run=run)
        #: What cannot be told in check mode, as it is not installed yet.
        self.unknown: list[str] = []
        self._runtime = runtime
        self._client = runtime.client(run=run, architecture=self.architecture)
        self._run = run
        self._has = has
        self._check_mode = check_mode

    def find(
        self,
        *,
        images_by_variable: Mapping[str, Sequence[str]],
        kubernetes: bool,
        control_plane: bool,
        cluster_configuration: Mapping[str, Any],
        kubernetes_version: str | None = None,
    ) -> list[dict[str, str | None]]:
        """Return what is needed, and the ids of what is there."""
        has_runtime = self._is_there(self._client.program, "whether its images are there is")
        variables: dict[str, str] = {}
        for variable, names in images_by_variable.items():
            variables.update({images.normalize(name, variable=variable): variable for name in names})
        if kubernetes:
            if self._is_there("kubeadm", "its images are"):
                output = self._kubeadm_list(
                    cluster_configuration=cluster_configuration, version=kubernetes_version
                )
                for name in kubeadm_images(text=output, control_plane=control_plane):
                    variables.setdefault(name, _KUBEADM_VARIABLE)
            sandbox = self._runtime.sandbox_image(run=self._run) if has_runtime else None
            if sandbox:
                variables.setdefault(images.normalize(sandbox, variable=_SANDBOX_VARIABLE), _SANDBOX_VARIABLE)
        present = self._client.images(names=set(variables)) if has_runtime else {}
        return [
            {"name": name, "variable": variable, "id": present[name].id if name in present else None}
            for name, variable in variables.items()
        ]

    def _is_there(self, program: str, what: str) -> bool:
        """Tell whether a program is there; only in check mode it may be missing."""
        if self._has(program):
            return True
        if not self._check_mode:
            raise images.ContainerImagesError(f"{program} is not installed on this node: {_INSTALL}")
        self.unknown.append(f"{program} is not installed yet; {what} not known")
        return False

    def _kubeadm_list(self, *, cluster_configuration: Mapping[str, Any], version: str | None) -> str:
        """Ask kubeadm for its images, without its asking the internet for the newest version."""
        node = Node(run=self._run)
        documents = config.minimal_documents(
            version=node.api_version(),
            kubernetes_version=f"v{version}" if version else node.release(),
            cri_socket=self._runtime.socket,
            cluster_configuration=cluster_configuration,
        )
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "kubeadm.json")
            with open(path, "w", encoding="utf-8") as file:
                file.write(config.dumped(documents=documents))
            return output_of(
                self._run, ["kubeadm", "config", "images", "list", "--config", path], last_line=True
            )
