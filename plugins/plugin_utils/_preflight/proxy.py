# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of the web proxy."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.bramble.pi.plugins.plugin_utils._inventory import proxy
from ansible_collections.bramble.pi.plugins.plugin_utils._preflight.rack import ALL, Finding, Rack


def check_proxy(rack: Rack) -> Iterator[Finding]:
    """Check the proxy's address, and the form of what is reached without it."""
    for host in rack.hosts:
        url = rack.value(host, "os_prep_proxy")
        if url and (problem := proxy.url_problem(url)):
            # A login stays out of the message.
            seen = url.rpartition("@")[2]
            yield Finding(f"os_prep_proxy is {seen!r}; {problem}: set it {ALL}", host)
        for entry in proxy.direct_problems(rack.value(host, "os_prep_no_proxy") or ()):
            yield Finding(
                f"os_prep_no_proxy has {entry!r}; expected a name, a domain such as .lan, an address or a"
                f" network: set it {ALL}",
                host,
            )
