# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans an upgrade of what was read, says what would stop it, and shows both as text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.state import IN_CLUSTER
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.compatibility import (
    Minor,
    Version,
    parse_version,
    version_warning,
)
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.packages import upstream_version
from ansible_collections.bramble.pi.plugins.module_utils._upgrade import plan
from ansible_collections.bramble.pi.plugins.module_utils._upgrade.answers import UpgradeError, version
from ansible_collections.bramble.pi.plugins.module_utils._upgrade.plan import Node, Offer, Plan
from ansible_collections.bramble.pi.plugins.plugin_utils._upgrade import cluster, nodes
from ansible_collections.bramble.pi.plugins.plugin_utils._upgrade.verdict import Problem

_PACKAGES = ("kubelet", "kubeadm", "kubectl")
_WIDTH = 110
_NO_BACKUP = (
    "backup_recipients is empty, so that there is no backup to restore after a bad upgrade; expected whom "
    "backups are encrypted for: run 'age-keygen -o ~/bramble-backup.key' and set backup_recipients to the "
    "public key that it prints, or set upgrade_without_backup to true"
)


class Rack(NamedTuple):
    """What was read for an upgrade."""

    #: The result of the module upgrade_info.
    seen: Mapping[str, Any]
    #: By host of the cluster's groups, the result of the module doctor.
    examined: Mapping[str, Mapping[str, Any]]
    #: By host, its name in the cluster.
    names: Mapping[str, str]
    #: The user's KubeletConfiguration.
    kubelet: Mapping[str, Any] = {}
    repository: str = "kube_packages_repository"
    #: Whether there are archives of images whose content is not known yet.
    archives: bool = False
    #: Whether there is somebody whom backups are encrypted for, or consent to do without.
    backup: bool = True
    #: What connects the pods by the inventory; it is brought to its release with the minors.
    pod_network: str = "none"


def _host_problems(rack: Rack) -> Iterator[Problem]:
    members = {node["name"] for node in rack.seen["nodes"]}
    for host, name in rack.names.items():
        result = rack.examined.get(host, {})
        if "node" not in result:
            reason = " ".join(str(result.get("msg", "it is not in this run")).split())[:300]
            yield Problem(
                f"{host} was not examined: {reason}; expected every host of control_plane and workers, as an "
                "upgrade goes through all of them: run this without --limit, switch the node on, or take it "
                "out of the inventory"
            )
        elif name not in members and result["node"]["kubernetes"]["state"] in IN_CLUSTER:
            yield Problem(
                f"{host} has joined a cluster, and this one has no node {name}; expected it there: see "
                f"bramble.pi.doctor --limit {host}"
            )


def _programs(rack: Rack, node: Mapping[str, Any], host: str | None) -> dict[str, Version]:
    """Return what a node runs; of a kubelet that was not restarted yet, the older one."""
    name = node["name"]
    running = version(
        node["kubelet"], what=f"the kubelet of {name}", remedy=f"see kubectl describe node {name}"
    )
    found = {"kubelet": running}
    for program, text in rack.seen["static"].get(name, {}).items():
        found[program] = parse_version(text)
    packages = rack.examined.get(host or "", {}).get("node", {}).get("packages", {})
    for package in _PACKAGES:
        if package in packages:
            installed = upstream_version(packages[package])
            if installed is None:
                raise UpgradeError(
                    f"the package {package} on {host} has the version {packages[package]!r}; expected one "
                    "such as 1.36.2-1.1: install a release with apt-get install --allow-change-held-packages "
                    f"{package}=..."
                )
            found[package] = min(installed, found.get(package, installed))
    return found


def _minor(text: str) -> Minor:
    return parse_version(text).short


def read_nodes(rack: Rack) -> list[Node]:
    """Return what each node of the cluster runs, those of the inventory in its order first."""
    hosts = {name: host for host, name in rack.names.items()}
    order = list(hosts)
    seen = sorted(
        rack.seen["nodes"],
        key=lambda node: order.index(node["name"]) if node["name"] in hosts else len(order),
    )
    return [
        Node(
            node["name"],
            node["name"] in rack.seen["static"],
            _programs(rack, node, hosts.get(node["name"])),
        )
        for node in seen
    ]


def _in_between(rack: Rack, host: str) -> bool:
    """Tell whether a run was killed while it worked on a node, by the marks that it leaves there.

    Not by different versions, which many have for good: another kubectl, or static pods of an older patch.
    """
    facts = rack.examined[host]["node"]["kubernetes"]
    return bool(facts.get("maintenance") or facts.get("upgrade"))


def _all_problems(rack: Rack, *, found: Sequence[Node], made: Plan, target: Version) -> Iterator[Problem]:
    seen = rack.seen
    versions = [step.version for step in made.steps]
    configured = parse_version(seen["configured"])
    base = plan.base(nodes=found, configured=configured).short
    by_name = {node.name: node for node in found}
    yield from _host_problems(rack)
    half = False
    for host, name in rack.names.items():
        result = rack.examined.get(host, {})
        node = by_name.get(name)
        if "node" not in result or node is None:
            continue
        between = _in_between(rack, host)
        half = half or (between and node.control_plane)
        yield from nodes.findings(host, result["findings"], in_between=between)
        yield from nodes.certificates(host, result["node"])
        yield from nodes.pod_network(host, result["node"], plugin=rack.pod_network)
        yield from nodes.runtime(
            host,
            result["node"],
            versions=versions,
            only_control_plane=[each.name for each in found if each.control_plane] == [name],
        )
        yield from nodes.kubelet_flags(
            host, result["node"], kubelet=node.programs["kubelet"], versions=versions
        )
        if node.control_plane:
            yield from nodes.crictl(host, result["node"], versions=versions)
        yield from nodes.control_groups(host, result["node"], versions=versions, kubelet=rack.kubelet)
        yield from nodes.room(host, result["node"], control_plane=node.control_plane, steps=len(versions))
    yield from nodes.skew(found, versions=versions, moved=list(rack.names.values()))
    yield from cluster.objects(seen["objects"], base=base)
    yield from cluster.requests(seen["requested"], objects=seen["objects"], base=base, target=target.short)
    moved = {move.node for step in made.steps for move in step.moves}
    # Others are not drained: they run it already, or are no hosts of this inventory.
    yield from cluster.drains({node: pods for node, pods in seen["drains"].items() if node in moved})
    yield from (Problem(text, stops=not half) for text in seen["etcd"])
    yield from cluster.flags(seen["flags"], versions=versions)
    yield from cluster.images(seen["images"], archives=rack.archives)


def decide(rack: Rack, *, wish: Any) -> dict[str, Any]:
    """Return the versions of the steps, the plan as a table, what stops it, and what is only told."""
    target = parse_version(wish)
    found = read_nodes(rack)
    mine = [node for node in found if node.name in rack.names.values()]
    offer = Offer(
        {_minor(text): [*map(parse_version, offered)] for text, offered in rack.seen["offered"].items()},
        {_minor(text): reason for text, reason in rack.seen["unread"].items()},
        rack.repository,
    )
    made = plan.make(
        nodes=mine, configured=parse_version(rack.seen["configured"]), target=target, offer=offer
    )
    problems = [Problem(text) for text in made.problems]
    if made.steps or made.problems:
        problems += _all_problems(rack, found=found, made=made, target=target)
        problems += [] if rack.backup else [Problem(_NO_BACKUP)]
    warning = version_warning(target)
    told = [*([warning] if warning else []), *(each.text for each in problems if not each.stops)]
    warnings = list(dict.fromkeys(told))
    stopping = list(dict.fromkeys(each.text for each in problems if each.stops))
    return {
        "versions": made.versions or _left_cordoned(rack, mine),
        "text": [
            *table(made, nodes=mine, drains=rack.seen["drains"], target=target),
            *listed("What to know before:", warnings),
            *listed("What would stop it:", stopping),
        ],
        "problems": stopping,
        "warnings": warnings,
    }


def _left_cordoned(rack: Rack, found: Sequence[Node]) -> list[str]:
    """Return the version that all have, if a run was killed that had only to give a node back."""
    for result in rack.examined.values():
        if result.get("node", {}).get("kubernetes", {}).get("maintenance"):
            return [str(max(node.oldest for node in found))]
    return []


def table(
    made: Plan, *, nodes: Sequence[Node], drains: Mapping[str, Mapping[str, Any]], target: Version
) -> list[str]:
    """Lay the plan out for people: a row for each node, a column for each step."""
    if made.problems:
        return [f"There is no plan by which this cluster could come to Kubernetes {target}."]
    if not made.steps:
        return [
            f"Nothing to do: all {len(nodes)} nodes run Kubernetes {target}, and nothing newer is asked for."
        ]
    header = ["node", "", *(str(step.version) for step in made.steps), "pods that go elsewhere"]
    rows = []
    for node in nodes:
        cells = []
        for step in made.steps:
            move = next((each for each in step.moves if each.node == node.name), None)
            cells.append(f"{move.before} -> {step.version}" if move else "-")
        goes = drains[node.name]["goes"] if node.name in drains else "not drained, as it is the only node"
        rows.append([node.name, "control plane" if node.control_plane else "worker", *cells, str(goes)])
    rows.sort(key=lambda row: row[1] != "control plane")
    widths = [max(len(row[place]) for row in [header, *rows]) for place in range(len(header))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [header, *rows]
    ]
    number = len(made.steps)
    return [
        f"Kubernetes comes to {made.steps[-1].version} in {number} {'step' if number == 1 else 'steps'}; in "
        "each, nodes are drained and upgraded in this order:",
        *lines,
    ]


def listed(title: str, texts: Sequence[str]) -> list[str]:
    """Lay out a list for people."""
    lines = [title]
    for text in texts:
        lines += textwrap.wrap(
            text,
            _WIDTH,
            initial_indent="- ",
            subsequent_indent="  ",
            break_long_words=False,
            break_on_hyphens=False,
        )
    return lines if texts else []
