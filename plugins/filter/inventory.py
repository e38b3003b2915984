# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters that read a rack from its inventory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Callable

import jinja2.runtime
from ansible_collections.bramble.pi.plugins.module_utils._rack.bootptab import Entry, parse_bootptab
from ansible_collections.bramble.pi.plugins.plugin_utils._common.filters import filter_errors
from ansible_collections.bramble.pi.plugins.plugin_utils._inventory import (
    control_groups,
    hosts,
    identity,
    leases,
    netboot,
    power,
    proxy,
    receivers,
    ssh,
)
from ansible_collections.bramble.pi.plugins.plugin_utils._inventory import (
    rack_groups as inventory_rack_groups,
)

HostVars = Mapping[str, Mapping[str, Any]]
Groups = Mapping[str, Sequence[str]]


@filter_errors()
def backup_receivers(hostvars: HostVars, host: str, names: Sequence[str]) -> list[dict[str, Any]]:
    """List the nodes that get copies of a host's backups."""
    return receivers.receivers(host=host, names=names, hosts=hostvars)


@filter_errors(subject="the bootptab file (rack_services_bootptab) is not as it should be")
def bootptab(text: str) -> list[dict[str, Any]]:
    """Read the file."""
    return [entry._asdict() for entry in parse_bootptab(text=str(text))]


def control_groups_problem(
    facts: Mapping[str, Any],
    edited: Mapping[str, Any],
    tokens: Sequence[str],
    *,
    kubernetes: str = "",
    kubelet: Mapping[str, Any] | None = None,
) -> str:
    """Say which control groups are missing."""
    return control_groups.problem(
        facts=facts, edited=edited, tokens=tokens, kubernetes=kubernetes, kubelet=kubelet or {}
    )


def live_view_boards(results: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> list[dict[str, str]]:
    """List the boards."""
    # The kernel ends its texts with a zero byte.
    return [
        {
            "host": result["item"],
            "name": names[result["item"]],
            "model": str(result.get("stdout", "")).rstrip("\0"),
        }
        for result in results
    ]


def netboot_clients(hostvars: HostVars, groups: Groups, folder: str) -> dict[str, list[dict[str, str]]]:
    """List the nodes that boot over the network, and the folders that are served."""
    return netboot.netboot_clients(hostvars=hostvars, groups=groups, folder=folder)


def node_names(hostvars: HostVars, groups: Groups) -> dict[str, str]:
    """Name the nodes."""
    return hosts.node_names(hostvars=hostvars, groups=groups)


def node_problems(
    hostvars: Any,
    host: str,
    hostname: str,
    play_hosts: list[str],
    *,
    kubernetes: str = "",
    pod_network: str = "none",
    pod_cidr: str = "",
    service_cidr: str = "",
    control_plane: str = "",
) -> list[str]:
    """List what is in the way of a host."""
    facts = {name: hostvars[name].get("ansible_facts", {}).get("bramble") for name in {host, *play_hosts}}
    return hosts.node_problems(
        host=host,
        hostname=hostname or identity.hostname(host, hostvars[host]),
        facts=facts[host],
        machine_ids={name: facts[name]["machine_id"] for name in play_hosts if facts[name]},
        variables=hostvars[host],
        kubernetes=kubernetes,
        pod_network=pod_network,
        pod_cidr=pod_cidr,
        service_cidr=service_cidr,
        others=[known for known in facts.values() if known],
        cluster_variables=_settings_of_cluster(hostvars[control_plane or host]),
    )


#: What holds for the whole cluster, and may be set for its control planes alone.
_OF_CLUSTER = (
    "control_plane_cluster_configuration",
    "control_plane_endpoint",
    "control_plane_pod_cidr",
    "control_plane_service_cidr",
    "control_plane_vip",
)


def _settings_of_cluster(variables: Any) -> dict[str, Any]:
    """Read them from another host; None is a template that cannot be evaluated from here."""
    return {name: _known(variables[name]) for name in _OF_CLUSTER if name in variables}


def _known(value: Any) -> Any:
    if isinstance(value, jinja2.runtime.Undefined):
        return None
    if isinstance(value, Mapping):
        return {key: _known(part) for key, part in value.items()}
    return value


def proxy_environment(
    hostvars: HostVars, groups: Groups, url: str, direct: Sequence[str] = ()
) -> dict[str, str]:
    """Return the variables by which programs know the proxy."""
    return proxy.environment(hostvars=hostvars, groups=groups, url=str(url), direct=direct)


def rack_groups(groups: Groups) -> dict[str, list[str]]:
    """Say which hosts are what in the rack."""
    return inventory_rack_groups.read(groups)._asdict()


def rack_host(hostvars: HostVars, host: str) -> dict[str, Any]:
    """Say who a host is, and where it is reached."""
    return identity.summary(host, hostvars[host])


def power_off_order(hostvars: HostVars, groups: Groups, machine_id: str) -> power.Order:
    """Say in which order the rack is switched off."""
    return power.order(hostvars=hostvars, groups=groups, machine_id=machine_id)


def power_on_missing(hostvars: HostVars, groups: Groups, hosts: Sequence[str], seconds: int) -> list[str]:
    """Say who is missing."""
    return power.missing(hostvars=hostvars, groups=groups, hosts=hosts, seconds=int(seconds))


def rack_hosts(hostvars: HostVars, groups: Groups) -> list[dict[str, Any]]:
    """List the hosts of the rack."""
    return hosts.rack_hosts(hostvars=hostvars, groups=groups)


@filter_errors()
def rack_leases(
    hostvars: HostVars, groups: Groups, bootptab: Sequence[Mapping[str, Any]] = ()
) -> list[dict[str, Any]]:
    """List who gets which address."""
    found = leases.rack_leases(
        hostvars=hostvars, groups=groups, bootptab=[Entry(**entry) for entry in bootptab]
    )
    return [host._asdict() for host in found]


def ssh_hosts(hostvars: HostVars, groups: Groups) -> list[dict[str, Any]]:
    """List the hosts."""
    return ssh.rack_hosts(hostvars=hostvars, groups=groups)


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name the filters; each is documented in a file of its name."""
        return {
            "backup_receivers": backup_receivers,
            "bootptab": bootptab,
            "control_groups_problem": control_groups_problem,
            "live_view_boards": live_view_boards,
            "netboot_clients": netboot_clients,
            "node_names": node_names,
            "node_problems": node_problems,
            "power_off_order": power_off_order,
            "power_on_missing": power_on_missing,
            "proxy_environment": proxy_environment,
            "rack_groups": rack_groups,
            "rack_host": rack_host,
            "rack_hosts": rack_hosts,
            "rack_leases": rack_leases,
            "ssh_hosts": ssh_hosts,
        }
