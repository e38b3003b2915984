# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What would open more than it says: addresses, networks and names that the roles and preflight refuse."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ansible_collections.bramble.pi.plugins.plugin_utils._remote_access.accepted_hosts import (
    AcceptedHostsError,
    accepted_hosts,
)

EVERYWHERE = ("", "0.0.0.0", "::")  # noqa: S104 - to refuse it
API_SERVER_PORT = 6443
_PERSON = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*")
_HOST = re.compile(r"[A-Za-z0-9.:-]+")
_WHERE = "in group_vars/control_plane.yml"


class Access(NamedTuple):
    """The inputs of the role remote_access, each without its prefix; None for what is not known."""

    person: str | None = None
    port: int | None = None
    networks: Sequence[str] | None = None
    proxy: bool | None = None
    proxy_address: str | None = None
    proxy_networks: Sequence[str] | None = None
    proxy_everywhere: bool | None = None


def view_problems(*, address: str | None, hosts: Sequence[str] | None) -> Iterator[str]:
    """Say how the live view would be open to more than its address and its names."""
    if address in EVERYWHERE:
        yield (
            f"live_view_address is {address!r}, which is open on every network; expected one address of the "
            f"node: set live_view_address {_WHERE}"
        )
    if hosts is not None and not hosts:
        yield (
            "live_view_hosts is [], and no browser could ask; expected names and addresses of the node: set "
            f"live_view_hosts {_WHERE}"
        )
    for name in hosts or ():
        if not _HOST.fullmatch(name):
            yield (
                f"live_view_hosts has {name!r}; expected names and addresses without a pattern: set "
                f"live_view_hosts {_WHERE}"
            )


def access_problems(
    access: Access, *, door: str, heads: Sequence[str], control_plane: Sequence[str]
) -> Iterator[str]:
    """Say what of the access would not be as it says; ``door`` is the host that is reached from outside."""
    if access.person is not None and not _PERSON.fullmatch(access.person):
        yield (
            f"remote_access_person is {access.person!r}; expected a name of letters, digits, dots and "
            "hyphens, such as 'ada': set remote_access_person"
        )
    yield from _networks_problems(access.networks or (), heads=heads)
    if access.port not in (None, API_SERVER_PORT) and door in control_plane:
        yield (
            f"remote_access_port is {access.port}, and {door} is itself a control plane, which listens at "
            f"{API_SERVER_PORT}; expected that: set remote_access_port to {API_SERVER_PORT} {_WHERE}"
        )
    if access.proxy:
        yield from _proxy_problems(access)


def _networks_problems(networks: Sequence[str], *, heads: Sequence[str]) -> Iterator[str]:
    if networks and not heads:
        yield (
            f"remote_access_networks is {list(networks)}, and there is no head that could keep others out; "
            f"expected a host in the group nat_headnode, or no network: set remote_access_networks {_WHERE}"
        )
    for text in networks:
        try:
            ipaddress.ip_interface(text)
        except ValueError:
            yield (
                f"remote_access_networks has {text!r}; expected networks such as '192.168.1.0/24': set "
                f"remote_access_networks {_WHERE}"
            )


def _proxy_problems(access: Access) -> Iterator[str]:
    """Anyone who reaches the proxy is the administrator of the cluster."""
    if access.proxy_address in EVERYWHERE and not access.proxy_everywhere:
        yield (
            f"remote_access_proxy_address is {access.proxy_address!r}, which is open on every network; "
            "expected one address of the node, or remote_access_proxy_everywhere as well: set "
            f"remote_access_proxy_address {_WHERE}"
        )
    networks = access.proxy_networks
    if networks is not None and not networks:
        yield (
            "remote_access_proxy_networks is []; expected the networks that may use it: set "
            f"remote_access_proxy_networks {_WHERE}"
        )
    try:
        accepted_hosts(networks or ())
    except AcceptedHostsError as error:
        yield f"remote_access_proxy_networks: {error}; set remote_access_proxy_networks {_WHERE}"
