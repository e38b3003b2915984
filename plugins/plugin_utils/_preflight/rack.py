# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory as the checks see it, and what they find."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.compatibility import (
    CompatibilityError,
    Version,
    parse_version,
)
from ansible_collections.bramble.pi.plugins.plugin_utils._inventory import identity, rack_groups
from ansible_collections.bramble.pi.plugins.plugin_utils._inventory.addresses import parse_network

if TYPE_CHECKING:
    import netaddr

#: Stands for a value that cannot be known before a host is touched, such as one made from facts.
UNKNOWN = object()


class Undefined(NamedTuple):
    """Stands for a value that cannot be made, as a variable in it is defined nowhere in the inventory."""

    name: str


HEAD_GROUP = "nat_headnode"
SERVICES_GROUP = "rack_services"
#: Hosts whose interface the role node_network configures.
FIXED_GROUP = "node_network"
#: Where to set what holds for the whole rack.
ALL = "in group_vars/all.yml"


def is_template(value: Any) -> bool:
    """Tell whether a value is a template, which only Ansible can make something of, or a list with one."""
    if isinstance(value, list):
        return any(is_template(item) for item in value)
    return isinstance(value, str) and "{{" in value


class Finding(NamedTuple):
    """Something wrong (or only doubtful), and the host it was seen on, if it belongs to one."""

    message: str
    host: str | None = None
    warning: bool = False


class Rack:
    """The inventory as the checks see it; the values of its variables have their specified types."""

    def __init__(
        self,
        *,
        groups: Mapping[str, Sequence[str]],
        hosts: Mapping[str, Mapping[str, Any]],
        specs: Mapping[str, Mapping[str, Mapping[str, Any]]],
        files: Mapping[str, str],
        node_network: str | None,
    ) -> None:
        self.groups = groups
        #: The text of files on the controller that the inventory names, by path, as far as they are there.
        self.files = files
        self.hosts = hosts
        self.specs = specs
        self.options = {name: option for options in specs.values() for name, option in options.items()}
        found = rack_groups.read(groups)
        self.control_plane, self.workers, self.nodes = found.control_planes, found.workers, found.nodes
        self.heads, self.servers = found.heads, found.servers
        #: Empty if it is not set; None if it cannot be known.
        self.node_network = node_network
        try:
            #: The network that the nodes are in, if it is told; check_networks reports one that is none.
            self.network: netaddr.IPNetwork | None = parse_network(node_network)
        except ValueError:
            self.network = None

    def value(self, host: str, name: str) -> Any:
        """Give the host's value, else the role's default; None if it cannot be known yet."""
        if name in self.hosts[host]:
            value = self.hosts[host][name]
            return None if value is UNKNOWN else value
        default = self.options.get(name, {}).get("default")
        return None if is_template(default) else default

    def is_unknown(self, host: str, name: str) -> bool:
        """Tell whether the host's value is set, but cannot be known yet or is not of its type."""
        return self.hosts[host].get(name) is UNKNOWN

    def cluster_value(self, name: str) -> Any:
        """Give the value of what holds for the whole cluster: it is read on the control plane."""
        return next(
            (value for host in self.control_plane if (value := self.value(host, name)) is not None), None
        )

    def told(self, host: str) -> dict[str, Any]:
        """Give the host's variables as far as they are known."""
        return {name: value for name, value in self.hosts[host].items() if value is not UNKNOWN}

    def address(self, host: str) -> str:
        """Give the node's address in the rack, or a name that stands for it."""
        return identity.address(host, self.told(host))

    def outer_address(self, host: str) -> str:
        """Give where Ansible reaches the host."""
        return identity.outer_address(host, self.told(host))

    def ssh_port(self, host: str) -> int:
        """Give the port of the host's sshd."""
        return identity.ssh_port(self.told(host))

    def mac(self, host: str) -> str:
        """Give the host's MAC, empty if none is known."""
        return identity.mac(self.told(host))

    def is_local(self, host: str) -> bool:
        """Tell whether the host is this machine itself."""
        return identity.is_local(self.told(host))

    def inner_address(self, host: str) -> str:
        """Give the node's address in the rack, if one is told beside Ansible's."""
        return identity.inner_address(self.told(host))

    def address_variable(self, host: str) -> str:
        """Name where the node's address in the rack is set."""
        return identity.address_variable(self.told(host))

    def hostname(self, host: str) -> str:
        """Give the name that the node will have."""
        return identity.hostname(host, self.told(host))

    def version(self, host: str) -> Version | None:
        """Give the node's Kubernetes version, if it is one."""
        try:
            return parse_version(self.value(host, "kube_packages_version"))
        except CompatibilityError:
            return None
