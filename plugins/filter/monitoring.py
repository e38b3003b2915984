# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of the role monitoring; the documentation of each is beside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Callable

from ansible_collections.bramble.pi.plugins.plugin_utils._inventory import monitoring

HostVars = Mapping[str, Mapping[str, Any]]
Groups = Mapping[str, Sequence[str]]


def monitoring_host(hostvars: HostVars, groups: Groups) -> str:
    """Name the host that watches the others."""
    return monitoring.monitoring_host(hosts=hostvars, groups=groups)


def monitoring_targets(hostvars: HostVars, groups: Groups) -> list[dict[str, Any]]:
    """List whom it asks."""
    return monitoring.targets(hosts=hostvars, groups=groups)


def monitoring_problems(hostvars: HostVars, host: str, values: Mapping[str, Any]) -> list[str]:
    """List what is in the way."""
    return list(monitoring.problems(host=host, values=values, hosts=hostvars))


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name the filters; each is documented in a file of its name."""
        return {
            "monitoring_host": monitoring_host,
            "monitoring_problems": monitoring_problems,
            "monitoring_targets": monitoring_targets,
        }
