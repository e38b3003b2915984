# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with a rack, from what its nodes and its cluster said of themselves."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._containers import containerd, docker
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.state import IN_CLUSTER
from ansible_collections.bramble.pi.plugins.module_utils._node.findings import (
    ERROR,
    SEVERITIES,
    Finding,
    finding,
    ranked,
)

HEAD = "head"
_WIDTH = 110
#: Facts that the report shows as they were read.
_SHOWN = (
    "hostname",
    "model",
    "architecture",
    "kernel",
    "uptime",
    "temperature",
    "throttled",
    "memory",
    "disks",
    "certificates",
    "backup",
    "fsync",
    "page_size",
)


def _shared(seen: Mapping[str, Mapping[str, Any]], key: str) -> dict[str, list[str]]:
    """Return the hosts that have a value in common with others, by the value."""
    owners: dict[str, list[str]] = {}
    for host, node in seen.items():
        owners.setdefault(node[key], []).append(host)
    return {value: hosts for value, hosts in owners.items() if value and len(hosts) > 1}


def _holders(seen: Mapping[str, Mapping[str, Any]], *, unseen: bool) -> list[Finding]:
    """Say that not exactly one of those that share the control planes' address has it.

    Of ``unseen`` hosts one may.
    """
    sharing = {host: node["vip"] for host, node in seen.items() if node.get("vip")}
    holding = [host for host, vip in sharing.items() if vip["held"]]
    if not sharing or len(holding) == 1 or (unseen and not holding):
        return []
    addresses = " and ".join(sorted({vip["address"] for vip in sharing.values()}))
    evidence = f"{addresses} is held by {' and '.join(holding) or 'none of ' + ', '.join(sharing)}"
    return [finding("vip_holder", ERROR, evidence=evidence, expected="one control plane that has it")]


def _of_host(*, result: Mapping[str, Any], role: str) -> Iterator[Finding]:
    if "node" not in result:
        yield finding(
            "unreachable",
            ERROR,
            evidence=" ".join(str(result.get("msg", "it was not examined")).split())[:300],
            expected="an answer by ssh",
        )
    for each in result.get("findings", ()):
        # A head need not be part of the cluster.
        if not (each["check"] == "not_in_cluster" and role == HEAD):
            yield Finding(**each)


def _state(*, result: Mapping[str, Any], role: str) -> str:
    if "node" not in result:
        return "unreachable"
    member = result["node"]["member"]
    if member:
        return {"missing": "no cluster", "silent": "unknown"}.get(member["state"], member["state"])
    if role == HEAD:
        return "up"
    return "unknown" if result["node"]["kubernetes"]["state"] in IN_CLUSTER else "no cluster"


def _version(packages: Mapping[str, str], *names: str) -> str | None:
    return next((f"{name} {packages[name]}" for name in names if name in packages), None)


def check(
    *,
    results: Mapping[str, Mapping[str, Any]],
    roles: Mapping[str, str],
    addresses: Mapping[str, str],
    receipts: Mapping[str, Mapping[str, Any]],
    inventory: str,
) -> dict[str, Any]:
    """Return the hosts in their order, each with what was seen and what is wrong there.

    ``results`` are those of the module by host.
    """
    seen = {host: result["node"] for host, result in results.items() if "node" in result}
    twins = {key: _shared(seen, key) for key in ("machine_id", "hostname")}
    holders = _holders(seen, unseen=len(seen) < len(results))
    hosts = []
    for host, result in results.items():
        findings = list(_of_host(result=result, role=roles[host]))
        findings += [
            finding(
                name,
                ERROR,
                evidence=f"{value} is the same on {' and '.join(owners)}",
                expected="one of its own",
            )
            for name, values in twins.items()
            for value, owners in values.items()
            if host in owners
        ]
        findings += [found for found in holders if seen.get(host, {}).get("vip")]
        node = seen.get(host, {})
        packages, member = node.get("packages", {}), node.get("member") or {}
        hosts.append(
            {
                "host": host,
                "role": roles[host],
                "state": _state(result=result, role=roles[host]),
                "examined": host in seen,
                "address": member.get("address") or node.get("default_address") or addresses[host],
                "os": node.get("distribution", {}).get("name"),
                "kubelet": member.get("kubelet") or packages.get("kubelet"),
                "runtime": member.get("runtime")
                or _version(packages, *docker.DAEMON.packages, *containerd.DAEMON.packages),
                **{key: node.get(key) for key in _SHOWN},
                "clock": node.get("clock", {}).get("synchronized"),
                "receipt": receipts.get(host),
                "findings": [
                    {**each._asdict(), "remedy": each.remedy.replace("INVENTORY", inventory)}
                    for each in ranked(findings)
                ],
            }
        )
    counts = {
        severity: sum(each["severity"] == severity for host in hosts for each in host["findings"])
        for severity in SEVERITIES
    }
    return {"nodes": hosts, "counts": counts}


def summary(*, counts: Mapping[str, int], nodes: int) -> str:
    """Say in a few words how it is."""
    found = [
        f"{number} {severity if severity == 'info' or number == 1 else severity + 's'}"
        for severity, number in counts.items()
        if number
    ]
    return f"{nodes} {'node' if nodes == 1 else 'nodes'} examined: {', '.join(found) or 'nothing is wrong'}"


def table(*, report: Mapping[str, Any]) -> list[str]:
    """Lay the findings out for people: errors first, then by node."""
    rows = [
        (each["severity"], node["host"], each)
        for severity in SEVERITIES
        for node in report["nodes"]
        for each in node["findings"]
        if each["severity"] == severity
    ]
    lines = [summary(counts=report["counts"], nodes=len(report["nodes"]))]
    if not rows:
        return lines
    host_width = max(len(host) for _severity, host, _finding in rows)
    check_width = max(len(each["check"]) for _severity, _host, each in rows)
    for severity, host, each in rows:
        head = f"{severity.upper():<8} {host:<{host_width}}  {each['check']:<{check_width}}  "
        blank = " " * len(head)
        lines.append("")
        for label, text in (
            ("", each["evidence"]),
            ("expected: ", each["expected"]),
            ("do: ", each["remedy"]),
        ):
            lines += textwrap.wrap(
                text,
                max(_WIDTH, len(head) + 60),
                initial_indent=(blank if label else head) + label,
                subsequent_indent=blank + " " * len(label),
                break_long_words=False,
                break_on_hyphens=False,
            )
    return lines


def failing(*, counts: Mapping[str, int], fail_on: str) -> int:
    """Return how many findings are as bad as what is to fail."""
    if fail_on == "never":
        return 0
    return sum(counts[severity] for severity in SEVERITIES[: SEVERITIES.index(fail_on) + 1])
