# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Print what the programs of a cluster's nodes have of their own in memory, in MiB, largest first.

It is what the settings of control_plane_profile change: files that are only mapped count for nothing. The
rack of the inventory has to be up.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: A line for each process: its name, and its anonymous memory in KiB.
READ = """
for process in /proc/[0-9]*; do
    echo "$(cat $process/comm) $(sed -n 's/^Anonymous: *\\([0-9]*\\) kB/\\1/p' $process/smaps_rollup)"
done 2>/dev/null
"""
#: Brings the lines of each host to a file of its name.
PLAY = [
    {
        "hosts": "control_plane:workers",
        "gather_facts": False,
        "become": True,
        "tasks": [
            {"ansible.builtin.shell": READ, "register": "lines", "changed_when": False},
            {
                "ansible.builtin.copy": {
                    "content": "{{ lines.stdout }}",
                    "dest": "{{ playbook_dir }}/{{ inventory_hostname }}.lines",
                    "mode": "0600",
                },
                "delegate_to": "localhost",
                "become": False,
            },
        ],
    }
]
#: Below that many MiB on every node a program is in the last line.
LEAST = 5


def read(inventory: Path) -> dict[str, Counter[str]]:
    """Return the MiB of each program on each host, {host: {program: MiB}}."""
    with tempfile.TemporaryDirectory() as folder:
        play = Path(folder) / "play.yml"
        play.write_text(json.dumps(PLAY))
        ansible = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(inventory), str(play)]
        subprocess.run(ansible, cwd=ROOT, check=True, stdout=sys.stderr)
        found: dict[str, Counter[str]] = {}
        for path in sorted(Path(folder).glob("*.lines")):
            programs = found.setdefault(path.stem, Counter())
            for line in path.read_text().splitlines():
                name, _space, size = line.rpartition(" ")
                if size.isdigit():
                    programs[name] += int(size)
        return {
            host: Counter({name: round(size / 1024) for name, size in programs.items()})
            for host, programs in found.items()
        }


def table(found: dict[str, Counter[str]]) -> list[str]:
    """Lay it out: a row for each program, a column for each host."""
    programs = sum(found.values(), Counter[str]())
    shown = [
        name for name, _size in programs.most_common() if max(each[name] for each in found.values()) >= LEAST
    ]
    rows = [[name, *(str(each[name]) for each in found.values())] for name in shown]
    rest = [sum(each.values()) - sum(each[name] for name in shown) for each in found.values()]
    rows += [["others", *map(str, rest)], ["all", *(str(sum(each.values())) for each in found.values())]]
    return [
        f"{name:20}" + "".join(f"{cell:>10}" for cell in cells) for name, *cells in [["MiB", *found], *rows]
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--inventory", type=Path, default=ROOT / "inventories/virtual")
    print("\n".join(table(read(parser.parse_args().inventory))))


if __name__ == "__main__":
    main()
