# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The web proxy of the place, and what is reached without it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.bramble.pi.plugins.plugin_utils._inventory import hosts

#: Reached without a proxy in any rack: the node itself, and the names of services and pods.
_ALWAYS = ("localhost", "127.0.0.1", "::1", ".svc", ".cluster.local")
_URL = re.compile(r"http://(?P<host>[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)(?::(?P<port>[0-9]{1,5}))?/?")
#: A name, a domain, an address or a network: nothing that would end a line or a text somewhere.
_DIRECT = re.compile(r"[A-Za-z0-9.:/_-]+")


def url_problem(url: str) -> str:
    """Say what is wrong with the address of a proxy; empty if nothing is."""
    match = _URL.fullmatch(url)
    if match and 0 < int(match["port"] or 80) < 65536:
        return ""
    if "@" in url:
        return (
            "expected a proxy without a login, as every user of a node could read it: run one beside it that"
            " logs in, such as cntlm, and set that"
        )
    return "expected an address such as http://proxy.example.org:3128"


def direct_problems(entries: Sequence[str]) -> Iterator[str]:
    """Name what is no name, domain, address or network."""
    return (entry for entry in entries if not _DIRECT.fullmatch(entry))


def environment(
    *,
    hostvars: Mapping[str, Mapping[str, Any]],
    groups: Mapping[str, Sequence[str]],
    url: str,
    direct: Sequence[str] = (),
) -> dict[str, str]:
    """Return the variables by which programs know a proxy; none without one.

    The hosts of the rack are named, as Python and apt know no networks in ``no_proxy``.
    """
    if not url:
        return {}
    rack = hosts.rack_hosts(hostvars=hostvars, groups=groups)
    names = [word for host in rack for word in (host["address"], *host["names"])]
    listed = dict.fromkeys([*_ALWAYS, *names, *(entry for entry in direct if entry)])
    return {"http_proxy": url, "https_proxy": url, "no_proxy": ",".join(listed)}
