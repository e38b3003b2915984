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
  - Enables and starts the services, and restarts only those whose configuration is newer than they are.
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

from functools import partial

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common import apt
from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import module_errors
from ansible_collections.bramble.pi.plugins.module_utils._containers.base import Host, Wishes
from ansible_collections.bramble.pi.plugins.module_utils._containers.provision import provision
from ansible_collections.bramble.pi.plugins.module_utils._containers.runtime import RUNTIMES


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
            "cri_dockerd": {
                "type": "dict",
                "options": {
                    "url": {"type": "str", "required": True},
                    "sha256": {"type": "str", "required": True},
                },
            },
        },
        required_if=[("runtime", "cri_dockerd", ["cri_dockerd"])],
        supports_check_mode=True,
    )

    run = partial(module.run_command, environ_update=apt.ENVIRONMENT)
    changes = Changes(check_mode=module.check_mode, run=run)
    parameters = dict(module.params)
    with module_errors(module, result=changes.result):
        result = provision(
            runtime=RUNTIMES[parameters.pop("runtime")],
            host=Host(run, module.get_bin_path, changes),
            wishes=Wishes(**parameters),
        )
    module.exit_json(**result)


if __name__ == "__main__":
    main()
