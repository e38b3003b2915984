# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""By which versions a cluster is upgraded: one minor after the other, from what each node runs now.

==================================================  ======================================================
the cluster                                         its plan
==================================================  ======================================================
runs an older minor                                 a step for every minor in between
runs an older patch of the minor asked for          one step
has nodes that are behind, as after a killed run    first a step for these, to the version that others have
has all at the version asked for                    nothing
has something newer, or control planes that are     refused
more than one minor apart
==================================================  ======================================================

The patch of a step is the newest that the repository offers. A step that was begun goes on with its patch,
unless it is the last one, whose patch is the one asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.compatibility import (
    API_SERVER_SKEW,
    Minor,
    Version,
)

_NO_DOWNGRADE = (
    "there is no downgrade; docs/recovery.md has how to go back to a backup of the older version: set "
    'kube_packages_version to "{version}"'
)


class Node(NamedTuple):
    """What a node runs of Kubernetes."""

    name: str
    control_plane: bool
    #: By program or package: kubelet, kubeadm, kubectl, and of a control plane kube-apiserver and the others.
    programs: Mapping[str, Version]

    @property
    def oldest(self) -> Version:
        """The version that the node is brought on from."""
        return min(self.programs.values())


class Move(NamedTuple):
    """What a step changes on a node."""

    node: str
    control_plane: bool
    before: Version


class Step(NamedTuple):
    """One version, and the nodes that have yet to come to it."""

    version: Version
    moves: tuple[Move, ...]


class Plan(NamedTuple):
    """The steps, and why there can be none."""

    steps: list[Step]
    problems: list[str]

    @property
    def versions(self) -> list[str]:
        """The versions that the cluster goes through."""
        return [str(step.version) for step in self.steps]


class Offer(NamedTuple):
    """What the repositories of the minors have."""

    versions: Mapping[Minor, Sequence[Version]]
    #: By minor: why its repository could not be read.
    unread: Mapping[Minor, str] = {}
    repository: str = "kube_packages_repository"


#: Programs of a control plane that are moved by kubeadm alone.
STATIC = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
#: Those of a node that have the version of Kubernetes.
PACKAGES = ("kubelet", "kubeadm", "kubectl")


def _control_plane_versions(nodes: Sequence[Node]) -> list[Version]:
    return [
        version
        for node in nodes
        if node.control_plane
        for program, version in node.programs.items()
        if program in STATIC
    ]


def base(*, nodes: Sequence[Node], configured: Version) -> Version:
    """Return the version from which the control plane goes on: the oldest that any of it has."""
    return min([configured, *_control_plane_versions(nodes)])


def _newer(nodes: Sequence[Node], configured: Version, target: Version) -> Iterator[str]:
    """Say what is newer than the version asked for, the newest first."""
    limit = target if target.patch is not None else Version(target.major, target.minor + 1, 0)

    def beyond(version: Version) -> bool:
        return version > limit if target.patch is not None else version >= limit

    found = [
        (version, f"{program} of {node.name}")
        for node in nodes
        for program, version in node.programs.items()
        if beyond(version)
    ]
    if beyond(configured):
        found.append((configured, "the cluster, by kubeadm's ConfigMap,"))
    newest = max((version for version, _where in found), default=None)
    for version, where in found:
        if version == newest:
            yield (
                f"{where} is {version}; expected {target} or older, as that is asked for: "
                f"{_NO_DOWNGRADE.format(version=newest)}"
            )
            return


def _beyond(nodes: Sequence[Node], chosen: Version) -> Iterator[str]:
    """Say which packages are of a newer minor than a step; kube_packages refuses to go down there."""
    for node in nodes:
        for program, version in node.programs.items():
            if program in PACKAGES and version.short > chosen.short:
                back = node.oldest
                yield (
                    f"the package {program} of {node.name} is {version}, and the cluster goes by {chosen} "
                    f"first, as no minor is skipped; expected {chosen.major}.{chosen.minor} or older: run on "
                    "it sudo apt-get install --allow-downgrades --allow-change-held-packages "
                    f"'{program}={back}*', from the repository of {back.major}.{back.minor}"
                )


def _gap(nodes: Sequence[Node]) -> Iterator[str]:
    servers = {
        node.name: node.programs["kube-apiserver"]
        for node in nodes
        if node.control_plane and "kube-apiserver" in node.programs
    }
    if not servers:
        return
    oldest = min(servers, key=lambda name: servers[name])
    newest = max(servers, key=lambda name: servers[name])
    if servers[newest].short[1] - servers[oldest].short[1] > API_SERVER_SKEW:
        yield (
            f"the API server of {oldest} is {servers[oldest]}, and that of {newest} {servers[newest]}; "
            f"expected at most {API_SERVER_SKEW} minor between them: take {oldest} out with "
            f"bramble.pi.reset --limit {oldest}, and bring it in again with bramble.pi.site and "
            f'kube_packages_version "{servers[newest].major}.{servers[newest].minor}"'
        )


def _patch(
    *, minor: Minor, target: Version, running: Sequence[Version], offered: Sequence[Version]
) -> Version | None:
    """Choose the version of a minor's step; None where there is none."""
    begun = max((version for version in running if version.short == minor), default=None)
    last = minor == target.short
    if last and target.patch is not None:
        return target
    if begun in offered and not last:
        return begun
    return max([*offered, *([begun] if begun else [])], default=None)


def _missing(*, minor: Minor, target: Version, chosen: Version | None, offer: Offer) -> str:
    """Say that a version cannot be installed."""
    name = f"{minor[0]}.{minor[1]}"
    if minor in offer.unread:
        return f"the packages of Kubernetes {name} cannot be read: {offer.unread[minor]}"
    have = (
        ", ".join(str(version) for version in sorted(offer.versions.get(minor, ()), reverse=True)) or "none"
    )
    return (
        f"{offer.repository} does not have Kubernetes {chosen or name}, but has of {name}: {have}; expected "
        f"every minor up to {target}, as none can be skipped: set kube_packages_version to one of these, "
        "or kube_packages_repository to a repository that has it"
    )


def make(*, nodes: Sequence[Node], configured: Version, target: Version, offer: Offer) -> Plan:
    """Plan an upgrade; ``configured`` is what kubeadm's ConfigMap says of the cluster."""
    problems = [*_newer(nodes, configured, target), *_gap(nodes)]
    begin = base(nodes=nodes, configured=configured)
    if begin.major != target.major:
        problems.append(
            f"the cluster runs {begin}; expected one of {target.major}.x, as only the minors of one major "
            f'version are known: set kube_packages_version to one that begins with "{begin.major}."'
        )
    if problems:
        return Plan([], problems)
    running = [configured, *(version for node in nodes for version in node.programs.values())]
    state = {node.name: node.oldest for node in nodes}
    behind = any(version < begin for version in state.values())
    steps: list[Step] = []
    for number in range(begin.minor, target.minor + 1):
        minor = (begin.major, number)
        last = minor == target.short
        if number == begin.minor and not last and not behind:
            # It is only left, whatever patches there are.
            continue
        offered = offer.versions.get(minor, ())
        chosen = _patch(minor=minor, target=target, running=running, offered=offered)
        if chosen is None:
            problems.append(_missing(minor=minor, target=target, chosen=chosen, offer=offer))
            continue
        moves = tuple(
            Move(node.name, node.control_plane, state[node.name])
            for node in nodes
            if state[node.name] < chosen
        )
        if moves:
            problems += _beyond(nodes, chosen)
        if moves and chosen not in offered:
            problems.append(_missing(minor=minor, target=target, chosen=chosen, offer=offer))
        if moves or configured < chosen:
            steps.append(Step(chosen, moves))
        state = {name: max(version, chosen) for name, version in state.items()}
        configured = max(configured, chosen)
    return Plan([] if problems else steps, problems)
