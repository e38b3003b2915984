# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with a rack, as far as its inventory alone tells.

Each check yields findings; a finding names the value seen, the value expected and the variable to set.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Callable

from ansible_collections.bramble.pi.plugins.plugin_utils._preflight import (
    access,
    add_ons,
    backup,
    cards,
    cluster,
    cluster_networks,
    command_line,
    downloads,
    encryption,
    endpoint,
    failover,
    head,
    host_addresses,
    image_mirror,
    images,
    monitoring,
    names,
    netboot,
    proxy,
    rack_network,
    role_values,
    storage,
    values,
    vip,
)
from ansible_collections.bramble.pi.plugins.plugin_utils._preflight.rack import UNKNOWN, Finding, Rack

#: What is asked of the whole rack, in the order in which problems are told.
CHECKS: tuple[Callable[[Rack], Iterator[Finding]], ...] = (
    names.check_groups,
    cluster.check_control_planes,
    endpoint.check_endpoint,
    cluster.check_versions,
    cluster.check_systems,
    cluster.check_containerd_source,
    cluster.check_docker,
    downloads.check_downloads,
    downloads.check_ports,
    proxy.check_proxy,
    cluster_networks.check_networks,
    host_addresses.check_host_addresses,
    names.check_host_names,
    head.check_interfaces,
    head.check_wifi,
    rack_network.check_head,
    rack_network.check_static_addresses,
    rack_network.check_services,
    vip.check_vip,
    head.check_own_services,
    netboot.check_netboot,
    access.check_ssh,
    cluster.check_flags,
    cluster.check_failure_detection,
    encryption.check_encryption,
    cluster.check_zones,
    access.check_open_doors,
    backup.check_copies,
    failover.check_failover,
    monitoring.check_monitoring,
    image_mirror.check_image_mirror,
    storage.check_storage,
    images.check_images,
    add_ons.check_add_ons,
    cards.check_cards,
    role_values.check_role_values,
)


def validate(
    *,
    groups: Mapping[str, Sequence[str]],
    hosts: Mapping[str, Mapping[str, Any]],
    specs: Mapping[str, Mapping[str, Mapping[str, Any]]],
    files: Mapping[str, str] | None = None,
    node_network: Any,
    known_variables: Any,
) -> tuple[list[str], list[str]]:
    """Give all problems and all warnings, each once, with the hosts that it was seen on.

    ``specs`` has the options of each role. ``files`` has the text of files on the controller that the
    inventory names, by path, as far as they are there.
    """
    options = {name: option for role in specs.values() for name, option in role.items()}
    typed, findings = values.read_values(hosts, {**options, **values.CONNECTION})
    preflight = {"preflight_node_network": node_network, "preflight_known_variables": known_variables}
    arguments = {name: values.read_value(name, value, options[name]) for name, value in preflight.items()}
    network, own = (None if value is UNKNOWN else value for value, _findings in arguments.values())
    rack = Rack(groups=groups, hosts=typed, specs=specs, files=files or {}, node_network=network)
    return _texts(
        itertools.chain(
            *(found for _value, found in arguments.values()),
            findings,
            *(check(rack) for check in CHECKS),
            names.check_removed(rack.hosts),
            names.check_variables(rack, own or ()),
        ),
        rack.nodes,
    )


def command_line_problems(
    *,
    specs: Mapping[str, Mapping[str, Mapping[str, Any]]],
    variables: Sequence[str],
    known_variables: Sequence[str],
    run_tags: Sequence[str],
    skip_tags: Sequence[str],
    tags: Collection[str] | None,
) -> tuple[list[str], list[str]]:
    """Give all problems and all warnings of what a run was given; ``tags`` are those of its playbook."""
    return _texts(
        itertools.chain(
            command_line.check_extra_variables(variables, specs=specs, known_variables=known_variables),
            command_line.check_tags(run=run_tags, skip=skip_tags, there=tags),
        ),
        (),
    )


def removed_variables(*, nodes: Sequence[str], hosts: Mapping[str, Iterable[str]]) -> list[str]:
    """Name the variables that are set and that no role reads any more; ``hosts`` has the names of each."""
    return _texts(names.check_removed(hosts), nodes)[0]


def _texts(findings: Iterable[Finding], nodes: Sequence[str]) -> tuple[list[str], list[str]]:
    seen: dict[Finding, list[str]] = {}
    for finding in findings:
        hosts = seen.setdefault(finding._replace(host=None), [])
        # What two checks ask the same validator is told once.
        if finding.host is not None and finding.host not in hosts:
            hosts.append(finding.host)
    problems = [_text(finding, hosts, nodes) for finding, hosts in seen.items() if not finding.warning]
    warnings = [_text(finding, hosts, nodes) for finding, hosts in seen.items() if finding.warning]
    return problems, warnings


def _text(finding: Finding, hosts: Sequence[str], nodes: Sequence[str]) -> str:
    if not hosts:
        return finding.message
    where = "all nodes" if len(hosts) > 1 and set(hosts) >= set(nodes) else ", ".join(hosts)
    return f"{where}: {finding.message}"
