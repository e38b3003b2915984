# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of the image mirror, if the rack has one."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.bramble.pi.plugins.plugin_utils._inventory import image_mirror
from ansible_collections.bramble.pi.plugins.plugin_utils._preflight.rack import ALL, Finding, Rack


def check_image_mirror(rack: Rack) -> Iterator[Finding]:
    """Check what the role image_mirror is told, on the host that mirrors, and that all nodes know of it."""
    told = {host: rack.told(host) for host in rack.hosts}
    host = image_mirror.image_mirror_host(hosts=told)
    names = rack.specs.get("image_mirror", {})
    values = {name: rack.value(host, name) for name in names} if host in rack.hosts else {}
    for problem in image_mirror.problems(host=host, values=values, hosts=told):
        yield Finding(problem)
    if host not in rack.hosts:
        return
    for other in rack.nodes:
        # They are told the same, or ask where nobody answers.
        for name in ("image_mirror_host", "image_mirror_port", "image_mirror_registries"):
            seen, expected = rack.value(other, name), rack.value(host, name)
            if None not in (seen, expected) and seen != expected:
                yield Finding(
                    f"{name} is {seen!r}, and on {host}, which mirrors, it is {expected!r}; expected the"
                    f" same: set {name} {ALL}",
                    other,
                )
