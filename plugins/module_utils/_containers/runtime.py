# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The container runtimes that there are; whoever has to know something of one asks it here."""

from __future__ import annotations

from ansible_collections.bramble.pi.plugins.module_utils._containers import base, containerd, docker

#: By the name that docker_kubernetes_runtime has for it.
RUNTIMES: dict[str, base.Runtime] = {
    runtime.name: runtime for runtime in (containerd.Containerd(), docker.CriDockerd(), docker.Dockershim())
}

#: What runtimes consist of, in the order in which they depend on each other.
DAEMONS: tuple[base.Daemon, ...] = (containerd.DAEMON, docker.DAEMON, docker.CRI_DOCKERD)


def runtime_at(socket: str | None) -> base.Runtime | None:
    """Return the runtime whose socket this is, if it is one that is known."""
    return next((runtime for runtime in RUNTIMES.values() if runtime.listens_at(socket or "")), None)


def packages() -> list[str]:
    """Return every package that a runtime may have come with."""
    return [name for daemon in DAEMONS for name in daemon.packages]


def data_folders() -> list[str]:
    """Return the folders in which images and containers are."""
    return [daemon.data for daemon in DAEMONS if daemon.data is not None]
