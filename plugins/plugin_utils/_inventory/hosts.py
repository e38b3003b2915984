# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hosts of a rack, and what keeps a host from becoming a node."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.networks import disagreements
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.state import IN_CLUSTER
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import os_support
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.compatibility import (
    ARCHITECTURES,
    CompatibilityError,
    parse_version,
)
from ansible_collections.bramble.pi.plugins.module_utils._node.check_pod_network import (
    check_pod_network,
    other_pod_network,
)
from ansible_collections.bramble.pi.plugins.plugin_utils._inventory import identity, rack_groups
from ansible_collections.bramble.pi.plugins.plugin_utils._inventory.cluster import api_endpoint

SUPPORTED_DISTRIBUTIONS = ("debian", "raspbian", "ubuntu")


def rack_hosts(
    *, hostvars: Mapping[str, Mapping[str, Any]], groups: Mapping[str, Sequence[str]]
) -> list[dict[str, Any]]:
    """Return address and names of each host of the rack, from the inventory alone."""
    return [
        {
            "address": identity.address(host, variables),
            "names": list(dict.fromkeys([identity.hostname(host, variables), host])),
        }
        for host in rack_groups.read(groups).members
        for variables in [hostvars[host]]
    ]


def node_names(
    *, hostvars: Mapping[str, Mapping[str, Any]], groups: Mapping[str, Sequence[str]]
) -> dict[str, str]:
    """Return the name in the cluster of each of its hosts, in lower case as kubeadm has it."""
    return {host: identity.hostname(host, hostvars[host]).lower() for host in rack_groups.read(groups).nodes}


def node_problems(
    *,
    host: str,
    hostname: str,
    facts: Mapping[str, Any],
    machine_ids: Mapping[str, str],
    variables: Mapping[str, Any] | None = None,
    kubernetes: str = "",
    pod_network: str = "none",
    pod_cidr: str = "",
    service_cidr: str = "",
    others: Iterable[Mapping[str, Any]] = (),
    cluster_variables: Mapping[str, Any] | None = None,
) -> list[str]:
    """Say why a host cannot become a node, or not stay one: a sentence for each reason.

    ``machine_ids`` are those of all hosts of the play whose facts are known, ``others`` these facts,
    ``variables`` those of the host, and ``cluster_variables`` those of a control plane, where what holds for
    the whole cluster may be set alone.
    """
    problems = []
    distribution = facts["distribution"]
    if distribution["id"] not in SUPPORTED_DISTRIBUTIONS:
        problems.append(
            f"the operating system is {distribution['name']}; expected Raspberry Pi OS, Debian or Ubuntu:"
            f" install one of them on {host}"
        )
    else:
        problems += _release_problems(host, facts=facts, variables=variables or {}, kubernetes=kubernetes)
    if facts["architecture"] not in ARCHITECTURES:
        problems.append(
            f"the architecture of the packages is {facts['architecture']}; expected arm64 or amd64:"
            f" install a 64-bit image on {host}"
        )
    owners = _owners(facts["machine_id"], machine_ids)
    if len(owners) > 1:
        problems.append(
            f"the machine-id {facts['machine_id']} is the same on {' and '.join(owners)}; expected one of"
            " its own for each node, as addresses and nodes are distinguished by it. On all of them but one"
            " run: sudo rm -f /etc/machine-id /var/lib/dbus/machine-id && sudo systemd-machine-id-setup"
            " && sudo reboot"
        )
    if _in_cluster(facts) and facts["hostname"] != hostname:
        problems.append(
            f"the host name is {facts['hostname']} and would become {hostname}, but the node is part of a"
            f" cluster that knows it by its name: set os_prep_hostname to {facts['hostname']} for {host}, or"
            " take it out of the cluster first with the playbook reset"
        )
    if _in_cluster(facts):
        problems += _cluster_problems(
            facts,
            cluster_variables or variables or {},
            cluster=_cluster_of(facts, others),
            pod_network=pod_network,
            pod_cidr=pod_cidr,
            service_cidr=service_cidr,
        )
    else:
        problems += _pod_network_faults(facts, pod_network)
    return problems


def _cluster_of(facts: Mapping[str, Any], others: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return what a control plane of the node's cluster knows of it; a worker knows less."""
    known: Mapping[str, Any] = facts["kubernetes"]
    for other in others:
        kubernetes: Mapping[str, Any] = other["kubernetes"]
        if (
            known["state"] == "worker"
            and known.get("ca_cert_hash")
            and kubernetes["state"] == "control_plane"
            and kubernetes.get("ca_cert_hash") == known.get("ca_cert_hash")
        ):
            return kubernetes
    return known


def _cluster_problems(
    facts: Mapping[str, Any],
    variables: Mapping[str, Any],
    *,
    cluster: Mapping[str, Any],
    pod_network: str,
    pod_cidr: str,
    service_cidr: str,
) -> Iterator[str]:
    """Say in what the cluster of a node, which may be made by hand, is another than the inventory's."""
    configuration = variables.get("control_plane_cluster_configuration")
    configuration = configuration if isinstance(configuration, Mapping) else {}
    networking = configuration.get("networking")
    networking = networking if isinstance(networking, Mapping) else {}
    endpoint, vip = (variables.get(f"control_plane_{name}", "") for name in ("endpoint", "vip"))
    # What an interrupted run has begun with other values is undone, as far as it is not in use.
    if pod_cidr and service_cidr and not cluster.get("unfinished"):
        yield from disagreements(
            cluster,
            # As kubeadm_init merges them.
            pod_cidr=str(networking.get("podSubnet") or variables.get("control_plane_pod_cidr") or pod_cidr),
            service_cidr=str(
                networking.get("serviceSubnet") or variables.get("control_plane_service_cidr") or service_cidr
            ),
            endpoint=configuration.get("controlPlaneEndpoint", api_endpoint(endpoint=endpoint, vip=vip)),
            vip=vip,
            pod_network=pod_network,
        )
    second = other_pod_network(facts, pod_network=pod_network)
    if second:
        yield second


def _release_problems(
    host: str, *, facts: Mapping[str, Any], variables: Mapping[str, Any], kubernetes: str
) -> Iterator[str]:
    identifier, version = facts["distribution"]["id"], facts["distribution"].get("version", "")
    old = os_support.too_old(os_id=identifier, os_version=version)
    if old:
        yield f"{old}: install a newer release on {host}"
        return
    # A node of a cluster has what serves it, and a version that is none is told of by preflight.
    if not kubernetes or _in_cluster(facts):
        return
    with contextlib.suppress(CompatibilityError):
        problem = os_support.runtime_problem(
            node=os_support.Node(
                os_id=identifier,
                os_version=version,
                installed=facts.get("packages", {}),
                packages=variables.get("docker_packages") or (),
                source=str(variables.get("docker_containerd_source") or "os"),
                url=str(variables.get("docker_containerd_url") or ""),
            ),
            version=parse_version(kubernetes),
            runtime=str(variables.get("docker_kubernetes_runtime") or "auto"),
        )
        if problem:
            yield problem


def node_warnings(*, facts: Mapping[str, Any], pod_network: str) -> list[str]:
    """Say what will hurt a node that is in the cluster already, and may have found its way around it."""
    return _pod_network_faults(facts, pod_network) if _in_cluster(facts) else []


def _in_cluster(facts: Mapping[str, Any]) -> bool:
    return facts["kubernetes"]["state"] in IN_CLUSTER


def _pod_network_faults(facts: Mapping[str, Any], pod_network: str) -> list[str]:
    return [
        f"{fault.evidence}; expected {fault.expected}: {fault.remedy}"
        for fault in check_pod_network(facts, pod_network=pod_network)
    ]


def _owners(machine_id: str, machine_ids: Mapping[str, str]) -> list[str]:
    return [host for host, other in machine_ids.items() if machine_id and other == machine_id]
