# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of how the rack is watched, if anything of that is set."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.bramble.pi.plugins.plugin_utils._inventory import monitoring
from ansible_collections.bramble.pi.plugins.plugin_utils._preflight.rack import Finding, Rack


def check_monitoring(rack: Rack) -> Iterator[Finding]:
    """Check what the role monitoring is told, on the host that is to watch the others."""
    told = {host: rack.told(host) for host in rack.hosts}
    if not any(name.startswith("monitoring_") for values in told.values() for name in values):
        return
    host = monitoring.monitoring_host(hosts=told, groups=rack.groups)
    names = rack.specs.get("monitoring", {})
    values = {name: rack.value(host, name) for name in names} if host in rack.hosts else {}
    for problem in monitoring.problems(host=host, values=values, hosts=told):
        yield Finding(problem)
