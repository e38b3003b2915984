# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Print what the monitoring costs each node: CPU seconds in an hour, and MiB of memory.

Of node-exporter a minute is measured, while Prometheus asks it as often as it does; of an examination three
whole runs, as the timer starts them. The rack of the inventory has to be watched (bramble.pi.monitoring).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: Prints what was measured on a node, as JSON.
MEASURE = r"""
import json, os, re, resource, subprocess, time

def seconds(process):
    fields = open(f"/proc/{process}/stat").read().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")

show = ["systemctl", "show", "--value", "--property=MainPID", "prometheus-node-exporter.service"]
exporter = subprocess.run(show, capture_output=True, text=True, check=True).stdout.strip()
began, before = time.monotonic(), seconds(exporter)
time.sleep(60)
rate = (seconds(exporter) - before) / (time.monotonic() - began)
rollup = open(f"/proc/{exporter}/smaps_rollup").read()
command = ["/usr/bin/python3", "-I", "/usr/local/lib/bramble/monitoring"]
for _run in range(3):
    subprocess.run(command, check=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
timer = open("/etc/systemd/system/bramble-monitoring.timer").read()
interval = int(re.search(r"^OnUnitActiveSec=(\d+)s$", timer, re.MULTILINE)[1])
print(json.dumps({
    "exporter_seconds": rate * 3600,
    "exporter_mib": int(re.search(r"^Pss: +(\d+) kB", rollup, re.MULTILINE)[1]) / 1024,
    "examination_seconds": (used.ru_utime + used.ru_stime) / 3 * 3600 / interval,
    "examination_mib": used.ru_maxrss / 1024,
    "interval": interval,
}))
"""
#: Brings what was printed on each host to a file of its name.
PLAY = [
    {
        "hosts": "control_plane:workers",
        "gather_facts": False,
        "become": True,
        "tasks": [
            {
                "ansible.builtin.command": {"argv": ["python3", "-"], "stdin": MEASURE},
                "register": "measured",
                "changed_when": False,
            },
            {
                "ansible.builtin.copy": {
                    "content": "{{ measured.stdout | string }}",
                    "dest": "{{ playbook_dir }}/{{ inventory_hostname }}.json",
                    "mode": "0600",
                },
                "delegate_to": "localhost",
                "become": False,
            },
        ],
    }
]
COLUMNS = {
    "exporter_seconds": "node-exporter, CPU s/h",
    "exporter_mib": "MiB",
    "examination_seconds": "examinations, CPU s/h",
    "examination_mib": "MiB while one runs",
    "interval": "every s",
}


def read(inventory: Path) -> dict[str, dict[str, float]]:
    """Return what was measured on each host."""
    with tempfile.TemporaryDirectory() as folder:
        play = Path(folder) / "play.yml"
        play.write_text(json.dumps(PLAY))
        ansible = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(inventory), str(play)]
        subprocess.run(ansible, cwd=ROOT, check=True, stdout=sys.stderr)
        return {path.stem: json.loads(path.read_text()) for path in sorted(Path(folder).glob("*.json"))}


def table(found: dict[str, dict[str, float]]) -> list[str]:
    """Lay it out: a row for each host."""
    rows = [
        ["node", *COLUMNS.values()],
        *([host, *(f"{each[name]:.1f}" for name in COLUMNS)] for host, each in found.items()),
    ]
    return ["".join(f"{cell:>{max(len(rows[0][n]), 12) + 2}}" for n, cell in enumerate(row)) for row in rows]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--inventory", type=Path, default=ROOT / "inventories/virtual")
    print("\n".join(table(read(parser.parse_args().inventory))))


if __name__ == "__main__":
    main()
