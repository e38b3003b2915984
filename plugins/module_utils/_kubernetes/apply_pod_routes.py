# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts the routes to other nodes' pods in place and removes them; ``pod_routes`` decides what they are."""

from __future__ import annotations

import os

from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.commands import Runner, output_of
from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import pod_routes


def _printed_rules(run: Runner) -> dict[tuple[str, str], str]:
    """Return what the kernel has in the chains concerned; a chain that is not there prints nothing."""
    chains = [(table, chain) for table, pair in pod_routes.JUMPS.items() for chain in pair]
    return {(table, chain): run(["iptables", "-w", "-t", table, "-S", chain])[1] for table, chain in chains}


def _routes(run: Runner) -> dict[str, str]:
    command = ["ip", "-4", "route", "show", "proto", pod_routes.ROUTE_PROTOCOL]
    return pod_routes.parse_routes(output_of(run, command))


def _unit_is_on(run: Runner) -> bool:
    """Return whether the unit runs now and at each boot."""
    commands = (["systemctl", verb, "--quiet", pod_routes.UNIT_NAME] for verb in ("is-enabled", "is-active"))
    return all(run(command)[0] == 0 for command in commands)


def _missing(run: Runner, plan: pod_routes.Plan) -> list[str]:
    """Compare what the kernel and systemd have with the plan."""
    routes = _routes(run)
    changes = [
        f"add the route to {cidr} via {address}"
        for cidr, address in plan.routes.items()
        if routes.get(cidr) != address
    ]
    changes += [f"remove the route to {cidr}" for cidr in routes if cidr not in plan.routes]
    rules = pod_routes.missing_rules(plan=plan, printed=_printed_rules(run))
    changes += [f"add the rule {rule}" for rule in rules]
    if not _unit_is_on(run):
        changes.append(f"enable and start {pod_routes.UNIT_NAME}")
    return changes


def _apply(run: Runner, plan: pod_routes.Plan) -> None:
    # Not through systemd, so that what iptables and ip say of a fault is at hand.
    output_of(
        run,
        [pod_routes.SCRIPT, "start"],
        remedy=f"the nodes have to reach each other ({', '.join(plan.routes.values())}) without a router in"
        " between: where they do not, set pod_network_plugin: flannel",
    )
    output_of(run, ["systemctl", "daemon-reload"])
    output_of(run, ["systemctl", "enable", "--now", pod_routes.UNIT_NAME])


def install(*, plan: pod_routes.Plan, run: Runner, changes: Changes) -> None:
    """Put CNI configuration, routes and rules in place."""
    missing = _missing(run, plan)
    changes.write(pod_routes.CONFLIST, pod_routes.conflist(plan))
    changes.write(pod_routes.SCRIPT, pod_routes.script(plan), mode=0o755)
    changes.write(pod_routes.UNIT, pod_routes.unit())
    for sentence in missing:
        changes.note(sentence)
    if changes and not changes.check_mode:
        _apply(run, plan)


def remove(*, run: Runner, changes: Changes) -> None:
    """Remove them all again."""
    texts = {path: read_text(path) for path in (pod_routes.CONFLIST, pod_routes.SCRIPT, pod_routes.UNIT)}
    there = {path: text for path, text in texts.items() if text is not None}
    for path, text in there.items():
        changes.note(f"remove {path}")
        changes.show(path, text, "")
    if not there or changes.check_mode:
        return
    if pod_routes.UNIT in there:
        output_of(run, ["systemctl", "disable", "--now", pod_routes.UNIT_NAME])
    if pod_routes.SCRIPT in there:
        output_of(run, [pod_routes.SCRIPT, "stop"])
    for path in there:
        os.unlink(path)
    output_of(run, ["systemctl", "daemon-reload"])
