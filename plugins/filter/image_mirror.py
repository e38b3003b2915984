# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of the role image_mirror; the documentation of each is beside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Callable

from ansible_collections.bramble.pi.plugins.plugin_utils._inventory import image_mirror

HostVars = Mapping[str, Mapping[str, Any]]


def image_mirror_host(hostvars: HostVars) -> str:
    """Name the host that mirrors registries."""
    return image_mirror.image_mirror_host(hosts=hostvars)


def image_mirrors(registries: Mapping[str, str], address: str, port: int) -> list[dict[str, str]]:
    """List the mirrors of registries."""
    return image_mirror.mirrors(registries=registries, address=address, port=port)


def image_mirror_problems(hostvars: HostVars, host: str, values: Mapping[str, Any]) -> list[str]:
    """List what is in the way."""
    return list(image_mirror.problems(host=host, values=values, hosts=hostvars))


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name the filters; each is documented in a file of its name."""
        return {
            "image_mirror_host": image_mirror_host,
            "image_mirror_problems": image_mirror_problems,
            "image_mirrors": image_mirrors,
        }
