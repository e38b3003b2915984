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
- name: Have a rack of two nodes
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

import os
import time
from pathlib import Path
from typing import Any, Callable

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._virtual_rack import podman as virtual_rack_podman
from ansible_collections.bramble.pi.plugins.module_utils._virtual_rack.podman import (
    Container,
    Node,
    RackError,
)

# Takes podman's arguments, returns its exit status, standard output and standard error.
Podman = Callable[[list[str]], "tuple[int, str, str]"]


def ask(podman: Podman, arguments: list[str], purpose: str) -> str:
    """Run podman and return its output, or say what could not be done."""
    status, output, error = podman(arguments)
    if status != 0:
        raise RackError(f"{purpose} failed: {error.strip() or output.strip()} (podman {' '.join(arguments)})")
    return output


def containers_of(podman: Podman, rack: str) -> dict[str, Container]:
    """Find the rack's containers."""
    arguments = ["ps", "--all", "--filter", f"label={virtual_rack_podman.LABEL}={rack}", "--format", "json"]
    return virtual_rack_podman.parse_containers(
        text=ask(podman, arguments, "finding the containers of the rack")
    )


def network_exists(podman: Podman, rack: str) -> bool:
    """Tell whether the rack's network is there."""
    return podman(["network", "exists", rack])[0] == 0


def ensure_network(podman: Podman, *, rack: str, subnet: str, check_mode: bool) -> bool:
    """Make the rack's network; return whether it was missing."""
    if network_exists(podman, rack):
        arguments = ["network", "inspect", rack]
        subnets = virtual_rack_podman.parse_subnets(text=ask(podman, arguments, "reading the network"))
        if subnet not in subnets:
            raise RackError(
                f"podman's network {rack} is {', '.join(subnets)}, but virtual_rack_subnet is {subnet}:"
                " set that, or remove the rack first (virtual_rack_destroy.yml)"
            )
        return False
    if not check_mode:
        arguments = virtual_rack_podman.network_arguments(rack=rack, subnet=subnet)
        ask(
            podman,
            arguments,
            f"making the network {rack} (set virtual_rack_subnet to a network that is free)",
        )
    return True


def wait_for_boot(podman: Podman, *, container: str, deadline: float) -> None:
    """Wait until systemd has started what it starts at boot."""
    while True:
        # Fails while systemd does not listen yet. "degraded" is booted as well: a Pi may have a failed unit.
        output, error = podman(["exec", container, "systemctl", "is-system-running"])[1:]
        state = output.strip()
        if state in ("running", "degraded"):
            return
        if time.monotonic() > deadline:
            raise RackError(
                f"{container} has not booted in time; systemd says {state or error.strip()!r}:"
                f" look at podman logs {container}, or raise virtual_rack_boot_timeout"
            )
        time.sleep(0.2)


def host_key(podman: Podman, *, container: str) -> str:
    """Read a node's public host key."""
    path = "/etc/ssh/ssh_host_ed25519_key.pub"
    return ask(podman, ["exec", container, "cat", path], "reading the host key")


def write_if_changed(path: Path, text: str) -> bool:
    """Write a file unless it says just that; return whether it was written."""
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    path.write_text(text, encoding="utf-8")
    return True


def present(podman: Podman, parameters: dict[str, Any], *, check_mode: bool) -> dict[str, Any]:
    """Have the rack."""
    rack = parameters["name"]
    nodes = [Node(**node) for node in parameters["nodes"]]
    repository = parameters["repository"]
    containers = containers_of(podman, rack)
    virtual_rack_podman.check_containers(rack=rack, nodes=nodes, containers=containers)
    changed = ensure_network(podman, rack=rack, subnet=parameters["subnet"], check_mode=check_mode)

    public_key = Path(parameters["public_key"])
    # In check mode the key may not have been made yet.
    authorized_key = "" if check_mode else public_key.read_text(encoding="utf-8").strip()
    wanted = {
        virtual_rack_podman.container_name(rack=rack, node=node.name): virtual_rack_podman.node_arguments(
            rack=rack, node=node, authorized_key=authorized_key, kernel_modules=os.path.isdir("/lib/modules")
        )
        for node in nodes
    }
    if repository:
        wanted[virtual_rack_podman.container_name(rack=rack, node="repo")] = (
            virtual_rack_podman.repository_arguments(rack=rack, **repository)
        )

    created = [name for name in wanted if name not in containers]
    started = [name for name in wanted if name in containers and not containers[name].running]
    if not check_mode:
        for name in created:
            ask(podman, wanted[name], f"starting {name}")
        for name in started:
            ask(podman, ["start", name], f"starting {name}")
        deadline = time.monotonic() + parameters["timeout"]
        keys = {}
        for node in nodes:
            container = virtual_rack_podman.container_name(rack=rack, node=node.name)
            wait_for_boot(podman, container=container, deadline=deadline)
            keys[node.address] = host_key(podman, container=container)
        changed |= write_if_changed(
            Path(parameters["known_hosts"]), virtual_rack_podman.known_hosts(keys=keys)
        )
    return {
        "changed": changed or bool(created or started),
        "created": created,
        "started": started,
        "removed": [],
    }


def absent(podman: Podman, parameters: dict[str, Any], *, check_mode: bool) -> dict[str, Any]:
    """Remove the rack."""
    rack = parameters["name"]
    removed = list(containers_of(podman, rack))
    network = network_exists(podman, rack)
    if removed and not check_mode:
        ask(podman, ["rm", "--force", "--time", "0", "--volumes", *removed], "removing the containers")
    if network and not check_mode:
        ask(podman, ["network", "rm", rack], f"removing the network {rack}")
    return {"changed": bool(removed) or network, "created": [], "started": [], "removed": removed}


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
    podman_path = module.get_bin_path("podman", required=True)
    environment = {}
    if module.params["containers_conf"]:
        environment["CONTAINERS_CONF"] = module.params["containers_conf"]

    def podman(arguments: list[str]) -> tuple[int, str, str]:
        # Docker and Kubernetes in the nodes are tried with runc, whatever else podman would choose.
        command = [podman_path, "--runtime", "runc", *arguments]
        return module.run_command(command, environ_update=environment)

    act = present if module.params["state"] == "present" else absent
    try:
        result = act(podman, module.params, check_mode=module.check_mode)
    except RackError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
