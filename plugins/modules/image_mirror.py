#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.image_mirror``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: image_mirror
short_description: Have a host mirror registries of container images
version_added: '0.1.0'
description:
  - Installs Debian's docker-registry and has one instance of it for each registry, which fetches what nodes
    ask for, and keeps it. They speak TLS, by an authority that this host makes.
  - A timer removes the least recently used images once they are larger than O(size), and renews the
    certificate. While a registry outside does not answer, what is there of it is served.
  - Debian's own unit of that package is masked, unless the package was there before.
author:
  - bramble.pi contributors (@bramble-pi)
extends_documentation_fragment:
  - bramble.pi.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details: Of what has secrets in it there is none.
  idempotent:
    support: full
options:
  state:
    description: V(absent) removes all of it, the packages that it has installed too.
    type: str
    choices: [present, absent]
    default: present
  mirrors:
    description: The registries, as P(bramble.pi.image_mirrors#filter) lists them.
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
        description: Where this host serves it.
        type: str
        required: true
  hosts:
    description: The address of this host, and its names; the certificate is for them.
    type: list
    elements: str
    default: []
  folder:
    description: Where the images are kept.
    type: path
    default: /var/lib/bramble-image-mirror
  size:
    description: How large they may grow, such as V(20GB). Required for O(state=present).
    type: str
  credentials:
    description: User and password for registries that want them, by the name of the registry.
    type: dict
    default: {}
  remove_data:
    description: Whether O(state=absent) removes the images too.
    type: bool
    default: false
  timeout:
    description: How many seconds the registries may take to answer.
    type: int
    default: 60
"""

EXAMPLES = r"""
- name: Mirror one registry
  bramble.pi.image_mirror:
    mirrors:
      - {registry: quay.io, server: "https://quay.io", url: "https://10.0.0.1:5010"}
    hosts: [10.0.0.1, pi-1]
    folder: /mnt/disk/images
    size: 20GB
"""

RETURN = r"""
changes:
  description: What was changed, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: [install docker-registry, restart bramble-image-mirror@quay.io.service]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common import apt
from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import module_errors
from ansible_collections.bramble.pi.plugins.module_utils._containers.mirrors import Mirror
from ansible_collections.bramble.pi.plugins.module_utils._image_mirror.server import Server, Wishes


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "mirrors": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "registry": {"type": "str", "required": True},
                    "server": {"type": "str", "required": True},
                    "url": {"type": "str", "required": True},
                },
            },
            "hosts": {"type": "list", "elements": "str", "default": []},
            "folder": {"type": "path", "default": "/var/lib/bramble-image-mirror"},
            "size": {"type": "str"},
            "credentials": {"type": "dict", "default": {}, "no_log": True},
            "remove_data": {"type": "bool", "default": False},
            "timeout": {"type": "int", "default": 60},
        },
        required_if=[("state", "present", ["size"])],
        supports_check_mode=True,
    )
    module.run_command_environ_update = apt.ENVIRONMENT
    parameters = module.params
    changes = Changes(check_mode=module.check_mode, run=module.run_command)
    server = Server(run=module.run_command, changes=changes)
    with module_errors(module, result=changes.result):
        if parameters["state"] == "absent":
            server.remove(folder=parameters["folder"], with_data=parameters["remove_data"])
        else:
            wishes = Wishes(
                mirrors=[Mirror(**mirror) for mirror in parameters["mirrors"]],
                hosts=list(dict.fromkeys(parameters["hosts"])),
                folder=parameters["folder"],
                size=parameters["size"],
                credentials=parameters["credentials"],
            )
            server.ensure(wishes, timeout=parameters["timeout"])
    module.exit_json(**changes.result())


if __name__ == "__main__":
    main()
