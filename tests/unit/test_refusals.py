# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a role refuses from the inventory alone, preflight refuses before, by the same validator."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from ansible.module_utils.common.yaml import SafeLoader
from ansible_collections.bramble.pi.plugins.filter.report import preflight_problems
from ansible_collections.bramble.pi.plugins.plugin_utils._preflight import inventory

from tests.unit.plays import loaded_once
from tests.unit.preflight_rack import SPECS
from tests.unit.run_module import run_module

ROOT = Path(__file__).resolve().parents[2]
GROUPS = {
    "all": ["pi-1", "pi-2", "pi-3"],
    "control_plane": ["pi-1"],
    "workers": ["pi-2", "pi-3"],
    "nat_headnode": ["pi-1"],
}
HEADLESS = {**GROUPS, "nat_headnode": []}
SHARED = {**HEADLESS, "storage_server": ["pi-1"]}
BY_NETWORK = {**HEADLESS, "netboot": ["pi-3"], "netboot_server": ["pi-1"]}
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1lq5CLZ0mP3n7m8yq0wEwTtQzZJ4h2v0r8bD0x9q1X"


class Row(NamedTuple):
    """An inventory that a role refuses."""

    variables: dict[str, Any]
    #: What preflight says of it.
    text: str
    groups: dict[str, list[str]] = GROUPS
    #: The host that has the variables; None for all.
    host: str | None = None


OPEN = {"remote_access_proxy": True, "remote_access_proxy_networks": ["192.168.1.0/24"]}

#: Tasks of roles that refuse what the inventory has, and such inventories.
ASSERTED: dict[str, list[Row]] = {
    "image_cache/tasks/main.yml: Fail without the node that fetches": [
        Row({"image_cache_source": "pi-9"}, "image_cache_source is 'pi-9', which is no node of the cluster"),
    ],
    "image_mirror/tasks/main.yml: Fail on what cannot be a mirror": [
        Row({"image_mirror_host": "pi-9"}, "image_mirror_host is 'pi-9'; expected a host of the inventory"),
        Row(
            {"image_mirror_host": "pi-1", "image_mirror_size": "much"},
            "image_mirror_size is 'much'; expected a number with MB, GB or TB, such as 20GB: set",
        ),
        Row(
            {"image_mirror_host": "pi-1", "image_mirror_registries": {"quay.io": "quay.io"}},
            "image_mirror_registries is with quay.io: 'quay.io'; expected the URL of a host alone, such as",
        ),
    ],
    "live_view/tasks/present.yml: Fail on addresses and names that open too much": [
        Row({"live_view_address": "::"}, "live_view_address is '::', which is open on every network"),
        Row({"live_view_hosts": []}, "live_view_hosts is [], and no browser could ask; expected names"),
        Row({"live_view_hosts": ["rack.lan", "^.*$"]}, "live_view_hosts has '^.*$'; expected names and"),
    ],
    "monitoring/tasks/main.yml: Fail on what cannot be watched": [
        Row({"monitoring_host": "pi-9"}, "monitoring_host is 'pi-9'; expected a host of the inventory: set"),
        Row(
            {"monitoring_retention_size": "much"},
            "monitoring_retention_size is 'much'; expected a number with MB, GB or TB, such as 1GB: set",
        ),
        Row(
            {"monitoring_data_folder": "/home/pi"}, "monitoring_data_folder is '/home/pi'; expected a folder"
        ),
        Row({"monitoring_webhook": "10.0.0.9"}, "monitoring_webhook is a secret that is not shown here; exp"),
    ],
    "remote_access/tasks/main.yml: Fail on what would open too much": [
        Row({"remote_access_person": "ada/eve"}, "remote_access_person is 'ada/eve'; expected a name of"),
        Row(
            {"remote_access_networks": ["192.168.1.0/24"]},
            "remote_access_networks is ['192.168.1.0/24'], and there is no head that could keep others out",
            HEADLESS,
        ),
        Row({"remote_access_networks": ["lan"]}, "remote_access_networks has 'lan'; expected networks such"),
        Row(
            {"remote_access_port": 8443},
            "remote_access_port is 8443, and pi-1 is itself a control plane, which listens at 6443",
        ),
        Row({"remote_access_proxy": True}, "remote_access_proxy_networks is []; expected the networks that"),
        Row(
            {"remote_access_proxy": True, "remote_access_proxy_networks": ["192.168.1"]},
            "remote_access_proxy_networks: '192.168.1' is not an IPv4 network such as 192.168.1.0/24",
        ),
        Row(
            {**OPEN, "remote_access_proxy_address": "0.0.0.0"},
            "remote_access_proxy_address is '0.0.0.0', which is open on every network; expected one address",
        ),
    ],
}

STORED = [
    Row(
        {"storage_server_shares": [{"name": "ssd", "folder": "/home/pi"}]},
        "storage_server_shares has ssd with the folder '/home/pi'; expected one such as /mnt/ssd/ssd: set",
        SHARED,
        "pi-1",
    ),
    Row(
        {"storage_volumes": [{"name": "photos", "size": "1Gi", "share": "ssd"}]},
        "storage_volumes has photos in the share 'ssd'; expected one of storage_server_shares (there is",
        SHARED,
    ),
]
ASSERTED["storage/tasks/main.yml: Fail on volumes that cannot be"] = STORED
ASSERTED["storage_server/tasks/main.yml: Fail on shares and volumes that cannot be"] = STORED

#: The other tasks that end a run, by what they look at.
_ANSWERS = "what nodes, the cluster or a user answer while the run goes on"
_FACTS = "what was read of the node"
_FIRST = "all of it is looked at on the controller, before the role has touched anything"
OTHERWISE: dict[str, str] = {
    "backup/tasks/copied.yml: Fail on copies that did not come": _ANSWERS,
    "backup/tasks/restore.yml: Fail without a backup": "a file of the controller",
    "backup/tasks/restore.yml: Fail on nodes that may have a newer copy": _ANSWERS,
    "backup/tasks/restore.yml: Fail on other control planes": _FACTS,
    "backup/tasks/restore.yml: Fail if Ansible leaves its files on nodes": "a setting of Ansible",
    "control_plane/tasks/find.yml: Fail without a control plane that answers": _ANSWERS,
    "control_plane/tasks/join.yml: Fail without one": _ANSWERS,
    "doctor/tasks/main.yml: Fail on findings": _FACTS,
    "encryption/tasks/step.yml: Fail if keys do not allow for it": _ANSWERS,
    "failover/tasks/arm.yml: Fail on a worker without it": _FACTS,
    "failover/tasks/main.yml: Fail without another worker to take over": "preflight warns of it",
    "failover/tasks/show.yml: Fail on an incomplete failover": _ANSWERS,
    "flash/tasks/cards.yml: Check what the cards are to hold": _FIRST,
    "flash/tasks/cards.yml: Check how the cards go with their images": "the images, once they are here",
    "flash/tasks/cards.yml: Fail on cards that failed": _ANSWERS,
    "flash/tasks/confirm.yml: Fail without consent": _ANSWERS,
    "flash/tasks/find_card.yml: Fail unless there is exactly one card": _ANSWERS,
    "image_cache/tasks/serve.yml: Fail on a server that does not answer": _ANSWERS,
    "maintenance/tasks/nodes.yml: Fail if the cluster may run and cannot be asked": _ANSWERS,
    "maintenance/tasks/nodes.yml: Fail if a node before is not back": _ANSWERS,
    "maintenance/tasks/nodes.yml: Fail on a control plane that the cluster does not know": _ANSWERS,
    "maintenance/tasks/nodes.yml: Fail with the state of all": _ANSWERS,
    "netboot_tree/tasks/main.yml: Check what the nodes are to be": _FIRST,
    "node_network/tasks/main.yml: Print the node's new address": _ANSWERS,
    "os_prep/tasks/main.yml: Fail on unsupported nodes": _FACTS,
    "os_prep/tasks/main.yml: Check that the control groups can be used": _FACTS,
    "os_prep/tasks/reboot.yml: Ask for consent to reboot": _FACTS,
    "os_prep/tasks/restart.yml: Check that swap has stayed off": _FACTS,
    "os_prep/tasks/time_sync.yml: Fail on a clock that is not synchronised": _FACTS,
    "pod_network/tasks/routed.yml: Fail on a node without a part of the pod network": _ANSWERS,
    "preflight/tasks/main.yml: Validate the inventory": "preflight itself",
    "preflight/tasks/sources.yml: Check that the whole inventory was read": "preflight itself",
    "power_off/tasks/main.yml: Fail on a part of the rack": "what --limit says",
    "power_off/tasks/main.yml: Fail if one could not be read": _ANSWERS,
    "power_off/tasks/main.yml: Fail without a backup": _ANSWERS,
    "power_off/tasks/main.yml: Fail without consent": _ANSWERS,
    "power_off/tasks/off.yml: Fail with who is on": _ANSWERS,
    "power_on/tasks/main.yml: Fail with who is missing": _ANSWERS,
    "rack_services/tasks/arrive.yml: Fail with the remedy": _ANSWERS,
    "reset/tasks/confirm.yml: Fail without consent": _ANSWERS,
    "reset/tasks/leave.yml: Fail on workloads that cannot be drained": _ANSWERS,
    "ssh_access/tasks/key.yml: Fail on a key without its public half": "a file of the controller",
    "upgrade/tasks/plan.yml: Fail on what would stop the upgrade": _ANSWERS,
    "upgrade/tasks/control_plane.yml: Fail with the state of all": _ANSWERS,
    "upgrade/tasks/together.yml: Fail if a node has left the run": _ANSWERS,
    "verify/tasks/main.yml: Fail on nodes that are missing or not Ready": _ANSWERS,
    "verify/tasks/workload.yml: Fail if all pods are on one node": _ANSWERS,
    "verify/tasks/workload.yml: Print the findings": _ANSWERS,
    "virtual_rack/tasks/mirror.yml: Check that there is a mirror": "the apt of the controller",
    "virtual_rack/tasks/remove_cache.yml: Check that no other rack needs the cache": "folders of other racks",
    "virtual_rack/tasks/requirements.yml: Check the user": "who runs this on the controller",
    "virtual_rack/tasks/requirements.yml: Check the tools": "programs of the controller",
    "virtual_rack/tasks/requirements.yml: Check the systems of the nodes": "there is no node before it",
    "workers/tasks/join_info.yml: Fail without a token": _ANSWERS,
    "workers/tasks/replace.yml: Fail on a node that is alive elsewhere": _ANSWERS,
}

#: What modules and filters refuse by the value alone: the function that both ask, and inventories for it.
VALIDATED: dict[str, list[Row]] = {
    "module_utils._boot.cmdline.desired": [
        Row(
            {"os_prep_kernel_cmdline": ["a b"]}, "os_prep_kernel_cmdline: 'present' has 'a b', which is more"
        ),
        Row(
            {"os_prep_kernel_cmdline": ['a="b']}, "whose double quotes are not balanced; close the quote: set"
        ),
        Row(
            {"os_prep_kernel_cmdline": ["cgroup_enable=memory", "cgroup_disable=memory"]},
            "os_prep_kernel_cmdline: the controller 'memory' is to be enabled and disabled",
        ),
    ],
    "module_utils._kubeadm.reservation.check_reservation": [
        Row(
            {"workers_system_reserved": "256Mi"},
            "workers_system_reserved: the reservation for the system is the text '256Mi'; expected auto",
        ),
        Row(
            {"control_plane_system_reserved": {"memory": 256}},
            "control_plane_system_reserved: memory in the reservation for the system is the number 256; exp",
        ),
    ],
    "module_utils._kubeadm.renewal.check_renew_before": [
        Row({"certificates_renew_before": 200}, "certificates_renew_before is 200; expected 1 to 120 days"),
        Row({"certificates_renew_before": 0}, "certificates_renew_before is 0; expected 1 to 120 days"),
    ],
    "module_utils._kubernetes.node_labels.check_labels": [
        Row(
            {"workers_labels": {"kubernetes.io/arch": "arm"}},
            "workers_labels: a label is 'kubernetes.io/arch', which Kubernetes keeps itself; expected",
        ),
        Row({"workers_labels": {"disk": 1}}, "workers_labels: the label disk is the number 1; expected text"),
        Row({"control_plane_labels": {"-disk": "ssd"}}, "control_plane_labels: a label is '-disk'; expected"),
        Row(
            {"workers_zone": "shelf 1"},
            "workers_zone: the label topology.kubernetes.io/zone is 'shelf 1'; expected nothing or at most",
        ),
    ],
    "module_utils._kubernetes.node_labels.check_taints": [
        Row(
            {"workers_taints": [{"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}]},
            "workers_taints: a taint is 'node.kubernetes.io/unreachable', which Kubernetes keeps itself",
        ),
        Row(
            {"control_plane_taints": [{"key": "disk", "value": "a b", "effect": "NoSchedule"}]},
            "control_plane_taints: the value of the taint disk is 'a b'; expected nothing or at most 63",
        ),
    ],
    "plugin_utils._inventory.maintenance.size": [
        Row(
            {"maintenance_serial": "half"}, "maintenance_serial is 'half'; expected how many workers at a ti"
        ),
        Row({"maintenance_serial": 0}, "maintenance_serial is 0; expected how many workers at a time"),
    ],
    "module_utils._node.settings.check_modules": [
        Row({"os_prep_kernel_modules": ["br netfilter"]}, "a kernel module is 'br netfilter'; expected its"),
    ],
    "module_utils._node.settings.check_sysctl": [
        Row(
            {"os_prep_sysctl": {"forwarding": 1}}, "a kernel's setting is 'forwarding'; expected one such as"
        ),
        Row(
            {"os_prep_sysctl": {"net.ipv4.ip_forward": True}}, "net.ipv4.ip_forward is the boolean true; exp"
        ),
        Row(
            {"os_prep_sysctl": {4: 1}}, "has the number 4 as a key; expected text: put it in quotes: set os_"
        ),
    ],
    "module_utils._node.settings.check_hostname": [
        Row(
            {"os_prep_hostname": "Pi_2"},
            "the host name is 'Pi_2'; expected a-z, 0-9 and hyphens",
            host="pi-2",
        ),
        Row(
            {"os_prep_hostname": "7"}, "the host name is '7'; expected a-z, 0-9 and hyphens (RFC", host="pi-2"
        ),
        Row({"os_prep_hostname": "a." * 32 + "a"}, "with at most 64 characters", host="pi-2"),
    ],
    "module_utils._node.settings.check_names": [
        Row(
            {"os_prep_hostname": "pi-4", "ansible_host": "192.168.1.104"},
            "pi_4: a name of 192.168.1.104 is 'pi_4'; expected letters, digits and hyphens",
            {**GROUPS, "workers": ["pi-2", "pi-3", "pi_4"]},
            "pi_4",
        ),
    ],
    "module_utils._kubeadm.join_command.lifetime": [
        Row({"workers_token_ttl": "1 day"}, "token_ttl is '1 day'; expected a time such as 30m, 2h or 1h30m"),
        Row({"workers_token_ttl": "99999999999999999h"}, "at most 2562047h: set workers_token_ttl"),
    ],
    "module_utils._kubernetes.compatibility.parse_version": [
        Row({"kube_packages_version": "v1.36"}, "Kubernetes version 'v1.36' is not valid"),
        Row({"kube_packages_version": "1.9"}, "Kubernetes 1.9 is too old"),
    ],
    "module_utils._kubernetes.compatibility.kubernetes_runtime": [
        Row(
            {"docker_kubernetes_runtime": "dockershim"},
            "runtime dockershim does not work with Kubernetes",
        ),
    ],
    "module_utils._kubernetes.failure_detection.parse": [
        Row(
            {"control_plane_failure_detection": "fast"}, "control_plane_failure_detection is 'fast'; expected"
        ),
        Row(
            {"control_plane_failure_detection": {"eviction": 3}}, "control_plane_failure_detection lacks node"
        ),
    ],
    "module_utils._containers.images.normalize": [
        Row({"image_cache_images": ["me/app@sha256:00"]}, "image 'me/app@sha256:00' is not valid"),
    ],
    "module_utils._containers.images.check_archive": [
        Row(
            {"kube_packages_image_archives": [{"src": "/a.tar", "images": ["A B"]}]},
            "image 'A B' is not valid; expected a name with a tag, such as "
            "registry.k8s.io/pause:3.10, and without a digest. Set it in kube_packages_image_archives",
        ),
        Row(
            {"kube_packages_image_archives": [{"src": "/a.tar", "images": ["a"], "sha256": "12"}]},
            "sha256 of /a.tar in kube_packages_image_archives is '12'; expected the 64 digits that sha256sum",
        ),
        Row(
            {"image_cache_archives": [{"src": "http://[::1/a.tar"}]},
            "src in image_cache_archives is http://[::1/a.tar, and its host cannot be read",
        ),
    ],
    "module_utils._network.interface_names.problem": [
        Row(
            {"node_network_interface": "eth0; reboot"},
            "node_network_interface is 'eth0; reboot'; expected the",
        ),
        Row(
            {"nat_headnode_outer_interface": "wl+"},
            "nat_headnode_outer_interface is 'wl+'; expected the name",
        ),
        Row(
            {"rack_services_interface": ""},
            "rack_services_interface is ''; expected the name of an interface",
        ),
        Row(
            {"netboot_server_interface": "a b"}, "netboot_server_interface is 'a b'; expected the name of an"
        ),
        Row(
            {"netboot_server_interface": "a b"},
            "all nodes: netboot_server_interface is 'a b'; exp",
            BY_NETWORK,
        ),
    ],
    "module_utils._network.nat.check_names": [
        Row(
            {"nat_headnode_outer_interface": "eth0"}, "nat_headnode_outer_interface are both 'eth0'; expected"
        ),
    ],
    "module_utils._network.wifi.problems": [
        Row(
            {"nat_headnode_uplink": "wifi"},
            "nat_headnode_uplink is 'wifi', and nat_headnode_wifi_ssid is not",
        ),
        Row(
            {
                "nat_headnode_uplink": "wifi",
                "nat_headnode_wifi_ssid": "home",
                "nat_headnode_wifi_psk": "short",
                "nat_headnode_wifi_country": "DE",
            },
            "the Wi-Fi's key has 5 characters; expected 8 to 63 ASCII characters or 64 hexadecimal",
        ),
        Row(
            {"nat_headnode_uplink": "wifi", "nat_headnode_wifi_ssid": "home"},
            "the Wi-Fi's country is ''; expected two capital letters (ISO 3166)",
        ),
        Row(
            {
                "nat_headnode_uplink": "wifi",
                "nat_headnode_wifi_ssid": "x" * 33,
                "nat_headnode_wifi_country": "DE",
            },
            "the Wi-Fi's name has 33 bytes; expected 1 to 32: set nat_headnode_wifi_ssid",
        ),
    ],
    "module_utils._network.settings.settings": [
        Row(
            {"node_network_address": "192.168.1.102/24", "node_network_resolvers": ["one"]},
            "the resolver is 'one'; expected an IPv4 address like 192.168.1.1: set node_network_resolvers",
            host="pi-2",
        ),
        Row(
            {"node_network_address": "192.168.1.102/24", "node_network_search": ["a b"]},
            "the search domain is 'a b'; expected a domain like rack.example.org: set node_network_search",
            host="pi-2",
        ),
    ],
    "module_utils._rack.services.parse_range": [
        Row({"rack_services_dhcp_range": "192.168.1.199"}, "dhcp_range is '192.168.1.199'; expected two"),
    ],
    "module_utils._rack.services.check_lease_time": [
        Row(
            {"rack_services_lease_time": "12 hours"}, "the time of a lease is '12 hours'; expected one as dns"
        ),
        Row({"rack_services_lease_time": ""}, "the time of a lease is ''; expected one as dnsmasq writes it"),
    ],
    "module_utils._rack.services.check_address": [
        Row(
            {"rack_services_address": "10.0.0.1"},
            "the address of the rack's services is 10.0.0.1, which is not in the network 192.168.1.0/24",
        ),
        Row(
            {"rack_services_address": "head"}, "the address of the rack's services is 'head', which is not an"
        ),
    ],
    "module_utils._netboot.tftp_unit.check": [
        Row(
            {"netboot_tree_dir": "/srv/a b"},
            "dir is '/srv/a b'; expected the whole path of a f",
            BY_NETWORK,
        ),
    ],
    "module_utils._netboot.system.check_serial": [
        Row({"netboot_tree_serial": "6A1B9C04"}, "pi-3: netboot_tree_serial is '6A1B9C04'; exp", BY_NETWORK),
        Row({}, "pi-3: netboot_tree_serial is ''; expected the last eight digits of the", BY_NETWORK),
    ],
    "module_utils._netboot.system.check_container_storage": [
        Row(
            {"netboot_tree_serial": "6a1b9c04", "netboot_tree_container_storage": "disk"},
            "netboot_tree_container_storage is 'disk', and netboot_tree_container_device is ''; expected the",
            BY_NETWORK,
        ),
    ],
    "plugin_utils._inventory.receivers.receivers": [
        Row({"backup_copy_to": ["pi-9"]}, "backup_copy_to has 'pi-9', which is no host of the inventory"),
        Row(
            {"backup_copy_to": ["pi-1"]}, "backup_copy_to is ['pi-1'], which is pi-1 itself; expected another"
        ),
        Row(
            {"backup_copy_to": ["pi-2"], "os_prep_address": "192.168.1.101"},
            "backup_copy_to has 'pi-2', which has the address of pi-1, 192.168.1.101; expected another node",
        ),
        Row(
            {"backup_copy_to": ["pi-2"], "os_prep_address": "127.0.0.1"},
            "backup_copy_to has 'pi-2', which is reached at 127.0.0.1; expected",
        ),
    ],
    "module_utils._backup.copies.folder_problem": [
        Row(
            {"backup_copy_folder": "/mnt/my disk", "backup_copy_to": ["pi-2"]},
            "backup_copy_folder is '/mnt/my disk'; expected the whole path of a folder, of letters, digits",
        ),
    ],
    "module_utils._ssh.config.quoted": [
        Row(
            {"ssh_access_key_file": 'a"b'},
            "ssh_access_key_file is 'a\"b'; expected a text without quotation",
        ),
        Row(
            {"ssh_access_known_hosts_file": "a\\b"},
            "ssh_access_known_hosts_file is 'a\\\\b'; expected a text",
        ),
    ],
    "module_utils._ssh.keys.authorized_key_problem": [
        Row(
            {"ssh_access_authorized_keys": [KEY[:-4]]}, "ssh_access_authorized_keys, entry 1, is not a whole"
        ),
    ],
}


@pytest.fixture(autouse=True)
def _specifications(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read the roles' options once."""
    monkeypatch.setattr(inventory, "read_options", lambda: SPECS)


def problems(row: Row) -> list[str]:
    """Ask the filter that the role preflight asks."""
    names = dict.fromkeys(host for hosts in row.groups.values() for host in hosts)
    hostvars = {
        name: {
            "ansible_host": f"192.168.1.{100 + int(name[-1])}",
            **(row.variables if row.host in (None, name) else {}),
        }
        for name in names
    }
    groups = {group: hosts for group, hosts in row.groups.items() if hosts}
    return preflight_problems(hostvars, {**groups, "all": list(names)}, "192.168.1.0/24", [])


def rows(table: dict[str, list[Row]]) -> list[Any]:
    return [
        pytest.param(row, id=f"{name}-{number}")
        for name, some in table.items()
        for number, row in enumerate(some, 1)
    ]


@pytest.mark.parametrize("row", rows(ASSERTED) + rows(VALIDATED))
def test_preflight_refuses_what_a_role_would_refuse(row: Row) -> None:
    found = problems(row)
    assert [problem for problem in found if row.text in problem], found


#: The same from the modules, as far as they look at no node before: module, its options, and what it says.
BY_MODULES: list[tuple[str, dict[str, Any], str]] = [
    ("kernel_cmdline", {"present": ["a b"]}, "'present' has 'a b', which is more"),
    (
        "node_settings",
        {"kernel_modules": ["br netfilter"]},
        "a kernel module is 'br netfilter'; expected its",
    ),
    (
        "node_settings",
        {"sysctl": {"forwarding": 1}},
        "a kernel's setting is 'forwarding'; expected one such as",
    ),
    ("node_settings", {"sysctl": {"vm.swappiness": None}}, "vm.swappiness is null; expected a whole number"),
    ("node_settings", {"sysctl": {"vm.swappiness": [1]}}, "vm.swappiness is a list; expected a whole number"),
    (
        "node_settings",
        {"hosts": [{"address": "192.168.1.104", "names": ["pi_4"]}]},
        "a name of 192.168.1.104 is 'pi_4'; expected letters, digits and hyphens",
    ),
    ("node_settings", {"hostname": "7"}, "the host name is '7'; expected a-z, 0-9 and hyphens (RFC"),
    (
        "nat_forwarding",
        {"inner_interface": "eth0", "outer_interface": "eth0"},
        "nat_headnode_outer_interface are both 'eth0'; expected",
    ),
    (
        "nat_forwarding",
        {"inner_interface": "eth0", "outer_interface": "wl+"},
        "nat_headnode_outer_interface is 'wl+'; expected the name",
    ),
    (
        "uplink",
        {"interface": "wlan0", "ssid": "home", "country": "Germany"},
        "the Wi-Fi's country is 'Germany'; expected two capital letters (ISO 3166)",
    ),
    (
        "image_archives",
        {"runtime": "containerd", "archives": [{"src": "/a.tar", "images": ["a"], "sha256": "12"}]},
        "sha256 of /a.tar in kube_packages_image_archives is '12'; expected the 64 digits that sha256sum",
    ),
    (
        "image_archives",
        {
            "runtime": "containerd",
            "archives": [{"src": "http://[::1/a.tar", "images": ["a"]}],
            "variable": "image_cache_archives",
        },
        "src in image_cache_archives is http://[::1/a.tar, and its host cannot be read",
    ),
]


@pytest.mark.parametrize(("module", "options", "text"), BY_MODULES)
def test_a_module_refuses_with_the_words_of_preflight(
    module: str, options: dict[str, Any], text: str
) -> None:
    result = run_module(module, check=True, **options)
    assert result["failed"]
    assert text in result["msg"]


@pytest.mark.parametrize("groups", [GROUPS, HEADLESS])
def test_the_rack_itself_is_refused_nothing(groups: dict[str, list[str]]) -> None:
    assert problems(Row({}, "", groups)) == []


def tasks_of(value: Any) -> Iterator[dict[str, Any]]:
    for task in value or []:
        yield task
        for part in ("block", "rescue", "always"):
            yield from tasks_of(task.get(part))


class Loader(SafeLoader):
    """Reads tasks."""


Loader.add_multi_constructor("!", lambda _loader, _suffix, _node: None)


def role_tasks() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted((ROOT / "roles").glob("*/tasks/*.yml")):
        for task in tasks_of(yaml.load(path.read_text(encoding="utf-8"), Loader)):
            yield str(path.relative_to(ROOT / "roles")), task


def test_each_task_that_refuses_has_its_twin_in_preflight_or_a_reason() -> None:
    refusing = [
        f"{path}: {task['name']}"
        for path, task in role_tasks()
        if {"ansible.builtin.assert", "ansible.builtin.fail"} & set(task)
    ]
    assert sorted(refusing) == sorted([*ASSERTED, *OTHERWISE])


def documentation(module: str) -> dict[str, Any]:
    text = (ROOT / "plugins/modules" / f"{module}.py").read_text(encoding="utf-8")
    match = re.search(r'^DOCUMENTATION = r?"""(.*?)"""', text, re.MULTILINE | re.DOTALL)
    found: dict[str, Any] = yaml.safe_load(match[1])["options"] if match else {}
    return found


def passed_on() -> Iterator[tuple[str, str, str]]:
    """Find the inputs that a role gives to a module as they are: variable, module, option."""
    options = {name for role in SPECS.values() for name in role}
    for _path, task in role_tasks():
        for action, arguments in task.items():
            if action.startswith("bramble.pi.") and isinstance(arguments, dict):
                for option, value in arguments.items():
                    match = re.fullmatch(r"\{\{ (\w+) \}\}", str(value))
                    if match and match[1] in options:
                        yield match[1], action.rpartition(".")[2], option


@pytest.mark.parametrize(("variable", "module", "option"), sorted(set(passed_on())))
def test_what_a_module_takes_is_what_its_role_takes(variable: str, module: str, option: str) -> None:
    """Preflight looks at types and choices by the roles' specifications."""
    given = next(role[variable] for role in SPECS.values() if variable in role)
    taken = documentation(module)[option]
    assert set(given.get("choices", [])) <= set(taken.get("choices", given.get("choices", [])))
    assert bool(given.get("choices")) or not taken.get("choices")
    types = given.get("type", "str"), taken.get("type", "str")
    assert types[0] == types[1] or "raw" in types or types in (("str", "path"), ("path", "str")), types


@pytest.mark.parametrize("name", sorted(VALIDATED))
def test_preflight_asks_the_function_that_the_module_asks(name: str) -> None:
    """A validator is called in preflight, and elsewhere for the module."""
    *_rest, module, function = name.split(".")
    call = re.compile(rf"\b{function}\b")
    using = [
        path
        for path in (ROOT / "plugins").rglob("*.py")
        for text in [path.read_text(encoding="utf-8")]
        if call.search(text) and re.search(rf"\b{module}\b", text)
    ]
    assert any("_preflight" in path.parts for path in using)
    assert any("_preflight" not in path.parts for path in using)


def play(folder: Path, playbook: Path, inventory: dict[str, Any]) -> tuple[int, str]:
    hosts = folder / "hosts.yml"
    hosts.write_text(json.dumps(inventory), encoding="utf-8")
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "ANSIBLE_NOCOLOR": "true",
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections"),
    }
    run = subprocess.run(
        ["ansible-playbook", "-i", str(hosts), str(playbook)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return run.returncode, run.stdout + run.stderr


def inventory_of(variables: dict[str, Any], groups: dict[str, list[str]]) -> dict[str, Any]:
    return {
        "all": {
            "hosts": {f"pi-{number}": {"ansible_host": f"192.168.1.10{number}"} for number in (1, 2, 3)},
            "vars": {"preflight_node_network": "192.168.1.0/24", **variables},
            "children": {
                group: {"hosts": dict.fromkeys(hosts)} for group, hosts in groups.items() if group != "all"
            },
        }
    }


def test_site_names_all_of_it_and_touches_no_host(tmp_path: Path) -> None:
    variables: dict[str, Any] = {}
    texts = []
    # Runtimes are those of a version.
    names = sorted({*ASSERTED, *VALIDATED} - {"module_utils._kubernetes.compatibility.parse_version"})
    for row in [{**ASSERTED, **VALIDATED}[name][0] for name in names]:
        if (row.groups, row.host) == (GROUPS, None) and not set(row.variables) & set(variables):
            variables.update(row.variables)
            texts.append(row.text)
    code, said = play(tmp_path, ROOT / "playbooks/site.yml", inventory_of(variables, GROUPS))
    assert code == 2, said
    assert [text for text in texts if text not in said] == [], said
    assert "no host was touched" in said
    assert "Prepare the nodes" not in said


def test_roles_refuse_with_the_same_words(tmp_path: Path) -> None:
    refused = [
        (name.partition("/")[0], row)
        for name, some in ASSERTED.items()
        if not name.startswith("image_cache")
        for row in some
        # Nobody gives a run other groups than its inventory has.
        if row.groups == GROUPS
    ]
    tasks = [
        {
            "block": [
                {
                    "name": "Refuse",
                    "ansible.builtin.include_role": {"name": f"bramble.pi.{role}"},
                    "vars": row.variables,
                }
            ],
            "rescue": [{"name": "Show", "ansible.builtin.debug": {"msg": "{{ ansible_failed_result.msg }}"}}],
        }
        for role, row in refused
    ]
    playbook = tmp_path / "play.yml"
    playbook.write_text(
        json.dumps(
            [
                {
                    "hosts": loaded_once("pi-1"),
                    "connection": "local",
                    "gather_facts": False,
                    "become": False,
                    "tasks": tasks,
                }
            ]
        ),
        encoding="utf-8",
    )
    _code, said = play(tmp_path, playbook, inventory_of({}, GROUPS))
    assert [row.text for _role, row in refused if said.count(row.text) < 2] == [], said
    assert f"rescued={len(refused)} " in said
