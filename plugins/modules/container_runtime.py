#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.container_runtime``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: container_runtime
short_description: Configure Docker and containerd for Kubernetes
version_added: '0.1.0'
description:
  - Installs Docker if there is none, from the distribution; one that is installed, from any source, is kept.
  - Merges settings into C(/etc/docker/daemon.json). Keys that are there and not named stay as they are.
    In C(exec-opts) and C(storage-opts) an entry takes the place of the one with the same key; others stay.
    Where another log or storage driver is asked for, the options of the one before go with it.
  - For O(runtime=containerd) edits C(/etc/containerd/config.toml), in the config version that the file has,
    so that the CRI plugin is enabled and the runtime that C(default_runtime_name) names uses the systemd
    cgroup driver. The installed containerd is asked what it makes of the new text before the file is
    replaced.
  - Enables and starts the services, and restarts only those whose configuration or program is newer than they
    are.
  - On a node of a cluster that is not O(drained), what its pods would feel is left undone, with all else, and
    told of by RV(drain_required). Before that, new archives are downloaded and proved, and Docker's packages
    are simulated, so that what fails does so before the node is drained.
  - With O(containerd_source=docker) or O(containerd_source=archive), containerd is replaced; what is in
    C(/var/lib/containerd) and C(/var/lib/docker) stays; containers that run may be started again once.
  - Checks with C(docker info) that the settings took effect and that Docker can set limits, and for
    O(runtime=containerd) that containerd serves CRI.
author:
  - bramble.pi contributors (@bramble-pi)
extends_documentation_fragment:
  - bramble.pi.attributes
attributes:
  check_mode:
    support: partial
    details:
      - Where Docker is not installed yet, containerd's new configuration is announced and not shown.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  runtime:
    description: What kubelet will talk to.
    type: str
    choices: [containerd, cri_dockerd, dockershim]
    required: true
  packages:
    description:
      - Packages to install if there is no Docker.
      - The package C(docker-cli) is added where C(docker.io) comes without the command.
    type: list
    elements: str
    default: [docker.io]
  daemon_json:
    description: Settings for C(/etc/docker/daemon.json).
    type: dict
    default: {}
  cni_bin_dir:
    description: Where containerd has to look for CNI plugins, among other places or alone.
    type: path
    default: /opt/cni/bin
  sandbox_image:
    description:
      - The image of the container that holds a pod's namespaces, for containerd.
      - Without it, containerd's own choice stays.
    type: str
  accepted_warnings:
    description: Parts of warnings about limits in C(docker info) that are not to fail.
    type: list
    elements: str
    default: []
  containerd_source:
    description:
      - Where containerd comes from.
      - V(os) is what is installed, else the distribution's package.
      - V(docker) are Docker's own packages out of O(docker_repository), containerd 2 among them. They take
        the place of the distribution's containerd, runc and Docker.
      - V(archive) are the releases in O(archives), put before the distribution's packages.
    type: str
    choices: [os, docker, archive]
    default: os
  docker_repository:
    description: Docker's repository, for O(containerd_source=docker).
    type: dict
    suboptions:
      url:
        description: Its address; V({distribution}) stands for the C(ID) of C(/etc/os-release).
        type: str
        default: https://download.docker.com/linux/{distribution}
      key:
        description: The address of its key; by default C(gpg) below the repository.
        type: str
  archives:
    description: The release archives for O(containerd_source=archive).
    type: dict
    default: {}
    suboptions:
      containerd:
        description: The archive C(containerd-VERSION-linux-ARCHITECTURE.tar.gz) of containerd's releases.
        type: dict
        suboptions:
          url:
            description: Where to download it.
            type: str
            required: true
          sha256:
            description: Its checksum.
            type: str
            required: true
      runc:
        description: The program C(runc.ARCHITECTURE) of runc's releases.
        type: dict
        suboptions:
          url:
            description: Where to download it.
            type: str
            required: true
          sha256:
            description: Its checksum.
            type: str
            required: true
      cni_plugins:
        description:
          - The archive C(cni-plugins-linux-ARCHITECTURE-VERSION.tgz) of the CNI plugins' releases.
          - Where the package C(kubernetes-cni) is installed, which has them, it is passed over.
        type: dict
        suboptions:
          url:
            description: Where to download it.
            type: str
            required: true
          sha256:
            description: Its checksum.
            type: str
            required: true
  mirrors:
    description:
      - The registries whose images are asked for at a mirror first; one that does not answer is passed over.
      - containerd has a file for each of them, below C(/etc/containerd/certs.d). Docker knows mirrors of
        V(docker.io) alone.
      - Those that this module has written before, and that are not named here, are removed.
    type: list
    elements: dict
    default: []
    suboptions:
      registry:
        description: The registry, as in the names of images.
        type: str
        required: true
      server:
        description: Where the registry itself is reached.
        type: str
        required: true
      url:
        description: The URL of the mirror.
        type: str
        required: true
  mirror_ca:
    description: The certificate of the mirrors' authority. Without it the one that is there stays.
    type: str
  kubernetes_version:
    description:
      - The Kubernetes that is to come, such as V(1.37).
      - With O(containerd_source=archive), a containerd that cannot serve it is refused.
    type: str
  proxy_environment:
    description:
      - What the filter P(bramble.pi.proxy_environment#filter) returns, for containerd and Docker, which pull
        images. With an empty one they use no proxy any more.
    type: dict
    default: {}
  drained:
    description:
      - Whether the node's pods are elsewhere by now, or may be started again.
      - Nodes in no cluster have none.
    type: bool
    default: false
  cri_dockerd:
    description: The package of cri-dockerd, which no distribution has. Required for O(runtime=cri_dockerd).
    type: dict
    suboptions:
      url:
        description: Where to download the package.
        type: str
        required: true
      sha256:
        description: Its checksum.
        type: str
        required: true
"""

EXAMPLES = r"""
- name: Run containers by containerd, with Docker beside it
  bramble.pi.container_runtime:
    runtime: containerd
    daemon_json:
      exec-opts: [native.cgroupdriver=systemd]

- name: Run containers by containerd 2 out of Docker's own packages
  bramble.pi.container_runtime:
    runtime: containerd
    containerd_source: docker
    docker_repository: {}

- name: Let kubelet 1.20 use Docker, on a kernel that cannot limit swap
  bramble.pi.container_runtime:
    runtime: dockershim
    daemon_json:
      exec-opts: [native.cgroupdriver=systemd]
    accepted_warnings: [No swap limit support]
"""

RETURN = r"""
changes:
  description: What was changed, or would be.
  returned: success
  type: list
  elements: str
  sample: [Install docker.io, Restart containerd.service]
drain_required:
  description:
    - Whether RV(changes) would be felt by the node's pods, so that nothing was done.
    - Drain the node, and run the module again with O(drained=true).
  returned: success
  type: bool
  sample: false
in_maintenance:
  description: Whether a run that was killed has left the node cordoned.
  returned: success
  type: bool
  sample: false
cri_socket:
  description: Where kubelet and kubeadm reach the runtime.
  returned: success
  type: str
  sample: unix:///run/containerd/containerd.sock
docker_info:
  description: What Docker says of itself. Left out in check mode while there are changes to be made.
  returned: when Docker was asked
  type: dict
  contains:
    server_version:
      description: Docker's version.
      returned: success
      type: str
      sample: 20.10.24+dfsg1
    cgroup_driver:
      description: V(systemd) or V(cgroupfs).
      returned: success
      type: str
      sample: systemd
    cgroup_version:
      description: V(1) or V(2).
      returned: success
      type: str
      sample: '2'
    storage_driver:
      description: The storage driver.
      returned: success
      type: str
      sample: overlay2
    logging_driver:
      description: The logging driver.
      returned: success
      type: str
      sample: json-file
    warnings:
      description: All warnings, also those that were accepted.
      returned: success
      type: list
      elements: str
      sample: ['WARNING: No swap limit support']
"""

import os
from collections.abc import Callable
from functools import partial
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common import apt
from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import module_errors
from ansible_collections.bramble.pi.plugins.module_utils._containers import origin
from ansible_collections.bramble.pi.plugins.module_utils._containers.base import Host, Runtime, Wishes
from ansible_collections.bramble.pi.plugins.module_utils._containers.mirrors import Mirror
from ansible_collections.bramble.pi.plugins.module_utils._containers.provision import provision
from ansible_collections.bramble.pi.plugins.module_utils._containers.runtime import RUNTIMES
from ansible_collections.bramble.pi.plugins.module_utils._containers.sources import PARTS, SOURCES
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import node_files, state
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import compatibility

_FILE = {"url": {"type": "str", "required": True}, "sha256": {"type": "str", "required": True}}


def in_cluster() -> bool:
    """Tell whether the node runs pods of a cluster."""
    return node_files.kubernetes_state() in state.IN_CLUSTER and not node_files.is_unfinished()


def unfit(kubernetes: str | None, *, runtime: Runtime) -> Callable[[tuple[int, int]], str | None] | None:
    """Return what says why a containerd cannot serve this Kubernetes, where kubelet uses containerd."""
    if kubernetes is None or runtime.name != "containerd":
        return None
    return lambda minor: compatibility.containerd_problem(
        version=compatibility.parse_version(kubernetes), containerd=minor
    )


class Work:
    """The work on this node, announced or done."""

    def __init__(self, module: AnsibleModule, *, runtime: Runtime, wishes: Wishes) -> None:
        self.module = module
        self.runtime = runtime
        self.wishes = wishes
        self.run = partial(module.run_command, environ_update=apt.ENVIRONMENT)
        self.changes = Changes(check_mode=module.check_mode, run=self.run)
        self.warned: set[str] = set()

    def warn(self, text: str) -> None:
        """Warn once, as a pass may be repeated."""
        if text not in self.warned:
            self.warned.add(text)
            self.module.warn(text)

    def host(self, *, check_mode: bool) -> Host:
        """Return the node, to announce changes of it or to make them."""
        self.changes = Changes(check_mode=check_mode, run=self.run)
        return Host(self.run, self.module.get_bin_path, self.changes, warn=self.warn)

    def result(self) -> dict[str, Any]:
        """Return what was changed before something failed."""
        return self.changes.result()

    def provision(self, *, check_mode: bool) -> dict[str, Any]:
        """Do it, or announce it."""
        host = self.host(check_mode=check_mode)
        return provision(runtime=self.runtime, host=host, wishes=self.wishes)

    def prepare(self) -> None:
        """Have what may fail before the node is drained, so that it is drained only for what can be done."""
        host = self.host(check_mode=False)
        origin.prepare(host=host, wishes=self.wishes, installed=origin.installed_packages(host=host))

    def ensure(self, *, drained: bool) -> dict[str, Any]:
        """Do it, unless that is for another time; return the module's result."""
        careful = not drained and in_cluster()
        result = self.provision(check_mode=careful or self.module.check_mode)
        felt = careful and result.pop("felt_by_pods")
        if careful and result["changed"] and not felt and not self.module.check_mode:
            result = self.provision(check_mode=False)
        if felt and not self.module.check_mode:
            self.prepare()
        result.pop("felt_by_pods", None)
        return {**result, "drain_required": felt, "in_maintenance": os.path.exists(state.MAINTENANCE)}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "runtime": {
                "type": "str",
                "choices": list(RUNTIMES),
                "required": True,
            },
            "packages": {"type": "list", "elements": "str", "default": ["docker.io"]},
            "daemon_json": {"type": "dict", "default": {}},
            "cni_bin_dir": {"type": "path", "default": "/opt/cni/bin"},
            "sandbox_image": {"type": "str"},
            "accepted_warnings": {"type": "list", "elements": "str", "default": []},
            "containerd_source": {"type": "str", "choices": list(SOURCES), "default": "os"},
            "docker_repository": {
                "type": "dict",
                "options": {
                    "url": {"type": "str", "default": "https://download.docker.com/linux/{distribution}"},
                    "key": {"type": "str", "no_log": False},
                },
            },
            "archives": {
                "type": "dict",
                "default": {},
                "options": {part: {"type": "dict", "options": _FILE} for part in PARTS},
            },
            "mirrors": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {name: {"type": "str", "required": True} for name in Mirror._fields},
            },
            "mirror_ca": {"type": "str"},
            "kubernetes_version": {"type": "str"},
            "proxy_environment": {"type": "dict", "default": {}},
            "drained": {"type": "bool", "default": False},
            "cri_dockerd": {"type": "dict", "options": _FILE},
        },
        required_if=[
            ("runtime", "cri_dockerd", ["cri_dockerd"]),
            ("containerd_source", "docker", ["docker_repository"]),
        ],
        supports_check_mode=True,
    )

    parameters = dict(module.params)
    drained = parameters.pop("drained")
    runtime = RUNTIMES[parameters.pop("runtime")]
    parameters["unfit"] = unfit(parameters.pop("kubernetes_version"), runtime=runtime)
    parameters["mirrors"] = [Mirror(**mirror) for mirror in parameters["mirrors"]]
    archives = {part: archive for part, archive in parameters.pop("archives").items() if archive}
    work = Work(module, runtime=runtime, wishes=Wishes(**parameters, archives=archives))
    with module_errors(module, result=work.result):
        result = work.ensure(drained=drained)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
