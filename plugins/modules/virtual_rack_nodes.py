#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.virtual_rack_nodes``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: virtual_rack_nodes
short_description: Create or remove the containers of a virtual rack
version_added: '0.1.0'
description:
  - Makes containers under podman that stand for Raspberry Pis, on a network of their own, and waits
    until they have booted.
  - Writes their SSH host keys to a known_hosts file, so that host key checking stays on.
  - A container that exists is started if it is stopped, and otherwise left alone.
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
requirements:
  - podman and runc, as root
options:
  name:
    description: Name of the rack; its network is called so, and its containers begin with it.
    type: str
    required: true
  state:
    description: V(absent) removes the containers of the rack, their volumes, and its network.
    type: str
    choices: [absent, present]
    default: present
  subnet:
    description: Network in CIDR notation, such as V(10.89.60.0/24). Required for O(state=present).
    type: str
  nodes:
    description: The nodes of the rack.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Host name.
        type: str
        required: true
      address:
        description: Address within O(subnet).
        type: str
        required: true
      image:
        description: Image that the container is made from.
        type: str
        required: true
      memory:
        description: Limit of memory in podman's notation, such as V(1g). No limit by default.
        type: str
      cpus:
        description: Limit of processors, such as V(1.5). No limit by default.
        type: str
  repository:
    description: A directory of this machine that the rack's nodes get served over HTTP.
    type: dict
    suboptions:
      directory:
        description: The directory.
        type: path
        required: true
      address:
        description: Address within O(subnet) that it is served at.
        type: str
        required: true
      image:
        description: Image with Python 3.
        type: str
        required: true
  public_key:
    description: File with the public key that the nodes' user V(pi) accepts. Required when O(state=present).
    type: path
  known_hosts:
    description: File that the nodes' host keys are written to. Required when O(state=present).
    type: path
  containers_conf:
    description: Configuration that podman is run with, instead of the machine's own containers.conf.
    type: path
  timeout:
    description: Seconds that all nodes together may take to boot.
    type: int
    default: 60
"""

EXAMPLES = r"""
- name: Create a rack of two nodes
  bramble.pi.virtual_rack_nodes:
    name: demo
    subnet: 10.89.60.0/24
    public_key: /root/.cache/bramble/racks/demo/id_ed25519.pub
    known_hosts: /root/.cache/bramble/racks/demo/ssh_known_hosts
    nodes:
      - { name: pi-1, address: 10.89.60.11, image: localhost/bramble-node:bookworm }
      - { name: pi-2, address: 10.89.60.12, image: localhost/bramble-node:bookworm, memory: 1g }

- name: Remove it
  bramble.pi.virtual_rack_nodes:
    name: demo
    state: absent
"""

RETURN = r"""
created:
  description: Containers that were made.
  returned: success
  type: list
  elements: str
  sample: [demo-pi-1, demo-pi-2]
started:
  description: Containers that were there but stopped, and were started.
  returned: success
  type: list
  elements: str
  sample: []
removed:
  description: Containers that were removed.
  returned: success
  type: list
  elements: str
  sample: []
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import module_errors
from ansible_collections.bramble.pi.plugins.module_utils._virtual_rack import nodes


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["absent", "present"], "default": "present"},
            "subnet": {"type": "str"},
            "nodes": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    "address": {"type": "str", "required": True},
                    "image": {"type": "str", "required": True},
                    "memory": {"type": "str"},
                    "cpus": {"type": "str"},
                },
            },
            "repository": {
                "type": "dict",
                "options": {
                    "directory": {"type": "path", "required": True},
                    "address": {"type": "str", "required": True},
                    "image": {"type": "str", "required": True},
                },
            },
            "public_key": {"type": "path"},
            "known_hosts": {"type": "path"},
            "containers_conf": {"type": "path"},
            "timeout": {"type": "int", "default": 60},
        },
        required_if=[("state", "present", ("subnet", "public_key", "known_hosts"))],
        supports_check_mode=True,
    )
    path = module.get_bin_path("podman", required=True)
    environment = {}
    if module.params["containers_conf"]:
        environment["CONTAINERS_CONF"] = module.params["containers_conf"]

    def run(command: list[str]) -> tuple[int, str, str]:
        # Docker and Kubernetes in the nodes are tried with runc, whatever else podman would choose.
        result: tuple[int, str, str] = module.run_command(
            [path, "--runtime", "runc", *command[1:]], environ_update=environment
        )
        return result

    act = nodes.present if module.params["state"] == "present" else nodes.absent
    with module_errors(module, subject=f"the rack {module.params['name']}"):
        result = act(run, module.params, check_mode=module.check_mode)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
