# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The containers of a virtual rack: made, started, awaited and removed by podman."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.commands import Runner, output_of
from ansible_collections.bramble.pi.plugins.module_utils._virtual_rack.podman import (
    LABEL,
    Container,
    Node,
    RackError,
    check_containers,
    check_watched,
    container_name,
    known_hosts,
    network_arguments,
    node_arguments,
    parse_containers,
    parse_subnets,
    repository_arguments,
)


def containers_of(run: Runner, rack: str) -> dict[str, Container]:
    """Find the rack's containers."""
    command = ["podman", "ps", "--all", "--filter", f"label={LABEL}={rack}", "--format", "json"]
    return parse_containers(text=output_of(run, command))


def network_exists(run: Runner, rack: str) -> bool:
    """Tell whether the rack's network is there."""
    return run(["podman", "network", "exists", rack])[0] == 0


def ensure_network(run: Runner, *, rack: str, subnet: str, check_mode: bool) -> bool:
    """Make the rack's network; return whether it was missing."""
    if network_exists(run, rack):
        subnets = parse_subnets(text=output_of(run, ["podman", "network", "inspect", rack]))
        if subnet not in subnets:
            raise RackError(
                f"podman's network {rack} is {', '.join(subnets)}, but virtual_rack_subnet is {subnet}:"
                " set that, or remove the rack first (virtual_rack_destroy.yml)"
            )
        return False
    if not check_mode:
        output_of(
            run,
            ["podman", *network_arguments(rack=rack, subnet=subnet)],
            remedy="set virtual_rack_subnet to a network that is free",
        )
    return True


def wait_for_boot(run: Runner, *, container: str, deadline: float) -> None:
    """Wait until systemd has started what it starts at boot."""
    while True:
        # Fails while systemd does not listen yet. "degraded" is booted as well: a Pi may have a failed unit.
        output, error = run(["podman", "exec", container, "systemctl", "is-system-running"])[1:]
        state = output.strip()
        if state in ("running", "degraded"):
            return
        if time.monotonic() > deadline:
            raise RackError(
                f"{container} has not booted in time; systemd says {state or error.strip()!r}:"
                f" look at podman logs {container}, or raise virtual_rack_boot_timeout"
            )
        time.sleep(0.2)


def host_key(run: Runner, *, container: str) -> str:
    """Read a node's public host key."""
    path = "/etc/ssh/ssh_host_ed25519_key.pub"
    return output_of(run, ["podman", "exec", container, "cat", path])


def present(run: Runner, parameters: dict[str, Any], *, check_mode: bool) -> dict[str, Any]:
    """Have the rack."""
    rack = parameters["name"]
    nodes = [Node(**node) for node in parameters["nodes"]]
    repository = parameters["repository"]
    containers = containers_of(run, rack)
    check_containers(rack=rack, nodes=nodes, containers=containers)
    check_watched(containers=containers.values(), alive=lambda pid: os.path.exists(f"/proc/{pid}"))
    changed = ensure_network(run, rack=rack, subnet=parameters["subnet"], check_mode=check_mode)

    public_key = Path(parameters["public_key"])
    # In check mode the key may not have been made yet.
    authorized_key = "" if check_mode else public_key.read_text(encoding="utf-8").strip()
    desired = {
        container_name(rack=rack, node=node.name): node_arguments(
            rack=rack, node=node, authorized_key=authorized_key, kernel_modules=os.path.isdir("/lib/modules")
        )
        for node in nodes
    }
    if repository:
        desired[container_name(rack=rack, node="repo")] = repository_arguments(rack=rack, **repository)

    created = [name for name in desired if name not in containers]
    started = [name for name in desired if name in containers and not containers[name].running]
    if not check_mode:
        for name in created:
            output_of(run, ["podman", *desired[name]])
        for name in started:
            output_of(run, ["podman", "start", name])
        deadline = time.monotonic() + parameters["timeout"]
        keys = {}
        for node in nodes:
            container = container_name(rack=rack, node=node.name)
            wait_for_boot(run, container=container, deadline=deadline)
            keys[node.address] = host_key(run, container=container)
        changes = Changes(check_mode=check_mode)
        changed |= changes.write(parameters["known_hosts"], known_hosts(keys=keys))
    return {
        "changed": changed or bool(created or started),
        "created": created,
        "started": started,
        "removed": [],
    }


def absent(run: Runner, parameters: dict[str, Any], *, check_mode: bool) -> dict[str, Any]:
    """Remove the rack."""
    rack = parameters["name"]
    removed = list(containers_of(run, rack))
    network = network_exists(run, rack)
    if removed and not check_mode:
        command = ["podman", "rm", "--force", "--time", "0", "--volumes"]
        # The first try may only bring podman to see that a container has ended (see check_watched()).
        if run([*command, *removed])[0] != 0:
            output_of(run, [*command, *containers_of(run, rack)])
    if network and not check_mode:
        output_of(run, ["podman", "network", "rm", rack])
    return {"changed": bool(removed) or network, "created": [], "started": [], "removed": removed}
