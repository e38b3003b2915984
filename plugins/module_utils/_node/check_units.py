# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Findings of the kubelet and the container runtimes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._containers import containerd
from ansible_collections.bramble.pi.plugins.module_utils._containers.runtime import DAEMONS
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import diagnosis
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.state import IN_CLUSTER
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.compatibility import (
    containerd_problem,
    containerd_warning,
)
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.packages import upstream_version
from ansible_collections.bramble.pi.plugins.module_utils._node.findings import (
    ERROR,
    WARNING,
    Finding,
    finding,
)
from ansible_collections.bramble.pi.plugins.module_utils._node.health import is_active

UNITS = ("kubelet", *(daemon.service for daemon in DAEMONS))


def down_units(*, node: Mapping[str, Any]) -> list[str]:
    """Return the units that should run and do not."""
    packages, state = node["packages"], node["kubernetes"]["state"]
    expected = [daemon.service for daemon in DAEMONS if any(name in packages for name in daemon.packages)]
    # What its owner has switched off is not missed, unless nothing works without it.
    names = [
        name
        for name in expected
        if node["units"].get(name, {}).get("UnitFileState") != "disabled"
        or (name == containerd.DAEMON.service and state in IN_CLUSTER)
    ]
    if state in IN_CLUSTER:
        names.append("kubelet")
    return [name for name in names if name in node["units"] and not is_active(node["units"][name])]


def _unit_state(unit: Mapping[str, str]) -> str:
    if unit.get("LoadState") == "masked":
        return "is masked"
    if unit.get("LoadState") == "not-found":
        return "is not installed as a service"
    state = f"is {unit.get('ActiveState', 'unknown')} ({unit.get('SubState', 'unknown')})"
    if unit.get("Result", "success") != "success":
        return f"{state}, {unit['Result']} {unit.get('ExecMainStatus', '')}".rstrip()
    if unit.get("ActiveState") == "inactive":
        since = unit.get("InactiveEnterTimestamp")
        return f"{state}: it was {f'stopped at {since}' if since else 'never started'}"
    return (
        state if unit.get("ExecMainStatus", "0") == "0" else f"{state}, exit status {unit['ExecMainStatus']}"
    )


def check_unit(name: str, *, unit: dict[str, str], down: bool, journal: str, host: str) -> Iterator[Finding]:
    """Say what is wrong with a unit, with the cause that its journal names."""
    check = "kubelet" if name == "kubelet" else "runtime"
    if not down:
        if is_active(unit) and unit.get("UnitFileState") in ("disabled", "masked"):
            yield finding(
                check,
                WARNING,
                evidence=f"{name} runs, but is {unit['UnitFileState']}",
                expected="enabled, so that it starts at boot",
                remedy=f"sudo systemctl unmask {name} && sudo systemctl enable {name}",
                unit=name,
            )
        return
    evidence = f"{name} {_unit_state(unit)}"
    remedy = f"sudo systemctl start {name}; then: sudo journalctl -u {name} -n 50"
    if unit.get("LoadState") == "masked":
        remedy = f"sudo systemctl unmask {name} && sudo systemctl enable --now {name}"
    elif unit.get("LoadState") == "not-found":
        remedy = f"ansible-playbook -i INVENTORY bramble.pi.site --limit {host}"
    elif unit.get("ActiveState") != "inactive" or unit.get("Result", "success") != "success":
        cause = diagnosis.unit_cause(journal=journal)
        if cause:
            line, meaning = cause
            evidence = f"{evidence}: {line}"
            remedy = f"{meaning}; then: sudo systemctl restart {name}" if meaning else remedy
    yield finding(check, ERROR, evidence=evidence, expected="active (running)", remedy=remedy, unit=name)


def check_runtime(node: Mapping[str, Any], *, host: str) -> Iterator[Finding]:
    """Say why a runtime that runs does not serve kubelet, and which of its settings have drifted."""
    runtime = node.get("runtime")
    # Of one that is down there is a finding already; kubelet may be down for what is told here.
    if not runtime or set(down_units(node=node)) - {"kubelet"}:
        return
    if runtime["fault"]:
        yield finding(
            "runtime_settings",
            ERROR,
            evidence=f"{runtime['name']}: {runtime['fault']}",
            expected="a runtime that serves kubelet",
            host=host,
        )
    for each in runtime["drift"]:
        seen, _comma, expected = each.rpartition(", expected ")
        yield finding(
            "runtime_settings",
            WARNING,
            evidence=f"{runtime['name']}: {seen or each}",
            expected=expected if seen else "as bramble.pi.site set it",
            host=host,
        )


def check_runtime_version(node: Mapping[str, Any], *, host: str) -> Iterator[Finding]:
    """Say while there is time that a runtime is too old for the Kubernetes that is there, or that comes."""
    runtime = node.get("runtime") or {}
    seen = (
        [f"from Kubernetes {unserved} on the kubelet will not use it"]
        if (unserved := runtime.get("unserved_from"))
        else []
    )
    kubelet = upstream_version(node["packages"].get("kubelet", ""))
    if kubelet and runtime.get("version"):
        containerd_version = tuple(runtime["version"][:2])
        problem = containerd_problem(version=kubelet, containerd=containerd_version) or containerd_warning(
            version=kubelet, containerd=containerd_version
        )
        seen += [problem] if problem else []
    if seen:
        yield finding(
            "runtime_version",
            WARNING,
            evidence=f"{runtime['name']}: {'; '.join(seen)}",
            expected="a runtime that its makers test with this Kubernetes and the next one",
            host=host,
        )
