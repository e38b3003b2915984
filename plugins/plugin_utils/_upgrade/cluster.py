# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of the cluster as a whole would stop an upgrade: APIs that go, budgets, etcd, flags, images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.compatibility import (
    Minor,
    Version,
    removed_flag,
)
from ansible_collections.bramble.pi.plugins.module_utils._upgrade.removed_apis import release_of
from ansible_collections.bramble.pi.plugins.plugin_utils._upgrade.verdict import Problem

_SECURITY = "https://kubernetes.io/docs/tasks/configure-pod-container/migrate-from-psp/"


def _minor_text(minor: Sequence[int]) -> str:
    return f"{minor[0]}.{minor[1]}"


def _name(thing: Mapping[str, Any]) -> str:
    place = f"{thing['namespace']}/" if thing["namespace"] else ""
    return f"{thing['kind']} {place}{thing['name']}"


def _object_remedy(thing: Mapping[str, Any], *, base: Minor) -> str:
    release = tuple(thing["release"])
    last = _minor_text((release[0], release[1] - 1))
    if thing["successor"] is None:
        return (
            f"expected none, as nothing took its place: see {_SECURITY}, then kubectl delete "
            f"{thing['kind'].lower()} {thing['name']}; or upgrade to {last} at most, with -e "
            f"kube_packages_version={last}"
        )
    change = "change apiVersion (and what else it asks for) in its manifest, apply that, and run this again"
    if tuple(thing["since"]) > base:
        return (
            f"expected {thing['successor']}, which is there from {_minor_text(thing['since'])} on: upgrade "
            f"to {last} at most first, with -e kube_packages_version={last}; then {change}"
        )
    return f"expected {thing['successor']}: {change}"


def objects(seen: Sequence[Mapping[str, Any]], *, base: Minor) -> Iterator[Problem]:
    """Name the objects whose API goes on the way."""
    for thing in seen:
        yield Problem(
            f"{_name(thing)} was written with {thing['api']}, which Kubernetes "
            f"{_minor_text(thing['release'])} does not have any more; {_object_remedy(thing, base=base)}"
        )


def requests(
    seen: Sequence[Mapping[str, Any]], *, objects: Sequence[Mapping[str, Any]], base: Minor, target: Minor
) -> Iterator[Problem]:
    """Warn of APIs that somebody asks for, and of which no object tells.

    Who asks is not known: it may be Kubernetes' own programs, which are upgraded, or a single kubectl since
    the API server started. So it stops nothing.
    """
    named = {thing["api"] for thing in objects}
    for each in seen:
        release = release_of(each["release"])
        if release is None or not base < release <= target or each["api"] in named:
            continue
        watched = f", and {each['watched']} watch it now" if each["watched"] else ""
        yield Problem(
            f"{each['resource']} of {each['api']} was asked for since the API servers started{watched}; "
            f"Kubernetes {each['release']} does not have it any more. Kubernetes' own programs may have "
            "asked; expected that none of yours does, such as an ingress controller or an operator: upgrade "
            "these first",
            stops=False,
        )


def drains(seen: Mapping[str, Mapping[str, Any]]) -> Iterator[Problem]:
    """Say which pods could not leave their node."""
    for node, pods in seen.items():
        for told in pods["blocks"]:
            yield Problem(f"{node} cannot be drained: {told}")
        for told in pods["waits"]:
            yield Problem(f"draining {node} will wait: {told}", stops=False)


def flags(seen: Sequence[Mapping[str, str]], *, versions: Sequence[Version]) -> Iterator[Problem]:
    """Say which flags keep a program of the control plane from starting."""
    for each in seen:
        told = [removed_flag(program=each["program"], flag=each["flag"], version=one) for one in versions]
        reason = next((one for one in told if one), None)
        if reason:
            yield Problem(
                f"{reason} from extraArgs in the ConfigMap kubeadm-config (kubectl --namespace kube-system "
                "edit configmap kubeadm-config) and control_plane_cluster_configuration"
            )


def images(seen: Mapping[str, Mapping[str, Any]], *, archives: bool) -> Iterator[Problem]:
    """Say which images do not come; one sentence for all of one reason.

    With ``archives`` they may be in one of these, which is seen when they are brought.
    """
    reasons: dict[str, list[str]] = {}
    for name, image in seen.items():
        if image["problem"]:
            reasons.setdefault(image["problem"], []).append(f"{name} ({', '.join(image['nodes'])})")
    for reason, lacking in reasons.items():
        yield Problem(
            f"nodes lack the images {', '.join(lacking)}, and {reason}; expected each on its node, in an "
            "archive or at its registry: set image_cache_archives to archives that have them, or let the "
            "node reach the registry",
            stops=not archives,
        )
