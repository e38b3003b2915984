# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with a rack, as far as its inventory alone tells.

Each check yields findings; a finding names the value seen, the value expected and the variable to set.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from ansible_collections.bramble.pi.plugins.plugin_utils._preflight import (
    access,
    cluster,
    cluster_networks,
    images,
    names,
    netboot,
    rack_network,
)
from ansible_collections.bramble.pi.plugins.plugin_utils._preflight.rack import Finding, Rack


def validate(
    *, rack: Rack, node_network: str = "", known_variables: Sequence[str] = ()
) -> tuple[list[str], list[str]]:
    """Give all problems and all warnings, each once, with the hosts that it was seen on."""
    seen: dict[Finding, list[str]] = {}
    for finding in itertools.chain(
        names.check_groups(rack),
        cluster.check_control_planes(rack),
        cluster.check_versions(rack),
        cluster_networks.check_networks(rack, node_network),
        names.check_host_names(rack),
        rack_network.check_head(rack, node_network),
        rack_network.check_fixed_addresses(rack, node_network),
        rack_network.check_services(rack, node_network),
        netboot.check_netboot(rack),
        access.check_ssh(rack),
        cluster.check_failure_detection(rack),
        access.check_open_doors(rack),
        images.check_images(rack, node_network),
        names.check_variables(rack, known_variables),
    ):
        hosts = seen.setdefault(finding._replace(host=None), [])
        if finding.host is not None:
            hosts.append(finding.host)
    problems = [_text(finding, hosts, rack) for finding, hosts in seen.items() if not finding.warning]
    warnings = [_text(finding, hosts, rack) for finding, hosts in seen.items() if finding.warning]
    return problems, warnings


def _text(finding: Finding, hosts: Sequence[str], rack: Rack) -> str:
    if not hosts:
        return finding.message
    where = "all nodes" if len(hosts) > 1 and set(hosts) >= set(rack.nodes) else ", ".join(hosts)
    return f"{where}: {finding.message}"
