# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands that run a program out of an image that a node has, by each runtime's own client."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

#: In the namespace of kubelet, where its images are; kubelet leaves containers alone that are not its own.
_CTR = ("ctr", "--namespace", "k8s.io")


def client_at(socket: str | None) -> str:
    """Return the client of the runtime whose socket this is; without one it is Docker, by dockershim.

    The runtimes themselves are not asked, as the program of the timer has this file and not those.
    """
    return "ctr" if (socket or "").endswith("/containerd.sock") else "docker"


class Mount(NamedTuple):
    """A folder of the node that a container has under the same path."""

    path: str
    writable: bool = False


def start_command(
    *, client: str, image: str, name: str, mounts: Sequence[Mount], command: Sequence[str], detached: bool
) -> list[str]:
    """Return what runs a program of an image, in the node's own network.

    ``client`` is the program of the runtime. The container goes when the program ends, unless it is
    ``detached``.
    """
    if client == "docker":
        volumes = [f"--volume={path}:{path}{'' if writable else ':ro'}" for path, writable in mounts]
        return [
            *("docker", "run", "--detach" if detached else "--rm", f"--name={name}", "--network=host"),
            *(*volumes, f"--entrypoint={command[0]}", image, *command[1:]),
        ]
    binds = [
        f"--mount=type=bind,src={path},dst={path},options=rbind:{'rw' if writable else 'ro'}"
        for path, writable in mounts
    ]
    lasting = ["--detach", "--null-io"] if detached else ["--rm"]
    return [*_CTR, "run", *lasting, "--net-host", *binds, image, name, *command]


def remove_commands(*, client: str, name: str) -> list[list[str]]:
    """Return what ends such a container and removes it; each fails where there is none."""
    if client == "docker":
        return [["docker", "rm", "--force", "--volumes", name]]
    return [[*_CTR, "tasks", "rm", "--force", name], [*_CTR, "containers", "rm", name]]
