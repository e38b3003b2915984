# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Count what a converge that changes nothing costs each host, and the controller.

Every module run costs a Pi about a second, so their number is what a user waits for. What the controller
does beside them is told in pings: its CPU time against that of a play that only pings the same hosts.
The rack of the inventory has to be up and converged.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# What a host may cost at the most in a converge that changes nothing.
MODULES_WORKER = 8
MODULES_CONTROL_PLANE = 12
# The role docker has two that are skipped, what it reads of an image mirror and what it leaves to the role
# maintenance on nodes in use, kube_packages one, what it reads when other roles or hosts are not in the run,
# and control_plane two, where the control planes have no address together and secrets are not encrypted.
SKIPPED_OR_CONTROLLER = 20
PING = """
- hosts: control_plane:workers
  gather_facts: false
  become: true
  tasks:
    - ansible.builtin.ping:
"""


def count_steps(inventory: Path, *arguments: str) -> dict[str, dict[str, int]]:
    """Run site.yml with the counting callback; return {host: {modules, controller, skipped, changed}}."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "steps.json"
        environment = {
            "ANSIBLE_CALLBACK_PLUGINS": str(Path(__file__).parent / "callback_plugins"),
            "ANSIBLE_CALLBACKS_ENABLED": "step_counter",
            "STEP_COUNTER_FILE": str(report),
        }
        run_playbook(inventory, "site.yml", *arguments, **environment)
        counts: dict[str, dict[str, int]] = json.loads(report.read_text())
        return counts


def run_playbook(inventory: Path, *arguments: str, **environment: str) -> float:
    """Run a playbook; return the CPU seconds of the controller, with all processes."""
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(inventory), *arguments]
    environment = {**os.environ, "LC_ALL": "C.UTF-8", **environment}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=sys.stderr)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure_cpu(inventory: Path, repeats: int) -> str:
    """Measure the converge and the ping by turns, as a busy machine slows both; return the medians."""
    with tempfile.TemporaryDirectory() as folder:
        ping = Path(folder) / "ping.yml"
        ping.write_text(PING)
        pairs = [
            (run_playbook(inventory, "site.yml"), run_playbook(inventory, str(ping)))
            for _run in range(repeats)
        ]
    converge, one_ping = (statistics.median(seconds) for seconds in zip(*pairs, strict=True))
    ratio = statistics.median(ours / theirs for ours, theirs in pairs)
    return (
        f"CPU time of the controller: {converge:.1f} s for this converge, {one_ping:.1f} s for one ping play"
        f" on the same hosts: {ratio:.1f} pings (median of {repeats})"
    )


def control_planes(inventory: Path) -> set[str]:
    """Return the hosts of the group control_plane."""
    command = [str(Path(sys.executable).parent / "ansible-inventory"), "-i", str(inventory), "--list"]
    listing = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return set(json.loads(listing).get("control_plane", {}).get("hosts", []))


def table(counts: dict[str, dict[str, int]], masters: set[str]) -> str:
    """Lay the counts out beside what they may reach."""
    lines = [f"{'host':<12}{'modules':>9}{'of':>5}{'skipped + controller':>23}{'of':>5}{'changed':>9}"]
    for host, count in counts.items():
        limit = MODULES_CONTROL_PLANE if host in masters else MODULES_WORKER
        rest = count["skipped"] + count["controller"]
        lines.append(
            f"{host:<12}{count['modules']:>9}{limit:>5}"
            f"{rest:>23}{SKIPPED_OR_CONTROLLER:>5}{count['changed']:>9}"
        )
    return "\n".join(lines)


def main() -> None:
    """Print the table for one inventory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inventory", type=Path, default=ROOT / "inventories" / "virtual")
    parser.add_argument("--tasks", action="store_true", help="list the tasks behind the numbers")
    parser.add_argument("--repeats", type=int, default=3, help="how often to measure the CPU time")
    arguments = parser.parse_args()
    counts = count_steps(arguments.inventory)
    print(table(counts, control_planes(arguments.inventory)))
    if arguments.repeats > 0:
        print(measure_cpu(arguments.inventory, arguments.repeats))
    if arguments.tasks:
        for host, count in counts.items():
            print(f"\n{host}", *count["tasks"], sep="\n  ")  # type: ignore[misc]


if __name__ == "__main__":
    main()
