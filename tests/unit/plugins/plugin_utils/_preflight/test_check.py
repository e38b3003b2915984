# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.plugin_utils._preflight.check import validate
from ansible_collections.bramble.pi.plugins.plugin_utils._preflight.inventory import role_options
from ansible_collections.bramble.pi.plugins.plugin_utils._preflight.rack import UNKNOWN
from hypothesis import example, given
from hypothesis import strategies as st

SPECS = role_options()
#: No option of ours that is a secret has choices.
SPECS["control_plane"]["control_plane_token"] = {"type": "str", "no_log": True, "choices": ["not-the-secret"]}
NODES: dict[str, dict[str, Any]] = {
    f"pi-{number}": {"ansible_host": f"192.168.1.10{number}"} for number in (1, 2, 3)
}


def found(
    everywhere: dict[str, Any] | None = None,
    *,
    hosts: dict[str, dict[str, Any]] | None = None,
    groups: dict[str, list[str]] | None = None,
    files: dict[str, str] | None = None,
    **options: Any,
) -> tuple[list[str], list[str]]:
    """Check three nodes with some of their variables changed."""
    changed = {
        name: {**NODES.get(name, {}), **(hosts or {}).get(name, {})} for name in {**NODES, **(hosts or {})}
    }
    return validate(
        groups={"control_plane": ["pi-1"], "workers": ["pi-2", "pi-3"]} if groups is None else groups,
        hosts={name: {**(everywhere or {}), **variables} for name, variables in changed.items()},
        specs=SPECS,
        files=files,
        **{"node_network": "", "known_variables": [], **options},
    )


def problem(*arguments: Any, **options: Any) -> str:
    """Return the one problem that there is to be."""
    problems, warnings = found(*arguments, **options)
    assert warnings == []
    (text,) = problems
    return text


def test_a_good_rack_has_no_problem() -> None:
    assert found(node_network="192.168.1.0/24") == ([], [])


def test_all_problems_come_at_once() -> None:
    problems, _warnings = found(
        {
            "kube_packages_version": 1.3,
            "control_plane_pod_cidr": "10.244.0.1/16",
            "pod_network_plugin": "calico",
        }
    )
    assert len(problems) == 3


GROUPS = [
    ({"workers": []}, "group 'control_plane' is missing: add it"),
    ({"control_plane": ["pi-1"]}, "group 'workers' is missing: add it"),
    (
        {"control_plane": ["pi-1"], "worker": ["pi-2"]},
        "group 'workers' is missing (is it 'worker', misspelt?)",
    ),
    ({"control_plane": [], "workers": ["pi-1"]}, "group 'control_plane' has no hosts"),
    (
        {"control_plane": ["pi-1"], "workers": ["pi-1", "pi-2"]},
        "pi-1: is in both groups control_plane and workers",
    ),
    (
        {"control_plane": ["pi-1"], "workers": ["pi-2"], "nat_headnode": ["pi-1", "pi-3"]},
        "group 'nat_headnode' has 2 hosts (pi-1, pi-3): a rack has one head",
    ),
]


@pytest.mark.parametrize(("groups", "text"), GROUPS, ids=[text for _groups, text in GROUPS])
def test_groups(groups: dict[str, list[str]], text: str) -> None:
    problems, _warnings = found(groups=groups)
    assert [line for line in problems if text in line]


def test_a_host_in_no_group_is_a_warning() -> None:
    problems, warnings = found(
        hosts={"pi-4": {}, "localhost": {}, "builder": {"ansible_connection": "local"}},
    )
    assert problems == []
    assert warnings == ["pi-4: is in none of the groups control_plane and workers: nothing is done on it"]


def test_the_head_need_not_be_a_node() -> None:
    groups = {"control_plane": ["pi-1"], "workers": ["pi-2"], "nat_headnode": ["pi-3"]}
    assert found(groups=groups, node_network="192.168.1.0/24") == ([], [])


def test_several_control_planes() -> None:
    groups = {"control_plane": ["pi-1", "pi-2"], "workers": ["pi-3"]}
    problems, warnings = found(groups=groups)
    assert "2 control planes and no control_plane_endpoint: set it in group_vars/all.yml" in problems[0]
    assert "an even number" in warnings[0]
    problems, warnings = found({"control_plane_endpoint": "k8s.lan"}, groups=groups)
    assert problems == []
    assert found({"control_plane_endpoint": UNKNOWN}, groups=groups)[0] == []


ONE_PROBLEM = [
    (
        {"kube_packages_version": 1.3},
        "all nodes: kube_packages_version: Kubernetes version 1.3 is not a string",
    ),
    ({"kube_packages_version": "v1.36"}, "without a leading v; set it in group_vars/all.yml"),
    ({"kube_packages_version": "1.20.2"}, "pkgs.k8s.io has none before 1.24"),
    (
        {"docker_kubernetes_runtime": "dockershim"},
        "docker_kubernetes_runtime: runtime dockershim does not go with Kubernetes 1.36: use one of auto",
    ),
    ({"control_plane_endpoint": "https://k8s.lan:6443"}, "control_plane_endpoint is 'https://k8s.lan:6443'"),
    ({"control_plane_endpoint": "k8s.lan:64430"}, None),
    ({"control_plane_endpoint": "k8s.lan:65536"}, "control_plane_endpoint is 'k8s.lan:65536'"),
    ({"control_plane_endpoint": "k8s_lan"}, "control_plane_endpoint is 'k8s_lan'"),
    (
        {"control_plane_advertise_address": "192.168.1"},
        "control_plane_advertise_address is '192.168.1', which",
    ),
    (
        {"control_plane_pod_cidr": "10.244.0.1/16"},
        "has host bits set: the network is '10.244.0.0/16'; set it in",
    ),
    (
        {"control_plane_failure_detection": "fast"},
        "control_plane_failure_detection is 'fast'; wanted is default",
    ),
    ({"live_view_address": "0.0.0.0"}, "live_view_address is '0.0.0.0', which is open on every network"),
    ({"live_view_hosts": ["rack.lan", ".*"]}, "live_view_hosts has '.*'; expected names and addresses"),
    ({"remote_access_proxy_address": "0.0.0.0"}, None),
    ({"remote_access_proxy": True}, "remote_access_proxy_networks is []"),
    (
        {"remote_access_proxy": True, "remote_access_proxy_networks": ["192.168.1"]},
        "remote_access_proxy_networks: '192.168.1' is no IPv4 network",
    ),
    (
        {
            "remote_access_proxy": True,
            "remote_access_proxy_networks": ["192.168.1.0/24"],
            "remote_access_proxy_address": "0.0.0.0",
        },
        "or remote_access_proxy_everywhere as well",
    ),
    (
        {
            "remote_access_proxy": True,
            "remote_access_proxy_networks": ["192.168.1.0/24"],
            "remote_access_proxy_address": "0.0.0.0",
            "remote_access_proxy_everywhere": True,
        },
        None,
    ),
    ({"control_plane_pod_cidr": "pods"}, "control_plane_pod_cidr is 'pods', which is not an IPv4 network"),
    ({"control_plane_pod_cidr": "10.0.0.0/8"}, "10.0.0.0/8 overlaps control_plane_service_cidr 10.96.0.0/12"),
    (
        {"control_plane_pod_cidr": "10.244.0.0/23"},
        "has room for 2 nodes (each takes a /24), and there are 3: set one of /22 or larger",
    ),
    ({"control_plane_pod_cidr": "10.244.0.0/25"}, "has room for 0 nodes"),
    ({"control_plane_service_cidr": "10.96.0.0/30"}, "has to be between /12 and /28"),
    (
        {"control_plane_pod_cidr": "172.17.0.0/16"},
        "all nodes: control_plane_pod_cidr 172.17.0.0/16 overlaps 172.17",
    ),
    (
        {"control_plane_pod_cidr": "172.17.0.0/16", "docker_daemon_json": {"bip": "172.30.0.1/24"}},
        None,
    ),
    (
        {"docker_daemon_json": {"bip": "172.30.0.1"}},
        "bip in docker_daemon_json is '172.30.0.1', which is not",
    ),
    (
        {"pod_network_plugin": "calico"},
        "pod_network_plugin is 'calico'; expected one of flannel, routed, none: set pod_network_plugin in",
    ),
    ({"docker_daemon_json": "[1]"}, "docker_daemon_json is '[1]'; expected a dictionary: set docker_"),
    (
        {"kube_package_version": "1.36"},
        "variable kube_package_version is not known: did you mean kube_packages_ver",
    ),
    (
        {"control_plane_pod_cird": "10.0.0.0/8"},
        "did you mean control_plane_pod_cidr? If it is your own, name it",
    ),
    ({"_control_plane_pod_cird": ""}, None),
    ({"ansible_hosts": ""}, None),
    ({"my_own": UNKNOWN}, None),
    ({"control_plane_pod_cidr": UNKNOWN, "kube_packages_version": UNKNOWN}, None),
    ({"os_prep_hostname": "{{ later }}"}, None),
]


@pytest.mark.parametrize(("variables", "text"), ONE_PROBLEM)
def test_variables_of_all_hosts(variables: dict[str, Any], text: str) -> None:
    if text is None:
        assert found(variables) == ([], [])
    else:
        assert text in problem(variables)


ONE_HOST = [
    (
        {"ansible_host": "192.168.1.300"},
        "pi-2: the node's address is '192.168.1.300', which is not an IPv4 address",
    ),
    ({"ansible_host": "fe80::1"}, "pi-2: the node's address is 'fe80::1'"),
    ({"ansible_host": "192.168.1.101"}, "pi-2: has the address 192.168.1.101, as pi-1 has"),
    ({"ansible_host": "192.168.1.101", "os_prep_address": "192.168.1.102"}, None),
    (
        {"ansible_host": "10.244.3.7"},
        "pi-2: control_plane_pod_cidr 10.244.0.0/16 takes in the node's address",
    ),
    ({"ansible_host": "pi-2.local"}, None),
    ({"os_prep_hostname": "pi-1"}, "pi-2: has the host name 'pi-1', as pi-1 has"),
    ({"os_prep_hostname": "Pi_2"}, "pi-2: the host name is 'Pi_2': it has to be made of a-z"),
    ({"os_prep_hostname": "192.168.1.102"}, "not of digits alone"),
    ({"os_prep_hostname": "a" * 64}, "with at most 64 characters"),
    ({"os_prep_hostname": "-pi"}, "the host name is '-pi'"),
    ({"os_prep_hostname": "pi-2.rack.lan"}, None),
    (
        {"kube_packages_version": "1.37"},
        "pi-2: kube_packages_version is '1.37', and '1.36' on the control plane",
    ),
    ({"kube_packages_version": "1.35.2"}, None),
    (
        {"control_plane_pod_cidr": "10.245.0.0/16"},
        "pi-2: control_plane_pod_cidr is '10.245.0.0/16', and '10.244.0.0",
    ),
    (
        {"ssh_access_authorized_keys": ["ssh-ed25519 AAAA"]},
        "pi-2: ssh_access_authorized_keys, entry 1, is not a whole public key; expected a line of",
    ),
    ({"ssh_access_jump": "pi-3"}, None),
    ({"ssh_access_jump": ""}, None),
    ({"ssh_access_jump": "pi-9"}, "pi-2: ssh_access_jump is 'pi-9', which is no host: set it to the"),
    ({"ssh_access_jump": "pi-2"}, "pi-2: ssh_access_jump is 'pi-2', which leads back to it"),
]


@pytest.mark.parametrize(("variables", "text"), ONE_HOST)
def test_variables_of_one_host(variables: dict[str, Any], text: str) -> None:
    if text is None:
        assert found(hosts={"pi-2": variables}) == ([], [])
    else:
        assert text in problem(hosts={"pi-2": variables})


@pytest.mark.parametrize(
    ("node_network", "text"),
    [
        ("192.168.1.1/24", "preflight_node_network is '192.168.1.1/24', which has host bits set"),
        ("192.168.1.0/25", None),
        ("192.168.1.100/30", "pi-3: has the address 192.168.1.103, which no node can have"),
        ("192.0.0.0/8", None),
    ],
)
def test_node_network(node_network: str, text: str) -> None:
    if text is None:
        assert found(node_network=node_network) == ([], [])
    else:
        assert text in problem(node_network=node_network)


def test_overlap_with_the_nodes_network_without_a_node_in_it() -> None:
    text = problem(
        {"control_plane_pod_cidr": "192.168.0.0/22"},
        node_network="192.168.0.0/16",
        hosts={name: {"ansible_host": f"{name}.lan"} for name in NODES},
    )
    assert "control_plane_pod_cidr 192.168.0.0/22 overlaps preflight_node_network 192.168.0.0/16" in text


def test_the_two_interfaces_of_the_head() -> None:
    groups = {"control_plane": ["pi-1"], "workers": ["pi-2", "pi-3"], "nat_headnode": ["pi-1"]}
    text = problem(
        hosts={"pi-1": {"nat_headnode_outer_interface": "eth0"}},
        groups=groups,
        node_network="192.168.1.0/24",
    )
    assert "are both 'eth0': set them in group_vars/nat_headnode.yml" in text


@pytest.mark.parametrize(
    ("ansible_host", "text"),
    [
        (
            "192.168.1.50",
            "pi-1: has both its addresses, 192.168.1.50 and 192.168.1.101, in the rack's own network",
        ),
        ("192.168.2.50", None),
        ("192.168.1.101", None),
        ("head.lan", None),
    ],
)
def test_the_two_networks_of_the_head(ansible_host: str, text: str) -> None:
    groups = {"control_plane": ["pi-1"], "workers": ["pi-2", "pi-3"], "nat_headnode": ["pi-1"]}
    problems, _warnings = found(
        hosts={"pi-1": {"ansible_host": ansible_host, "os_prep_address": "192.168.1.101"}},
        groups=groups,
        node_network="192.168.1.0/24",
    )
    assert text in problems[0] if text else problems == []


BEHIND_NAT = {"control_plane": ["pi-1"], "workers": ["pi-2", "pi-3"], "nat_headnode": ["pi-1"]}
FIXED = {"control_plane": ["pi-1"], "workers": ["pi-2", "pi-3"], "node_network": ["pi-2"]}


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        ({"node_network_address": "192.168.1.102/24", "node_network_gateway": "192.168.1.1"}, None),
        ({}, "pi-2: is in the group node_network and has no node_network_address"),
        ({"node_network_address": "192.168.1.102"}, "pi-2: node_network_address is '192.168.1.102', which"),
        ({"node_network_address": "192.168.1.255/24"}, "or its broadcast address"),
        (
            {"node_network_address": "192.168.1.102/16"},
            "in 192.168.0.0/16, and preflight_node_network is 192",
        ),
        (
            {"node_network_address": "192.168.1.102/24", "node_network_gateway": "192.168.2.1"},
            "node_network_gateway is 192.168.2.1, which is not reached from 192.168.1.102/24",
        ),
        (
            {"node_network_address": "192.168.1.102/24", "node_network_gateway": "192.168.1.102"},
            "the node's own address",
        ),
        (
            {"node_network_address": "192.168.1.102/24", "node_network_gateway": "router"},
            "node_network_gateway is 'router', which",
        ),
    ],
)
def test_fixed_addresses(variables: dict[str, Any], text: str | None) -> None:
    problems, warnings = found(hosts={"pi-2": variables}, groups=FIXED, node_network="192.168.1.0/24")
    assert warnings == []
    assert len(problems) == (text is not None)
    assert text is None or text in problems[0]


@pytest.mark.parametrize(
    ("everywhere", "hosts", "text"),
    [
        ({}, {"pi-2": {"rack_services_mac": "B8-27-EB-00-00-02"}}, None),
        ({}, {"pi-2": {"rack_services_mac": 41163000}}, "pi-2: rack_services_mac is '41163000'; expected"),
        (
            {"rack_services_mac": "b8:27:eb:00:00:02"},
            {},
            "pi-2: has the mac b8:27:eb:00:00:02, as pi-1 has: set rack_services_mac",
        ),
        ({"rack_services_dhcp_range": "192.168.1.150-192.168.1.199"}, {}, None),
        (
            {"rack_services_dhcp_range": "192.168.1.100-192.168.1.199"},
            {},
            "takes in addresses that are fixed: p",
        ),
        (
            {"rack_services_dhcp_range": "192.168.2.100-192.168.2.199"},
            {},
            "is not in the rack's network 192.168",
        ),
        ({"rack_services_dhcp_range": "192.168.1.199-192.168.1.150"}, {}, "the smaller one first"),
        ({"rack_services_dhcp_range": "192.168.1.199"}, {}, "wanted are two addresses"),
        (
            {"rack_services_bootptab": "/bootptab"},
            {},
            "rack_services_bootptab is '/bootptab', and there is no such file",
        ),
        ({"rack_services_bootptab": "/bad"}, {}, "rack_services_bootptab /bad: line 2: has 1 fields"),
        ({"rack_services_bootptab": "/good"}, {}, None),
        (
            {"rack_services_bootptab": "/other"},
            {},
            "pi-2: its address is 192.168.1.102 in the inventory, and 192",
        ),
        (
            {"rack_services_bootptab": "/outside"},
            {},
            "tv: has the address 10.0.0.9, which is not in the rack's",
        ),
    ],
)
def test_services(everywhere: dict[str, Any], hosts: dict[str, dict[str, Any]], text: str | None) -> None:
    problems, warnings = found(
        everywhere,
        hosts=hosts,
        groups=BEHIND_NAT,
        node_network="192.168.1.0/24",
        files={
            "/bad": "%%\nx\n",
            "/good": "%%\npi-2 1 b8:27:eb:00:00:02 192.168.1.102 boot\n",
            "/other": "%%\npi-2 1 b8:27:eb:00:00:02 192.168.1.112 boot\n",
            "/outside": "%%\ntv 1 b8:27:eb:00:00:09 10.0.0.9\n",
        },
    )
    assert warnings == []
    assert bool(problems) == (text is not None)
    assert text is None or text in problems[0]


def test_services_want_a_network() -> None:
    text = problem(groups=BEHIND_NAT)
    assert "gives the rack its addresses, and preflight_node_network is not told" in text


def test_no_services_where_their_group_is_empty() -> None:
    assert found(groups={**BEHIND_NAT, "rack_services": []}) == ([], [])


def test_the_head_s_address_outside_is_in_no_network_of_the_cluster() -> None:
    text = problem(
        hosts={"pi-1": {"ansible_host": "10.96.0.50", "os_prep_address": "192.168.1.101"}},
        groups=BEHIND_NAT,
        node_network="192.168.1.0/24",
    )
    assert "control_plane_service_cidr 10.96.0.0/12 takes in the head's address 10.96.0.50" in text


def test_unknown_variables_with_a_role_s_prefix_are_a_warning_unless_they_are_known() -> None:
    variables = {"docker_registry_of_mine": "x"}
    problems, warnings = found(variables)
    assert problems == []
    assert "all nodes: variable docker_registry_of_mine begins like one of bramble.pi" in warnings[0]
    assert found(variables, known_variables=["docker_registry_of_mine"]) == ([], [])


BOARD = {"netboot_tree_serial": "6a1b9c04", "rack_services_mac": "b8:27:eb:00:00:02"}


@pytest.mark.parametrize(
    ("values", "groups", "words"),
    [
        ({}, {"netboot_server": []}, ("netboot has pi-2", "netboot_server no host")),
        ({}, {"netboot_server": ["pi-1", "pi-3"]}, ("netboot_server pi-1, pi-3", "one host")),
        ({"netboot_tree_serial": "6A1B9C04"}, {}, ("pi-2: netboot_tree_serial is '6A1B9C04'", "lower case")),
        ({"netboot_tree_serial": "100000006a1b9c04"}, {}, ("last eight digits",)),
        # Seven of eight digits, as YAML reads 01234567 as an octal number.
        ({"netboot_tree_serial": 342391}, {}, ("netboot_tree_serial is '342391'", "in quotes")),
        ({"netboot_tree_serial": ["6a1b9c04"]}, {}, ("is ['6a1b9c04']; expected a string: set netboot_",)),
        ({"rack_services_mac": ""}, {}, ("no rack_services_mac",)),
        ({"ansible_host": "pi-2.lan"}, {}, ("'pi-2.lan'", "ansible_host")),
        ({}, {"node_network": ["pi-2"]}, ("netboot and node_network",)),
        ({}, {"netboot_server": ["pi-2"]}, ("cannot boot from itself",)),
    ],
)
def test_boards_without_cards(
    values: dict[str, Any], groups: dict[str, list[str]], words: tuple[str, ...]
) -> None:
    hosts = {**NODES, "pi-2": {**NODES["pi-2"], **BOARD}}
    all_groups = {
        "control_plane": ["pi-1"],
        "workers": ["pi-2", "pi-3"],
        "netboot": ["pi-2"],
        "netboot_server": ["pi-1"],
    }
    assert not [line for line in found({}, hosts=hosts, groups=all_groups)[0] if "netboot" in line]
    hosts["pi-2"] = {**hosts["pi-2"], **values}
    problems = "\n".join(found({}, hosts=hosts, groups={**all_groups, **groups})[0])
    for word in words:
        assert word in problems


def test_two_boards_with_one_serial_number() -> None:
    hosts = {**NODES, "pi-2": {**NODES["pi-2"], **BOARD}, "pi-3": {**NODES["pi-3"], **BOARD}}
    groups = {
        "control_plane": ["pi-1"],
        "workers": ["pi-2"],
        "netboot": ["pi-2", "pi-3"],
        "netboot_server": ["pi-1"],
    }
    assert any("'6a1b9c04', as that of pi-2" in line for line in found({}, hosts=hosts, groups=groups)[0])


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        (
            {"image_cache_images": ["busybox", "me/app@sha256:00"]},
            "all nodes: image 'me/app@sha256:00' is not understood: it has to be a name with a tag, such as "
            "registry.k8s.io/pause:3.10, and without a digest. Set it in image_cache_images",
        ),
        (
            {"image_cache_source": "head"},
            "image_cache_source is 'head', which is no node of the cluster: set it in group_vars/all.yml to "
            "one of pi-1, pi-2, pi-3",
        ),
        ({"image_cache_address": "here"}, "all nodes: image_cache_address is 'here', which is not an IPv4"),
        ({"image_cache_address": "0.0.0.0"}, "all nodes: image_cache_address is '0.0.0.0', which cannot be"),
        ({"image_cache_port": 70000}, "all nodes: image_cache_port is 70000: set a port from 1 to 65535"),
        (
            {"image_cache_dir": "images"},
            "all nodes: image_cache_dir is 'images': set a path from the root on",
        ),
        (
            {"image_cache_archives": [{"src": "/srv/a.tar", "sha256": "12ab"}]},
            "all nodes: sha256 of /srv/a.tar in image_cache_archives is '12ab': set the 64 digits",
        ),
    ],
)
def test_images(variables: dict[str, Any], text: str) -> None:
    assert problem(variables).startswith(text)


def test_images_have_one_source_in_the_rack() -> None:
    assert (
        problem(hosts={"pi-2": {"image_cache_source": "pi-2"}, "pi-3": {"image_cache_source": "pi-3"}})
        == "image_cache_source is pi-2 here and pi-3 there: set it once, in group_vars/all.yml"
    )
    hosts = {"pi-1": {"image_cache_address": "203.0.113.7"}}
    assert "set the node's own address in 192.168.1.0/24" in problem(
        hosts=hosts, node_network="192.168.1.0/24"
    )
    good = {
        "image_cache_images": ["ghcr.io/me/app:1", "busybox"],
        "image_cache_source": "pi-1",
        "image_cache_address": "192.168.1.101",
        "image_cache_archives": [{"src": "/srv/a.tar", "sha256": "0" * 64}, {"src": "/srv/b.tar"}],
    }
    assert found(good, node_network="192.168.1.0/24") == ([], [])


def test_a_newer_kubernetes_than_known_is_a_warning() -> None:
    problems, warnings = found({"kube_packages_version": "1.99"})
    assert problems == []
    assert "Kubernetes 1.99 is newer" in warnings[0]


def test_secrets_stay_secret() -> None:
    assert problem({"control_plane_token": "abcdef.0123456789abcdef"}) == (
        "all nodes: control_plane_token is a secret that is not shown here; expected one of not-the-secret: "
        "set control_plane_token in group_vars or host_vars"
    )


SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.dates())
VALUES = st.one_of(
    st.just(UNKNOWN),
    st.recursive(
        SCALARS,
        lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.one_of(st.text(), st.integers()), inner)),
        max_leaves=5,
    ),
)
VARIABLES = st.dictionaries(
    st.one_of(st.sampled_from([name for options in SPECS.values() for name in options]), st.text()), VALUES
)
ONE_OF_EACH = {"control_plane": ["pi-1"], "workers": ["pi-2", "pi-3"]}


# What was found, once by chance.
@example({"live_view_hosts": 1}, {}, ONE_OF_EACH, "")
@example({"control_plane_failure_detection": {1: 1, "a": 1}}, {}, ONE_OF_EACH, "")
@example({"image_cache_port": float("inf")}, {}, ONE_OF_EACH, "")
@example({"image_cache_archives": [{"src": "/a", "sha256": [1]}]}, {}, ONE_OF_EACH, "")
@given(
    variables=VARIABLES,
    of_host=VARIABLES,
    groups=st.dictionaries(
        st.sampled_from(
            [
                "all",
                "control_plane",
                "workers",
                "nat_headnode",
                "netboot",
                "netboot_server",
                "node_network",
                "rack_services",
            ]
        ),
        st.lists(st.sampled_from(list(NODES))),
    ),
    node_network=st.one_of(st.just("192.168.1.0/24"), VALUES),
)
def test_whatever_the_inventory_holds_the_answer_is_a_list_of_lines(
    variables: dict[str, Any], of_host: dict[str, Any], groups: dict[str, list[str]], node_network: Any
) -> None:
    for lines in found(variables, hosts={"pi-2": of_host}, groups=groups, node_network=node_network):
        assert all(isinstance(line, str) and line for line in lines)
