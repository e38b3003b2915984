# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with a rack, as far as its inventory alone tells.

Each check yields findings; a finding names the value seen, the value wanted and the variable to set.
"""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.bramble.pi.plugins.module_utils._containers.images import (
    ContainerImagesError,
    normalize,
)
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import (
    failure_detection as _failure_detection,
)
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.compatibility import (
    CompatibilityError,
    Version,
    kubernetes_runtime,
    parse_version,
    version_warning,
)
from ansible_collections.bramble.pi.plugins.module_utils._netboot.system import SERIAL
from ansible_collections.bramble.pi.plugins.module_utils._rack.bootptab import BootptabError, parse_bootptab
from ansible_collections.bramble.pi.plugins.module_utils._rack.services import RackServicesError, parse_range
from ansible_collections.bramble.pi.plugins.module_utils._ssh.keys import authorized_key_problem
from ansible_collections.bramble.pi.plugins.plugin_utils._inventory import leases
from ansible_collections.bramble.pi.plugins.plugin_utils._inventory.addresses import (
    parse_address,
    parse_interface,
    parse_network,
)
from ansible_collections.bramble.pi.plugins.plugin_utils._remote_access.accepted_hosts import (
    AcceptedHostsError,
    accepted_hosts,
)

if TYPE_CHECKING:
    import netaddr

#: Stands for a value that cannot be known before a host is touched, such as one made from facts.
UNKNOWN = object()

HEAD_GROUP = "nat_headnode"
SERVICES_GROUP = "rack_services"
#: Hosts whose interface the role node_network configures.
FIXED_GROUP = "node_network"
#: Hosts that boot from the one host of the other group.
NETBOOT_GROUP = "netboot"
NETBOOT_SERVER_GROUP = "netboot_server"
#: Where to set what holds for the whole rack.
ALL = "in group_vars/all.yml"
EVERYWHERE = ("", "0.0.0.0", "::")  # noqa: S104 - to refuse it
#: What kube-controller-manager cuts from the pod CIDR for each node.
NODE_PREFIX = 24
#: Docker's bridge, unless daemon.json says otherwise.
DOCKER_BRIDGE = "172.17.0.1/16"
#: The upstream repository begins with this minor.
UPSTREAM = "pkgs.k8s.io"
UPSTREAM_OLDEST = (1, 24)
#: How like a known name a variable has to be to count as a misspelling of it: with the prefix of a role, and
#: without one.
MISSPELT_WITH_PREFIX = 0.75
MISSPELT = 0.9

LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
HOST_NAME = re.compile(rf"{LABEL}(\.{LABEL})*", re.ASCII)
#: The kernel's limit (HOST_NAME_MAX).
HOST_NAME_LENGTH = 64


class Finding(NamedTuple):
    """Something wrong (or only doubtful), and the host it was seen on, if it belongs to one."""

    message: str
    host: str | None = None
    warning: bool = False


class Rack:
    """The inventory as the checks see it."""

    def __init__(
        self,
        *,
        groups: Mapping[str, Sequence[str]],
        hosts: Mapping[str, Mapping[str, Any]],
        specs: Mapping[str, Mapping[str, Mapping[str, Any]]],
        files: Mapping[str, str] | None = None,
    ) -> None:
        self.groups = groups
        #: The text of files on the controller that the inventory names, by path, as far as they are there.
        self.files = files or {}
        self.hosts = hosts
        self.specs = specs
        self.options = {name: option for options in specs.values() for name, option in options.items()}
        self.control_plane = list(groups.get("control_plane", ()))
        self.workers = list(groups.get("workers", ()))
        self.nodes = list(dict.fromkeys(self.control_plane + self.workers))
        self.heads = list(groups.get(HEAD_GROUP, ()))
        self.servers = list(groups.get(SERVICES_GROUP, self.heads))

    def value(self, host: str, name: str) -> Any:
        """Give the host's value, else the role's default; None if it cannot be known yet."""
        value = self.hosts[host].get(name, self.options.get(name, {}).get("default"))
        return None if value is UNKNOWN or (isinstance(value, str) and "{{" in value) else value

    def cluster_value(self, name: str) -> Any:
        """Give the value of what holds for the whole cluster: it is read on the control plane."""
        return next(
            (value for host in self.control_plane if (value := self.value(host, name)) is not None), None
        )

    def address(self, host: str) -> Any:
        """Give the node's address in the rack, or a name that stands for it."""
        return self.value(host, "os_prep_address") or self.value(host, "ansible_host") or host

    def hostname(self, host: str) -> Any:
        """Give the name that the node will have."""
        return self.value(host, "os_prep_hostname") or host

    def version(self, host: str) -> Version | None:
        """Give the node's Kubernetes version, if it is one."""
        try:
            return parse_version(self.value(host, "kube_packages_version"))
        except CompatibilityError:
            return None


def _nearest(name: str, known: Sequence[str], cutoff: float) -> str | None:
    return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=cutoff)), None)


def check_groups(rack: Rack) -> Iterator[Finding]:
    """Check that the groups are there and that each node has one place."""
    for group in ("control_plane", "workers"):
        if group in rack.groups:
            continue
        like = _nearest(group, [name for name in rack.groups if name not in ("all", "ungrouped")], 0.6)
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
            host in [*rack.nodes, *rack.heads, *rack.servers]
            or rack.value(host, "rack_services_mac")
            or rack.value(host, "ansible_connection") == "local"
        ):
            continue
        if host != "localhost":
            yield Finding(
                "is in none of the groups control_plane and workers: nothing is done on it",
                host,
                warning=True,
            )


def check_control_planes(rack: Rack) -> Iterator[Finding]:
    """Check what several control planes need."""
    count = len(rack.control_plane)
    endpoint = rack.cluster_value("control_plane_endpoint")
    if (
        count > 1
        and not endpoint
        and all(rack.hosts[host].get("control_plane_endpoint") is not UNKNOWN for host in rack.control_plane)
    ):
        yield Finding(
            f"there are {count} control planes and no control_plane_endpoint: set it {ALL} to a name or "
            "address that reaches all of them, such as 'k8s.lan:6443'; it cannot be added later"
        )
    if count > 1 and count % 2 == 0:
        yield Finding(
            f"there are {count} control planes: an even number bears no more failures than {count - 1} do",
            warning=True,
        )
    if endpoint:
        name, _colon, port = str(endpoint).partition(":")
        if not HOST_NAME.fullmatch(name) or (_colon and not (port.isdecimal() and 0 < int(port) < 65536)):
            yield Finding(
                f"control_plane_endpoint is {endpoint!r}: it has to be a name or an IPv4 address, with a "
                f"port if not 6443, such as 'k8s.lan:6443'; set it {ALL}"
            )
    for host in rack.control_plane:
        advertised = rack.value(host, "control_plane_advertise_address")
        if advertised:
            try:
                parse_address(advertised)
            except ValueError as error:
                yield Finding(f"control_plane_advertise_address is {advertised!r}, which {error}", host)


def check_versions(rack: Rack) -> Iterator[Finding]:
    """Check that the versions are versions and go together."""
    for host in rack.nodes:
        text = rack.value(host, "kube_packages_version")
        if text is None:
            continue
        try:
            version = parse_version(text)
        except CompatibilityError as error:
            yield Finding(f"kube_packages_version: {error}; set it {ALL}", host)
            continue
        warning = version_warning(version)
        if warning:
            yield Finding(f"kube_packages_version: {warning}", host, warning=True)
        runtime = rack.value(host, "docker_kubernetes_runtime")
        if runtime:
            try:
                kubernetes_runtime(version=version, runtime=str(runtime))
            except CompatibilityError as error:
                yield Finding(
                    f"docker_kubernetes_runtime: {error}; set it {ALL}, or another kube_packages_version",
                    host,
                )
        repository = rack.value(host, "kube_packages_repository")
        if version.short < UPSTREAM_OLDEST and UPSTREAM in str(repository):
            yield Finding(
                f"kube_packages_version is '{version}', and {UPSTREAM} has none before "
                f"{UPSTREAM_OLDEST[0]}.{UPSTREAM_OLDEST[1]}: set a newer one {ALL}, or a repository that has "
                "it in kube_packages_repository",
                host,
            )
    yield from _check_skew(rack)


def _check_skew(rack: Rack) -> Iterator[Finding]:
    control_planes = [version for host in rack.control_plane if (version := rack.version(host))]
    if not control_planes:
        return
    oldest = min(control_planes, key=lambda version: version.short)
    for host in rack.workers:
        version = rack.version(host)
        if version and version.short > oldest.short:
            yield Finding(
                f"kube_packages_version is '{version}', and '{oldest}' on the control plane: a worker may be "
                f"older, but not newer; set it once, {ALL}",
                host,
            )


def check_networks(rack: Rack, node_network: str) -> Iterator[Finding]:
    """Check the CIDRs by themselves, and that none of them overlaps another or takes in a node."""
    networks: dict[str, netaddr.IPNetwork] = {}
    wanted = {
        name: rack.cluster_value(name) for name in ("control_plane_pod_cidr", "control_plane_service_cidr")
    }
    for name, text in {**wanted, "preflight_node_network": node_network or None}.items():
        if text is None:
            continue
        try:
            networks[name] = parse_network(text)
        except ValueError as error:
            yield Finding(f"{name} is {text!r}, which {error}; set it {ALL}")
    for name, value in wanted.items():
        for host in rack.nodes:
            own = rack.hosts[host].get(name)
            if own not in (None, UNKNOWN, value) and value is not None:
                yield Finding(
                    f"{name} is {own!r}, and {value!r} on the control plane: set it once, {ALL}", host
                )
    for (name, network), (other_name, other) in itertools.combinations(networks.items(), 2):
        if network in other or other in network:
            yield Finding(
                f"{name} {network} overlaps {other_name} {other}: set one of them {ALL} to a free network"
            )
    yield from _check_sizes(rack, networks)
    yield from _check_docker_bridge(rack, networks)
    yield from _check_addresses(rack, networks)


def _check_sizes(rack: Rack, networks: Mapping[str, netaddr.IPNetwork]) -> Iterator[Finding]:
    pods = networks.get("control_plane_pod_cidr")
    if pods is not None:
        room = 2 ** (NODE_PREFIX - pods.prefixlen) if pods.prefixlen <= NODE_PREFIX else 0
        if room < len(rack.nodes):
            needed = NODE_PREFIX - (len(rack.nodes) - 1).bit_length()
            yield Finding(
                f"control_plane_pod_cidr {pods} has room for {room} nodes (each takes a /{NODE_PREFIX}), and "
                f"there are {len(rack.nodes)}: set one of /{needed} or larger {ALL}"
            )
    services = networks.get("control_plane_service_cidr")
    # kube-apiserver takes no more than 20 bits, and kubeadm wants ten addresses.
    if services is not None and not 12 <= services.prefixlen <= 28:
        yield Finding(f"control_plane_service_cidr {services} has to be between /12 and /28: set it {ALL}")


def _check_docker_bridge(rack: Rack, networks: Mapping[str, netaddr.IPNetwork]) -> Iterator[Finding]:
    for host in rack.nodes:
        daemon_json = rack.value(host, "docker_daemon_json")
        bip = daemon_json.get("bip", DOCKER_BRIDGE) if isinstance(daemon_json, Mapping) else DOCKER_BRIDGE
        try:
            bridge = parse_interface(bip).cidr
        except ValueError as error:
            yield Finding(f"bip in docker_daemon_json is {bip!r}, which {error}", host)
            continue
        for name in ("control_plane_pod_cidr", "control_plane_service_cidr"):
            if name in networks and (networks[name] in bridge or bridge in networks[name]):
                yield Finding(
                    f"{name} {networks[name]} overlaps {bridge}, the network of Docker's own bridge: set "
                    f"another {ALL}, or move the bridge by bip in docker_daemon_json",
                    host,
                )


def _check_addresses(rack: Rack, networks: Mapping[str, netaddr.IPNetwork]) -> Iterator[Finding]:
    seen: dict[str, str] = {}
    # A head whose address inside is not told is known by the one outside, which check_head looks at.
    heads = [host for host in rack.heads if rack.value(host, "os_prep_address")]
    for host in dict.fromkeys([*rack.nodes, *heads]):
        text = rack.address(host)
        if re.fullmatch(r"[0-9.]+|.*:.*", str(text)) is None:
            continue  # A name; what it stands for is known only to the resolver.
        try:
            address = parse_address(text)
        except ValueError as error:
            yield Finding(
                f"the node's address is {text!r}, which {error}; set ansible_host or os_prep_address", host
            )
            continue
        other = seen.setdefault(str(address), host)
        if other != host:
            yield Finding(
                f"has the address {address}, as {other} has: set ansible_host or os_prep_address", host
            )
        for name, network in networks.items():
            if name != "preflight_node_network" and address in network:
                yield Finding(
                    f"{name} {network} takes in the node's address {address}: set another network {ALL}", host
                )
        nodes = networks.get("preflight_node_network")
        if nodes is not None and (address not in nodes or address in (nodes.network, nodes.broadcast)):
            yield Finding(
                f"has the address {address}, which no node can have in preflight_node_network {nodes}: set "
                f"ansible_host or os_prep_address, or preflight_node_network {ALL}",
                host,
            )


def check_host_names(rack: Rack) -> Iterator[Finding]:
    """Check that each node's name is one that Kubernetes takes, and its own."""
    seen: dict[str, str] = {}
    for host in rack.nodes:
        name = str(rack.hostname(host))
        if (
            HOST_NAME.fullmatch(name) is None
            or len(name) > HOST_NAME_LENGTH
            or re.fullmatch(r"[0-9.]+", name)
        ):
            yield Finding(
                f"the host name is {name!r}: it has to be made of a-z, 0-9 and hyphens (RFC 1123), not of "
                f"digits alone, with at most {HOST_NAME_LENGTH} characters; rename the host in the "
                "inventory, or set os_prep_hostname",
                host,
            )
            continue
        other = seen.setdefault(name, host)
        if other != host:
            yield Finding(
                f"has the host name {name!r}, as {other} has: set os_prep_hostname for one of them", host
            )


def check_head(rack: Rack, node_network: str) -> Iterator[Finding]:
    """Check that the head node has two sides: two interfaces, in two networks."""
    for host in rack.heads:
        outer = rack.value(host, "nat_headnode_outer_interface")
        if outer and outer == rack.value(host, "nat_headnode_inner_interface"):
            yield Finding(
                f"nat_headnode_inner_interface and nat_headnode_outer_interface are both {outer!r}: set them "
                f"in group_vars/{HEAD_GROUP}.yml to the interface of the rack and the one to the outside",
                host,
            )
        if rack.value(host, "nat_headnode_uplink") == "wifi" and not rack.value(
            host, "nat_headnode_wifi_ssid"
        ):
            yield Finding(
                "nat_headnode_uplink is 'wifi', and nat_headnode_wifi_ssid is not told: set it to the name "
                f"of the network in group_vars/{HEAD_GROUP}.yml, or nat_headnode_uplink to keep",
                host,
            )
        for name in ("control_plane_pod_cidr", "control_plane_service_cidr"):
            try:
                if parse_address(rack.value(host, "ansible_host")) in parse_network(rack.cluster_value(name)):
                    yield Finding(
                        f"{name} {rack.cluster_value(name)} takes in the head's address "
                        f"{rack.value(host, 'ansible_host')}: set another network {ALL}",
                        host,
                    )
            except ValueError:
                continue  # A name, or check_networks has a word on it.
        # With only one address told, nothing is known of the other side.
        try:
            inside = parse_network(node_network)
            sides = {parse_address(rack.address(host)), parse_address(rack.value(host, "ansible_host"))}
        except ValueError:
            continue
        if len(sides) == 2 and all(side in inside for side in sides):
            yield Finding(
                f"has both its addresses, {' and '.join(map(str, sorted(sides)))}, in the rack's own network "
                f"{inside}: a rack behind NAT needs another network than the one outside; set "
                f"preflight_node_network {ALL} and the nodes' addresses to one of its own",
                host,
            )


def check_fixed_addresses(rack: Rack, node_network: str) -> Iterator[Finding]:
    """Check the address and gateway that an interface is to have: the mistake that cuts a node off."""
    fixed = rack.groups.get(FIXED_GROUP, ())
    for host in rack.hosts:
        text = rack.value(host, "node_network_address")
        if not text:
            if host in fixed and text is not None:
                yield Finding(
                    f"is in the group {FIXED_GROUP} and has no node_network_address: set it, such as "
                    "'192.168.1.11/24', or take the host out of the group",
                    host,
                )
            continue
        try:
            interface = parse_interface(text)
            parse_address(str(interface.ip))
        except ValueError as error:
            yield Finding(
                f"node_network_address is {text!r}, which {error}; it has to be like '192.168.1.11/24'", host
            )
            continue
        yield from _check_interface(rack, host, interface, node_network)


def _check_interface(
    rack: Rack, host: str, interface: netaddr.IPNetwork, node_network: str
) -> Iterator[Finding]:
    if interface.prefixlen < 31 and interface.ip in (interface.network, interface.broadcast):
        yield Finding(
            f"node_network_address is '{interface}', the network's own or its broadcast address: set one "
            "between them",
            host,
        )
    try:
        network = parse_network(node_network)
    except ValueError:
        pass  # Not told, or check_networks has a word on it.
    else:
        if interface.cidr != network:
            yield Finding(
                f"node_network_address is '{interface}', in {interface.cidr}, and preflight_node_network is "
                f"{network}: set the address with the prefix /{network.prefixlen}, or the network {ALL}",
                host,
            )
    gateway = rack.value(host, "node_network_gateway")
    if not gateway:
        return
    try:
        address = parse_address(gateway)
    except ValueError as error:
        yield Finding(f"node_network_gateway is {gateway!r}, which {error}", host)
        return
    if address not in interface.cidr:
        yield Finding(
            f"node_network_gateway is {address}, which is not reached from {interface} without another "
            f"gateway: set one in {interface.cidr}",
            host,
        )
    elif address == interface.ip:
        yield Finding(f"node_network_gateway is {address}, the node's own address: set the router's", host)


def check_services(rack: Rack, node_network: str) -> Iterator[Finding]:
    """Check who gets which address, and that nobody else is given it."""
    for server in rack.servers:
        entries = []
        path = rack.value(server, "rack_services_bootptab")
        if path and isinstance(path, str):
            if path not in rack.files:
                yield Finding(
                    f"rack_services_bootptab is {path!r}, and there is no such file on the controller: set "
                    'it to the file\'s whole path, such as "{{ inventory_dir }}/bootptab"',
                    server,
                )
            else:
                try:
                    entries = parse_bootptab(text=rack.files[path])
                except BootptabError as error:
                    yield Finding(f"rack_services_bootptab {path}: {error}", server)
        inventory = [
            leases.Host(
                name=str(rack.hostname(host)),
                address=str(rack.address(host)),
                mac=str(rack.value(host, "rack_services_mac") or ""),
            )
            for host in rack.hosts
            if host in [*rack.nodes, *rack.heads] or rack.value(host, "rack_services_mac")
        ]
        hosts, problems = leases.merge(hosts=inventory, bootptab=entries)
        yield from (Finding(problem) for problem in problems)
        try:
            network = parse_network(node_network)
        except ValueError:
            if not node_network and not rack.value(server, "rack_services_network"):
                yield Finding(
                    f"gives the rack its addresses, and preflight_node_network is not told: set it {ALL} to "
                    "the rack's own network, such as 10.0.0.0/24"
                )
            continue
        yield from _check_leases(rack, server, network, hosts)


def _check_leases(
    rack: Rack, server: str, network: netaddr.IPNetwork, hosts: Sequence[leases.Host]
) -> Iterator[Finding]:
    for host in hosts:
        if host.mac and parse_address(host.address) not in network:
            yield Finding(
                f"{host.name}: has the address {host.address}, which is not in the rack's network {network}: "
                "set ansible_host or os_prep_address, or mend rack_services_bootptab"
            )
    text = rack.value(server, "rack_services_dhcp_range")
    if not text:
        return
    try:
        first, last = (parse_address(str(address)) for address in parse_range(text=str(text)))
    except (RackServicesError, ValueError) as error:
        yield Finding(f"rack_services_dhcp_range: {error}", server)
        return
    if first not in network or last not in network:
        yield Finding(
            f"rack_services_dhcp_range is {text!r}, which is not in the rack's network {network}: set one "
            "that is",
            server,
        )
    taken = [host for host in hosts if first <= parse_address(host.address) <= last]
    if taken:
        names = ", ".join(f"{host.name} ({host.address})" for host in taken)
        yield Finding(
            f"rack_services_dhcp_range is {text!r}, which takes in addresses that are fixed: {names}; set a "
            "range apart from them",
            server,
        )


def check_netboot(rack: Rack) -> Iterator[Finding]:
    """Check who boots over the network, from where, and by which serial number."""
    nodes = rack.groups.get(NETBOOT_GROUP, ())
    servers = rack.groups.get(NETBOOT_SERVER_GROUP, ())
    if nodes and len(servers) != 1:
        yield Finding(
            f"the group {NETBOOT_GROUP} has {', '.join(nodes)}, and the group {NETBOOT_SERVER_GROUP} "
            f"{', '.join(servers) or 'no host'}: it has to have one host, which serves them"
        )
    seen: dict[str, str] = {}
    for host in nodes:
        serial = rack.value(host, "netboot_tree_serial")
        if not isinstance(serial, str) or SERIAL.fullmatch(serial) is None:
            yield Finding(
                f"netboot_tree_serial is {serial!r}: it has to be the last eight digits of the board's "
                "serial "
                "number, in lower case and in quotes, such as '6a1b9c04'; grep Serial /proc/cpuinfo "
                "shows it, and "
                "the playbook scan with scan_listen",
                host,
            )
        elif seen.setdefault(serial, host) != host:
            yield Finding(
                f"netboot_tree_serial is {serial!r}, as that of {seen[serial]}: set each to its own board's",
                host,
            )
        if host in servers:
            yield Finding(
                f"is in both groups {NETBOOT_GROUP} and {NETBOOT_SERVER_GROUP}: it cannot boot from "
                "itself; take "
                "it out of one",
                host,
            )
        if not rack.value(host, "rack_services_mac"):
            yield Finding(
                "boots over the network, and has no rack_services_mac: set it, such as "
                "'b8:27:eb:5b:0d:0f' (in "
                "quotes), as the board asks for its address by it",
                host,
            )
        try:
            parse_address(str(rack.address(host)))
        except ValueError as error:
            yield Finding(
                f"boots over the network, and its address is {rack.address(host)!r}, which {error}: set "
                "ansible_host or os_prep_address, as its tree is served to that address alone",
                host,
            )
        if host in rack.groups.get(FIXED_GROUP, ()):
            yield Finding(
                f"is in both groups {NETBOOT_GROUP} and {FIXED_GROUP}: a root over the network does not "
                "survive a "
                f"change of address; take it out of {FIXED_GROUP}",
                host,
            )


def check_ssh(rack: Rack) -> Iterator[Finding]:
    """Check whose keys may log in, and through which hosts the nodes are reached."""
    for host in rack.hosts:
        keys = rack.value(host, "ssh_access_authorized_keys")
        for number, key in enumerate(keys if isinstance(keys, list) else (), start=1):
            problem = authorized_key_problem(str(key))
            if problem:
                yield Finding(
                    f"ssh_access_authorized_keys, entry {number}, {problem}; wanted is a line of a .pub "
                    "file, such as 'ssh-ed25519 AAAA… you@laptop'",
                    host,
                )
        seen = [host]
        while isinstance(jump := rack.value(seen[-1], "ssh_access_jump"), str) and jump:
            if jump not in rack.hosts or jump in seen:
                what = "which leads back to it" if jump in seen else "which is no host"
                yield Finding(
                    f"ssh_access_jump is {jump!r}, {what}: set it to the inventory's name of a host that is "
                    "reached without this one, or to '' for none",
                    host,
                )
                break
            seen.append(jump)


def check_failure_detection(rack: Rack) -> Iterator[Finding]:
    """Check that nodes which are only busy do not count as lost."""
    try:
        _failure_detection.parse(rack.cluster_value("control_plane_failure_detection"))
    except _failure_detection.FailureDetectionError as error:
        yield Finding(f"{error}; set it in group_vars/control_plane.yml")


def check_open_doors(rack: Rack) -> Iterator[Finding]:
    """Check that what is served without a password is not open to everybody."""
    where = "set it in group_vars/control_plane.yml"
    address = rack.cluster_value("live_view_address")
    if address in EVERYWHERE:
        yield Finding(
            f"live_view_address is {address!r}, which is open on every network; wanted is one address of the "
            f"node: {where}"
        )
    for name in rack.cluster_value("live_view_hosts") or ():
        if "{{" not in str(name) and not re.fullmatch(r"[A-Za-z0-9.:-]+", str(name)):
            yield Finding(
                f"live_view_hosts has {name!r}; wanted are names and addresses without a pattern: {where}"
            )
    if not rack.cluster_value("remote_access_proxy"):
        return
    address = rack.cluster_value("remote_access_proxy_address")
    if address in EVERYWHERE and not rack.cluster_value("remote_access_proxy_everywhere"):
        yield Finding(
            f"remote_access_proxy_address is {address!r}, which is open on every network; wanted is one "
            f"address of the node, or remote_access_proxy_everywhere as well: {where}"
        )
    networks = rack.cluster_value("remote_access_proxy_networks")
    if networks == []:
        yield Finding(f"remote_access_proxy_networks is []; wanted are the networks that may use it: {where}")
    try:
        accepted_hosts(networks or ())
    except AcceptedHostsError as error:
        yield Finding(f"remote_access_proxy_networks: {error}; {where}")


def check_images(rack: Rack, node_network: str) -> Iterator[Finding]:
    """Check which images are wanted, and who passes them on from where."""
    for host in rack.nodes:
        names = rack.value(host, "image_cache_images")
        for name in names if isinstance(names, list) else ():
            try:
                normalize(str(name), variable="image_cache_images")
            except ContainerImagesError as error:
                yield Finding(str(error), host)
    sources = dict.fromkeys(
        source for host in rack.nodes if isinstance(source := rack.value(host, "image_cache_source"), str)
    )
    for source in sources:
        if source not in rack.nodes:
            yield Finding(
                f"image_cache_source is {source!r}, which is no node of the cluster: set it {ALL} to one of "
                f"{', '.join(rack.nodes)}"
            )
    if len(sources) > 1:
        yield Finding(f"image_cache_source is {' here and '.join(sources)} there: set it once, {ALL}")
    for host in rack.nodes:
        yield from _check_image_server(rack, host, node_network)


def _check_image_server(rack: Rack, host: str, node_network: str) -> Iterator[Finding]:
    port = rack.value(host, "image_cache_port")
    if isinstance(port, int) and not 0 < port < 65536:
        yield Finding(f"image_cache_port is {port}: set a port from 1 to 65535", host)
    folder = rack.value(host, "image_cache_dir")
    if isinstance(folder, str) and not folder.startswith("/"):
        yield Finding(
            f"image_cache_dir is {folder!r}: set a path from the root on, such as '/var/cache'", host
        )
    archives = rack.value(host, "image_cache_archives")
    for archive in archives if isinstance(archives, list) else ():
        checksum = archive.get("sha256") if isinstance(archive, Mapping) else None
        if checksum and not re.fullmatch(r"[0-9a-fA-F]{64}", str(checksum)):
            yield Finding(
                f"sha256 of {archive.get('src')} in image_cache_archives is {checksum!r}: set the 64 digits "
                "that sha256sum prints",
                host,
            )
    text = rack.value(host, "image_cache_address")
    if text is None:
        return
    try:
        address = parse_address(text)
    except ValueError as error:
        yield Finding(f"image_cache_address is {text!r}, which {error}", host)
        return
    try:
        network = parse_network(node_network) if node_network else None
    except ValueError:
        network = None  # check_networks has a word on it.
    if network is not None and address not in network:
        yield Finding(
            f"image_cache_address is {address}, and images are served within the rack alone: set the node's "
            f"own address in {network}",
            host,
        )


def check_variables(rack: Rack, known_variables: Sequence[str]) -> Iterator[Finding]:
    """Check that the variables are known by their names, and that their values have the right form."""
    known = [*rack.options, *known_variables]
    for host, variables in rack.hosts.items():
        for name in variables:
            if name in known or name.startswith(("_", "ansible_")):
                continue
            prefixed = name.startswith(tuple(f"{role}_" for role in rack.specs))
            like = _nearest(name, list(rack.options), MISSPELT_WITH_PREFIX if prefixed else MISSPELT)
            if like:
                yield Finding(
                    f"variable {name} is not known: did you mean {like}? If it is your own, name it in "
                    f"preflight_known_variables {ALL}",
                    host,
                )
            elif prefixed:
                yield Finding(
                    f"variable {name} begins like one of bramble.pi, but is none: if it is your own, name it "
                    f"in preflight_known_variables {ALL}",
                    host,
                    warning=True,
                )
        for name, option in rack.options.items():
            value = variables.get(name, UNKNOWN)
            # A secret's value must not come out by way of a message.
            if value is UNKNOWN or option.get("no_log"):
                continue
            result = ArgumentSpecValidator({name: {**option, "required": False}}).validate({name: value})
            for message in result.error_messages:
                yield Finding(f"{name}: {message}", host)


def judge(
    *, rack: Rack, node_network: str = "", known_variables: Sequence[str] = ()
) -> tuple[list[str], list[str]]:
    """Give all problems and all warnings, each once, with the hosts that it was seen on."""
    seen: dict[Finding, list[str]] = {}
    for finding in itertools.chain(
        check_groups(rack),
        check_control_planes(rack),
        check_versions(rack),
        check_networks(rack, node_network),
        check_host_names(rack),
        check_head(rack, node_network),
        check_fixed_addresses(rack, node_network),
        check_services(rack, node_network),
        check_netboot(rack),
        check_ssh(rack),
        check_failure_detection(rack),
        check_open_doors(rack),
        check_images(rack, node_network),
        check_variables(rack, known_variables),
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
