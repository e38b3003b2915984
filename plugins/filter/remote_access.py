# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of the role remote_access; the documentation of each is beside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Callable

from ansible_collections.bramble.pi.plugins.plugin_utils._common.filters import filter_errors
from ansible_collections.bramble.pi.plugins.plugin_utils._inventory import rack_groups
from ansible_collections.bramble.pi.plugins.plugin_utils._remote_access import (
    accepted_hosts as remote_access_accepted_hosts,
)
from ansible_collections.bramble.pi.plugins.plugin_utils._remote_access import (
    certificate,
    kubeconfig,
    refusals,
)
from ansible_collections.bramble.pi.plugins.plugin_utils._remote_access.ways import ways


@filter_errors(subject="remote_access_proxy_networks")
def accepted_hosts(networks: Sequence[str]) -> str:
    """Make the expression for kubectl proxy."""
    return remote_access_accepted_hosts.accepted_hosts(networks)


@filter_errors()
def certificate_names(pem: str) -> list[str]:
    """Read the names of a certificate."""
    return kubeconfig.certificate_names(pem)


@filter_errors()
def apiserver_certificate(
    config_map: str, *, names: Sequence[str], manifest: str, folder: str, cri_socket: str
) -> dict[str, Any]:
    """Ask for a certificate with further names."""
    return certificate.request(
        # Plain values: Ansible's own kinds of text are none that YAML knows.
        config_map=str(config_map),
        manifest=str(manifest),
        names=[str(name) for name in names],
        folder=str(folder),
        cri_socket=str(cri_socket),
    )._asdict()


def live_view_problems(hosts: Sequence[str], address: str) -> list[str]:
    """List what would be open to more than its address and its names."""
    return list(refusals.view_problems(address=address, hosts=hosts))


def remote_access_problems(
    access: Mapping[str, Any], groups: Mapping[str, Sequence[str]], door: str
) -> list[str]:
    """List what of the access would not be as it says."""
    found = rack_groups.read(groups)
    return list(
        refusals.access_problems(
            refusals.Access(**access), door=door, heads=found.heads, control_plane=found.control_planes
        )
    )


def remote_access_ways(
    hostvars: Mapping[str, Mapping[str, Any]],
    groups: Mapping[str, Sequence[str]],
    host: str,
    *,
    proxy: bool = False,
    networks: Sequence[str] = (),
    play_hosts: Sequence[str] = (),
) -> dict[str, Any]:
    """Say what a host does for those outside."""
    found = ways(
        hostvars=hostvars, groups=groups, host=host, proxy=proxy, networks=networks, play_hosts=play_hosts
    )
    return {**found._asdict(), "filters": found.filters}


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name the filters."""
        return {
            "accepted_hosts": accepted_hosts,
            "apiserver_certificate": apiserver_certificate,
            "certificate_names": certificate_names,
            "live_view_problems": live_view_problems,
            "remote_access_problems": remote_access_problems,
            "remote_access_ways": remote_access_ways,
        }
