# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""podman's arguments and answers for the containers of a virtual rack."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError

# All that belongs to a rack carries its name in this label, and is found by it again.
LABEL = "bramble.rack"
ADDRESS_LABEL = "bramble.address"

# overlayfs cannot lie on overlayfs, so what stores images and pods has volumes, with devices and setuid
# allowed as on a disk.
VOLUMES = ("/var/lib/containerd", "/var/lib/docker", "/var/lib/etcd", "/var/lib/kubelet")


class RackError(BrambleError):
    """The rack cannot be made as it should be."""


@dataclass(frozen=True)
class Node:
    """A node as it should be."""

    name: str
    address: str
    image: str
    memory: str | None = None
    cpus: str | None = None


@dataclass(frozen=True)
class Container:
    """A container as it is."""

    name: str
    address: str
    running: bool
    #: Its first process; 0 if it has none.
    pid: int = 0
    #: podman was told to stop it and has not seen its end.
    stopping: bool = False


def container_name(*, rack: str, node: str) -> str:
    """Name the container of a node."""
    return f"{rack}-{node}"


def parse_containers(*, text: str) -> dict[str, Container]:
    """Read C(podman ps --format json)."""
    containers = [
        Container(
            name=entry["Names"][0],
            address=entry["Labels"].get(ADDRESS_LABEL, ""),
            running=entry["State"] == "running",
            pid=entry.get("Pid") or 0,
            stopping=entry["State"] == "stopping",
        )
        for entry in json.loads(text or "[]") or []
    ]
    return {container.name: container for container in containers}


def parse_subnets(*, text: str) -> list[str]:
    """Read the subnets of C(podman network inspect)."""
    return [subnet["subnet"] for network in json.loads(text) for subnet in network.get("subnets") or []]


def check_containers(*, rack: str, nodes: Iterable[Node], containers: Mapping[str, Container]) -> None:
    """Refuse a container that has another address than its node: podman cannot change it."""
    for node in nodes:
        container = containers.get(container_name(rack=rack, node=node.name))
        if container and container.address != node.address:
            raise RackError(
                f"container {container.name} has the address {container.address}, but ansible_host of"
                f" {node.name} is {node.address}: set that, or remove the rack first with"
                " virtual_rack_destroy.yml"
            )


def check_watched(*, containers: Iterable[Container], alive: Callable[[int], bool]) -> None:
    """Refuse containers whose end podman has missed, as the process that watches each of them was killed.

    podman goes on saying that they run, and can neither start nor stop them.
    """
    lost = [
        container.name
        for container in containers
        if container.stopping or (container.running and container.pid and not alive(container.pid))
    ]
    if lost:
        raise RackError(
            f"{', '.join(lost)} ended, but podman says that it runs: its watcher (conmon) was killed, by the"
            " end of a login or for want of memory; remove the rack with virtual_rack_destroy.yml and make it"
            " again"
        )


def network_arguments(*, rack: str, subnet: str) -> list[str]:
    """Make the rack's network, without a resolver of podman's own: nodes ask the machine's."""
    return ["network", "create", "--disable-dns", "--label", f"{LABEL}={rack}", "--subnet", subnet, rack]


def node_arguments(*, rack: str, node: Node, authorized_key: str, kernel_modules: bool) -> list[str]:
    """Start the container of a node.

    podman's own mode for systemd is off: with cgroup v1 it binds the machine's systemd hierarchy into each
    container. What systemd needs is given here instead.
    """
    arguments = [
        *("run", "--detach", "--pull=never"),
        *("--name", container_name(rack=rack, node=node.name), "--hostname", node.name),
        *("--label", f"{LABEL}={rack}", "--label", f"{ADDRESS_LABEL}={node.address}"),
        *("--network", rack, "--ip", node.address, "--no-hosts"),
        *("--privileged", "--systemd=false", "--cgroupns=private", "--pids-limit=-1"),
        *("--tmpfs", "/run:rw,exec,suid,dev", "--tmpfs", "/run/lock"),
        *("--tmpfs", "/tmp:rw,exec"),  # noqa: S108 - the node's, not the machine's
        # reboot ends the container; podman starts it again.
        *("--restart=always", "--stop-signal=SIGRTMIN+3"),
        *("--env", "container=podman", "--env", f"RACK_AUTHORIZED_KEY={authorized_key}"),
    ]
    for volume in VOLUMES:
        arguments += ["--mount", f"type=volume,destination={volume},dev,suid,exec"]
    if kernel_modules:
        arguments += ["--volume", "/lib/modules:/lib/modules:ro"]
    if node.memory:
        arguments += ["--memory", node.memory]
    if node.cpus:
        arguments += ["--cpus", node.cpus]
    return [*arguments, node.image, "/sbin/init"]


def repository_arguments(*, rack: str, address: str, image: str, directory: str) -> list[str]:
    """Start the container that serves a directory over HTTP."""
    return [
        *("run", "--detach", "--pull=never", "--name", container_name(rack=rack, node="repo")),
        *("--label", f"{LABEL}={rack}", "--label", f"{ADDRESS_LABEL}={address}"),
        *("--network", rack, "--ip", address, "--restart=always", "--stop-signal=SIGKILL"),
        *("--volume", f"{directory}:/srv:ro", image),
        *("python3", "-m", "http.server", "--directory", "/srv", "80"),
    ]


def known_hosts(*, keys: Mapping[str, str]) -> str:
    """Write a known_hosts file from the public host keys by address."""
    lines = [f"{address} {' '.join(key.split()[:2])}\n" for address, key in keys.items()]
    return "".join(lines)
