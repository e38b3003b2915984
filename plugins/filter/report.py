# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters that say what is wrong: with an inventory, a rack, a cluster."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Callable

from ansible import constants
from ansible.utils.display import Display
from ansible_collections.bramble.pi.plugins.module_utils._boot.receipt import parse_receipt
from ansible_collections.bramble.pi.plugins.plugin_utils._inventory import identity, rack_groups
from ansible_collections.bramble.pi.plugins.plugin_utils._preflight import (
    check,
    inventory,
    playbooks,
    sources,
    values,
)
from ansible_collections.bramble.pi.plugins.plugin_utils._report import certificates as report_certificates
from ansible_collections.bramble.pi.plugins.plugin_utils._report import day as report_day
from ansible_collections.bramble.pi.plugins.plugin_utils._report import day_chart
from ansible_collections.bramble.pi.plugins.plugin_utils._report import report as rack_report


def certificate_table(
    hostvars: Mapping[str, Mapping[str, Any]],
    hosts: Sequence[str],
    results: str,
    kubeconfigs: Sequence[str] = (),
    *,
    check_mode: bool = False,
) -> list[str]:
    """Make the table."""
    texts = {}
    for name in dict.fromkeys(str(name) for name in kubeconfigs):
        # One that is not there, or not for this user to read, is not shown.
        with contextlib.suppress(OSError):
            texts[name] = Path(name).expanduser().read_text(encoding="utf-8")
    return report_certificates.table(
        results={host: hostvars[host].get(results, {}) for host in hosts},
        kubeconfigs=texts,
        now=datetime.now(timezone.utc),
        check_mode=check_mode,
    )


def _receipts(*, folder: str, hosts: Sequence[str]) -> dict[str, dict[str, Any]]:
    receipts = {}
    for host in hosts:
        path = Path(folder).expanduser() / f"{host}.json"
        try:
            receipt = parse_receipt(content=path.read_bytes())
        except OSError:
            continue
        if receipt:
            receipts[host] = receipt
    return receipts


def _role(host: str, groups: Mapping[str, Sequence[str]]) -> str:
    found = rack_groups.read(groups)
    if host in found.control_planes:
        return "control plane"
    return "worker" if host in found.workers else rack_report.HEAD


def doctor_report(
    hostvars: Mapping[str, Mapping[str, Any]],
    groups: Mapping[str, Sequence[str]],
    hosts: Sequence[str],
    *,
    results: str,
    fail_on: str = "error",
    receipts: str = "",
    inventory: str = "my-rack",
) -> dict[str, Any]:
    """Make the report."""
    ordered = [host for host in dict.fromkeys([*rack_groups.read(groups).members, *hosts]) if host in hosts]
    report = rack_report.check(
        results={host: hostvars[host].get(results, {}) for host in ordered},
        roles={host: _role(host, groups) for host in ordered},
        addresses={host: identity.outer_address(host, hostvars[host]) for host in ordered},
        receipts=_receipts(folder=receipts, hosts=ordered) if receipts else {},
        inventory=inventory,
    )
    return {
        **report,
        "failing": rack_report.failing(counts=report["counts"], fail_on=fail_on),
        "table": rack_report.table(report=report),
    }


def day_report(answer: Mapping[str, Any], hosts: Sequence[str], inventory: str) -> dict[str, Any]:
    """Say how the hosts were in the last day, or why nobody knows."""
    if "nodes" not in answer:
        problem = " ".join(str(answer.get("msg", "Prometheus was not asked")).split())
        return {"problem": problem.replace("INVENTORY", inventory)}
    return report_day.report(history=answer, hosts=hosts)


def _names(known_variables: Any) -> list[str]:
    # A plain list: what is validated is copied, and Ansible's own lists would take all of Ansible along.
    return [] if known_variables is None else list(inventory.evaluated(known_variables))


def preflight_problems(
    hostvars: Mapping[str, Mapping[str, Any]],
    groups: Mapping[str, Sequence[str]],
    node_network: Any = "",
    known_variables: Any = None,
) -> list[str]:
    """List the problems, and warn of what is doubtful."""
    missing = [name for name in ("netaddr", "jmespath") if importlib.util.find_spec(name) is None]
    if missing:
        return [
            f"{' and '.join(missing)} not found on the controller: run pip install -r requirements.txt "
            "with the Python that runs Ansible"
        ]
    specs = inventory.read_options()
    checked = {*values.CONNECTION, *(name for options in specs.values() for name in options)}
    hosts = {
        host: inventory.read_variables(hostvars[host], checked, of_cards=specs["flash"]) for host in hostvars
    }
    problems, warnings = check.validate(
        groups=groups,
        hosts=hosts,
        specs=specs,
        files=inventory.named_files(hosts),
        node_network=node_network,
        known_variables=[*_names(known_variables), *playbooks.extra_variables()],
    )
    for warning in warnings:
        Display().warning(warning)
    return problems


def command_line_problems(
    known_variables: Any, run_tags: Sequence[str], skip_tags: Sequence[str]
) -> list[str]:
    """List what is wrong with variables and tags of the command line, and warn of what is doubtful."""
    variables = playbooks.extra_variables()
    problems, warnings = check.command_line_problems(
        # All options take a while to read, and most runs are given no variable.
        specs=inventory.read_options() if variables else {},
        variables=variables,
        known_variables=_names(known_variables),
        # What ansible.cfg or the environment sets for every playbook is not of this command line.
        run_tags=[tag for tag in run_tags if tag not in (constants.TAGS_RUN or ())],
        skip_tags=[tag for tag in skip_tags if tag not in (constants.TAGS_SKIP or ())],
        tags=playbooks.tags_of_run(),
    )
    for warning in warnings:
        Display().warning(warning)
    return problems


def removed_variables(
    hostvars: Mapping[str, Mapping[str, Any]], groups: Mapping[str, Sequence[str]]
) -> list[str]:
    """List the variables that no role reads any more."""
    names = {host: [name for name in hostvars[host] if isinstance(name, str)] for host in hostvars}
    return check.removed_variables(nodes=rack_groups.read(groups).members, hosts=names)


def inventory_problems(
    paths: Sequence[str], groups: Mapping[str, Sequence[str]], needed: Sequence[str] = ()
) -> list[str]:
    """List what was not read of an inventory."""
    paths = [str(path) for path in paths]
    return sources.problems(paths, groups=groups, optional=not needed) or sources.needed_problems(
        paths, groups, needed
    )


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name the filters; each is documented in a file of its name."""
        return {
            "certificate_table": certificate_table,
            "command_line_problems": command_line_problems,
            "day_chart": day_chart.draw,
            "day_report": day_report,
            "doctor_report": doctor_report,
            "inventory_problems": inventory_problems,
            "preflight_problems": preflight_problems,
            "removed_variables": removed_variables,
        }
