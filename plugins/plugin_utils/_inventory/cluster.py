# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who of the inventory is in the cluster, by the facts that this run has read of its hosts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.vip import PORT
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.compatibility import parse_version
from ansible_collections.bramble.pi.plugins.plugin_utils._inventory import identity

CONTROL_PLANE = "control_plane"
WORKER = "worker"


def kubernetes(variables: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what M(bramble.pi.node_facts) says of a host's Kubernetes; nothing if it was not read."""
    found: Mapping[str, Any] = variables.get("ansible_facts", {}).get("bramble", {}).get("kubernetes", {})
    return found


def initial_control_plane(
    *, hostvars: Mapping[str, Mapping[str, Any]], groups: Mapping[str, Sequence[str]]
) -> str:
    """Return the host that begins the cluster.

    Where some are control planes already it is one of those, so that a replaced first host joins the cluster
    that there is, and does not begin another.
    """
    hosts = groups["control_plane"]
    present = [host for host in hosts if kubernetes(hostvars[host]).get("state") == CONTROL_PLANE]
    # One whose own join was interrupted may have no part in the cluster yet.
    finished = [host for host in present if not kubernetes(hostvars[host]).get("unfinished")]
    return next(iter([*finished, *present]), hosts[0])


def api_endpoint(*, endpoint: str | None, vip: str | None) -> str | None:
    """Return where the cluster is to be reached: control_plane_endpoint, else control_plane_vip.

    Empty if neither is set, None if it cannot be known.
    """
    if endpoint or not vip:
        return None if endpoint == "" and vip is None else endpoint
    return None if endpoint is None else f"{vip}:{PORT}"


def control_plane_addresses(
    *, hostvars: Mapping[str, Mapping[str, Any]], groups: Mapping[str, Sequence[str]]
) -> list[str]:
    """Return where the other hosts of the rack reach each control plane, in the inventory's order."""
    return [identity.address(host, hostvars[host]) for host in groups["control_plane"]]


#: Where the role control_plane keeps what came of a host.
_ROLE_RESULTS = ("control_plane_initialised", "control_plane_joined")


def running_version(*, hostvars: Mapping[str, Mapping[str, Any]], groups: Mapping[str, Sequence[str]]) -> str:
    """Return the version of the oldest API server of the cluster; empty if this run has read of none."""
    found = []
    for host in groups.get("control_plane", ()):
        facts = kubernetes(hostvars[host])
        if facts.get("state") == CONTROL_PLANE and facts.get("version"):
            found.append(parse_version(facts["version"]))
    return str(min(found)) if found else ""


def seen_control_plane(
    *, hostvars: Mapping[str, Mapping[str, Any]], groups: Mapping[str, Sequence[str]]
) -> str:
    """Return the first control plane that this run has seen to be in order; empty if it has seen none."""
    for host in groups["control_plane"]:
        results = [hostvars[host].get(name, {}) for name in _ROLE_RESULTS]
        done = [result for result in results if result and not result.get("skipped")]
        if any(result.get("failed") or result.get("unreachable") for result in done):
            continue
        facts = kubernetes(hostvars[host])
        if done or (facts.get("state") == CONTROL_PLANE and not facts.get("unfinished")):
            return host
    return ""


def _reason(result: Mapping[str, Any]) -> str:
    text = str(result.get("stderr") or result.get("msg") or "no answer")
    return text.strip().splitlines()[-1].removeprefix("Task failed: ")


#: What a client is told by an API server that runs: its certificate has expired, or it has too much to do.
_RUNS = re.compile(r"Unauthorized|Forbidden|x509|certificate|TLS handshake timeout")


def _may_run(result: Mapping[str, Any]) -> bool:
    """Tell whether an API server that has not answered may run all the same."""
    return bool(result.get("unreachable") or _RUNS.search(str(result.get("stderr") or "")))


def control_plane_answers(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the first control plane that has answered, and why the others have not."""
    answering = [result["item"] for result in results if result.get("rc") == 0]
    return {
        "host": next(iter(answering), ""),
        "silent": [
            f"{result['item']}: {_reason(result)}" for result in results if result["item"] not in answering
        ],
        "unknown": [result["item"] for result in results if result.get("rc") != 0 and _may_run(result)],
    }


def hosts_to_join(
    *, hostvars: Mapping[str, Mapping[str, Any]], hosts: Sequence[str], state: str = WORKER
) -> list[str]:
    """Return those that are not, or not quite, what they are to be."""
    facts = {host: kubernetes(hostvars[host]) for host in hosts}
    return [host for host in hosts if facts[host].get("state") != state or facts[host].get("unfinished")]


def cluster_ca_cert_hash(*, hostvars: Mapping[str, Mapping[str, Any]], control_plane: str) -> str:
    """Return the hash of the cluster's authority; empty if it has to be asked for.

    That of a control plane which was not one yet when its facts were read may have been replaced since.
    """
    facts = kubernetes(hostvars[control_plane])
    return str(facts.get("ca_cert_hash") or "") if facts.get("state") == CONTROL_PLANE else ""


def run_summary(
    *,
    messages: Mapping[str, str],
    remaining: Sequence[str],
    inventory: str,
    warnings: Mapping[str, Sequence[str]],
    newer: str = "",
) -> list[str]:
    """Say what will hurt, which hosts of a run failed, each with its message, or how to go on if none did.

    ``newer`` is a version of Kubernetes that there is, and that the cluster does not run.
    """
    told = [f"{host}: {warning}" for host in remaining for warning in warnings.get(host, ())]
    failed = [
        f"{host} failed: {message or 'see its message above'}"
        for host, message in messages.items()
        if host not in remaining
    ]
    proof = f"ansible-playbook -i {inventory} bramble.pi.verify"
    if newer:
        told.append(
            f"Kubernetes {newer} is there; the cluster stays as it is until: ansible-playbook -i {inventory} "
            f"bramble.pi.upgrade -e kube_packages_version={newer}"
        )
    return told + (failed or [f"To verify the cluster and have a report of it: {proof}"])
