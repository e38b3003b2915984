# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of single values, each by what the module that gets the value from its role checks it with."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partial
from typing import Any, Callable

from ansible_collections.bramble.pi.plugins.module_utils._boot import cmdline
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import join_command, renewal, reservation
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import node_labels
from ansible_collections.bramble.pi.plugins.module_utils._node import settings
from ansible_collections.bramble.pi.plugins.module_utils._ssh import config as ssh_config
from ansible_collections.bramble.pi.plugins.plugin_utils._inventory import maintenance, rack_groups
from ansible_collections.bramble.pi.plugins.plugin_utils._preflight.rack import ALL, Finding, Rack

#: A host, the variable that is to be set, and what raises a BrambleError if there is something wrong with it.
_Check = tuple[str, str, Callable[[], Any]]

#: What checks a variable's value.
_CHECKS: dict[str, Callable[[Any], Any]] = {
    "certificates_renew_before": renewal.check_renew_before,
    "control_plane_labels": node_labels.check_labels,
    "control_plane_taints": node_labels.check_taints,
    "control_plane_system_reserved": reservation.check_reservation,
    "control_plane_zone": lambda zone: node_labels.check_labels({node_labels.ZONE: zone}),
    "workers_labels": node_labels.check_labels,
    "workers_taints": node_labels.check_taints,
    "workers_zone": lambda zone: node_labels.check_labels({node_labels.ZONE: zone}),
    "maintenance_serial": lambda value: maintenance.size(value, of=1),
    "os_prep_kernel_cmdline": lambda tokens: cmdline.desired(present=tokens, absent=(), settings={}),
    "os_prep_kernel_modules": settings.check_modules,
    "os_prep_sysctl": settings.check_sysctl,
    "ssh_access_key_file": lambda path: ssh_config.quoted(path, "ssh_access_key_file"),
    "ssh_access_known_hosts_file": lambda path: ssh_config.quoted(path, "ssh_access_known_hosts_file"),
    "workers_system_reserved": reservation.check_reservation,
    "workers_token_ttl": lambda text: join_command.lifetime(text=text),
}


def check_role_values(rack: Rack) -> Iterator[Finding]:
    """Check what the roles' modules would refuse on a node."""
    for host, name, check in itertools.chain(_values(rack), _names(rack)):
        try:
            check()
        except BrambleError as error:
            text = str(error).rstrip(".")
            text = text if name in text else f"{name}: {text}"
            yield Finding(text if f"set {name}" in text else f"{text}: set {name} {ALL}", host)


def _values(rack: Rack) -> Iterator[_Check]:
    for host in dict.fromkeys([*rack.nodes, *rack.heads, *rack.servers]):
        for name, check in _CHECKS.items():
            value = rack.value(host, name)
            if value is not None:
                yield host, name, partial(check, value)


def _names(rack: Rack) -> Iterator[_Check]:
    """Check the names that all nodes have in /etc/hosts, but those that check_host_names looks at."""
    for host in rack_groups.read(rack.groups).members:
        own = rack.hostname(host)
        names = [host] if host in rack.nodes or host == own else [host, own]
        if names != [own] or host not in rack.nodes:
            check = partial(settings.check_names, names, address=rack.address(host))
            yield host, "os_prep_hostname", check
