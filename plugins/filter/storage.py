# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of the roles storage_server and storage; the documentation of each is beside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Callable

from ansible_collections.bramble.pi.plugins.plugin_utils._inventory import storage
from ansible_collections.bramble.pi.plugins.plugin_utils._kubernetes import volumes

HostVars = Mapping[str, Mapping[str, Any]]
Groups = Mapping[str, Sequence[str]]


def storage_served(hostvars: HostVars, groups: Groups, host: str, listed: Any) -> dict[str, Any]:
    """List what a host serves."""
    return storage.served(hosts=hostvars, groups=groups, host=host, listed=listed)


def storage_objects(hostvars: HostVars, groups: Groups, listed: Any) -> list[dict[str, Any]]:
    """Make the objects."""
    shares = storage.shares(hosts=hostvars, groups=groups)
    return volumes.objects(volumes=storage.volumes(listed), shares=shares)


def storage_problems(hostvars: HostVars, groups: Groups, listed: Any) -> list[str]:
    """List what is in the way."""
    of_hosts = [
        *storage.server_problems(hosts=hostvars, groups=groups),
        *storage.client_problems(hosts=hostvars, groups=groups),
    ]
    return [
        *(f"{host}: {problem}" for host, problem in of_hosts),
        *storage.volume_problems(hosts=hostvars, groups=groups, listed=listed),
    ]


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name the filters; each is documented in a file of its name."""
        return {
            "storage_objects": storage_objects,
            "storage_problems": storage_problems,
            "storage_served": storage_served,
        }
