# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of names: groups, hosts and variables."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._node import settings
from ansible_collections.bramble.pi.plugins.plugin_utils._inventory import storage
from ansible_collections.bramble.pi.plugins.plugin_utils._preflight import playbooks
from ansible_collections.bramble.pi.plugins.plugin_utils._preflight.rack import (
    ALL,
    HEAD_GROUP,
    SERVICES_GROUP,
    Finding,
    Rack,
)

#: How like a known name a variable has to be to count as a misspelling of it: with the prefix of a role, and
#: without one.
MISSPELT_WITH_PREFIX = 0.75
MISSPELT = 0.9

#: Two names for one thing: those that no role reads any more, each with the one that stays.
REMOVED = {
    "pod_network_cidr": "control_plane_pod_cidr",
    "rack_services_network": "preflight_node_network",
    "netboot_server_network": "preflight_node_network",
    "netboot_server_dir": "netboot_tree_dir",
    "flash_known_hosts_file": "ssh_access_known_hosts_file",
    "flash_hostname": "os_prep_hostname",
    "flash_cmdline_present": "os_prep_kernel_cmdline",
    "flash_interface": "node_network_interface",
    "flash_address": "node_network_address",
    "flash_gateway": "node_network_gateway",
    "flash_resolvers": "node_network_resolvers",
    "flash_search": "node_network_search",
    "flash_wifi_ssid": "nat_headnode_wifi_ssid",
    "flash_wifi_psk": "nat_headnode_wifi_psk",
    "flash_wifi_country": "nat_headnode_wifi_country",
    "flash_wifi_hidden": "nat_headnode_wifi_hidden",
}


#: What roles leave for others while a run goes on; a later playbook begins with preflight again.
RESULTS = frozenset(
    {
        "add_ons_images",
        "backup_made",
        "control_plane_answering",
        "control_plane_initialised",
        "control_plane_joined",
        "kube_packages_result",
    }
)


def nearest(name: str, known: Sequence[str], cutoff: float) -> str | None:
    """Return the known name that is most like this one, if it is like one at all."""
    return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=cutoff)), None)


def check_groups(rack: Rack) -> Iterator[Finding]:
    """Check that the groups are there and that each node has one place."""
    for group in ("control_plane", "workers"):
        if group in rack.groups:
            continue
        like = nearest(group, [name for name in rack.groups if name not in ("all", "ungrouped")], 0.6)
        hint = f" (is it '{like}', misspelt?)" if like else ""
        yield Finding(
            f"group '{group}' is missing{hint}: add it to the inventory's hosts.yml, if need be without hosts"
        )
    if "control_plane" in rack.groups and not rack.control_plane:
        yield Finding(
            "group 'control_plane' has no hosts: put the node that is to run the control plane into it"
        )
    for host in rack.control_plane:
        if host in rack.workers:
            yield Finding("is in both groups control_plane and workers: take it out of one of them", host)
    for group, hosts, what in (
        (HEAD_GROUP, rack.heads, "a rack has one head"),
        (SERVICES_GROUP, rack.servers, "one host gives a rack its addresses, names and time"),
    ):
        if len(hosts) > 1 and group in rack.groups:
            yield Finding(f"group '{group}' has {len(hosts)} hosts ({', '.join(hosts)}): {what}")
    for host in rack.hosts:
        if (
            host in [*rack.nodes, *rack.heads, *rack.servers, *storage.servers(rack.groups)]
            or rack.mac(host)
            or rack.is_unknown(host, "rack_services_mac")
            or rack.is_local(host)
        ):
            continue
        if host != "localhost":
            yield Finding(
                "is in none of the groups control_plane and workers: nothing is done on it",
                host,
                warning=True,
            )


def check_host_names(rack: Rack) -> Iterator[Finding]:
    """Check that each node's name is one that Kubernetes takes, and its own."""
    seen: dict[str, str] = {}
    for host in rack.nodes:
        name = rack.hostname(host)
        try:
            settings.check_hostname(name)
        except settings.SettingsError as error:
            yield Finding(str(error), host)
            continue
        if name.partition(".")[0] == "localhost":
            yield Finding(
                f"the host name is {name!r}, each machine's own name; expected one that the others "
                "have for it: rename the host in hosts.yml, or set os_prep_hostname for it",
                host,
            )
            continue
        other = seen.setdefault(name, host)
        if other != host:
            yield Finding(
                f"has the host name {name!r}, as {other} has: set os_prep_hostname for one of them", host
            )


def check_removed(hosts: Mapping[str, Iterable[str]]) -> Iterator[Finding]:
    """Name the variables that no role reads any more, whatever their values are, with those that are read."""
    for host, names in hosts.items():
        for name in names:
            if name in REMOVED:
                yield Finding(
                    f"{name} is set, which no role reads any more; expected {REMOVED[name]}, which means the "
                    f"same: set {REMOVED[name]} where {name} is set now",
                    host,
                )


class Unknown(NamedTuple):
    """A name that is like a variable of this collection, and the one that it is a misspelling of."""

    like: str | None


def unknown(name: str, specs: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Unknown | None:
    """Tell whether a variable is like one of this collection, and none of it; others are the user's own."""
    options = [option for role in specs.values() for option in role]
    if name in options or name in REMOVED or name.startswith(("_", "ansible_")):
        return None
    # Those of playbooks begin with words of everybody: start_time, scan_ports.
    prefixed = name.startswith(tuple(f"{role}_" for role in specs if role not in playbooks.OPTIONS))
    like = nearest(name, options, MISSPELT_WITH_PREFIX if prefixed else MISSPELT)
    return Unknown(like) if like or prefixed else None


def check_variables(rack: Rack, known_variables: Sequence[str]) -> Iterator[Finding]:
    """Check that the variables are known by their names."""
    for host, variables in rack.hosts.items():
        for name in variables:
            found = None if name in {*known_variables, *RESULTS} else unknown(name, rack.specs)
            if found and found.like:
                yield Finding(
                    f"variable {name} is not known: did you mean {found.like}? If it is your own, name it in "
                    f"preflight_known_variables {ALL}",
                    host,
                )
            elif found:
                yield Finding(
                    f"variable {name} begins like one of bramble.pi, but is none: if it is your own, name it "
                    f"in preflight_known_variables {ALL}",
                    host,
                    warning=True,
                )
