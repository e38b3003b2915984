# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much CPU containers use, and the machine as a whole: containers are nobody's child processes."""

from __future__ import annotations

import bisect
import os
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

#: Where podman has the control groups of its containers: cgroup v1 and v2, without and with systemd.
GROUPS = [
    Path(root, parent)
    for root in ("/sys/fs/cgroup/cpuacct", "/sys/fs/cgroup")
    for parent in ("libpod_parent", "machine.slice")
]
PERIOD = 1.0


def machine_seconds() -> float:
    """Return the CPU seconds that all processes of this machine together have used since it was started."""
    user, nice, system, _idle, _iowait, irq, softirq = map(int, Path("/proc/stat").read_text().split()[1:8])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


class ContainerMeter:
    """Notes each second what every container has used, as its control group vanishes with it."""

    def __init__(self) -> None:
        #: For each container by its name: when, and the CPU seconds that it had used by then.
        self._samples: dict[str, list[tuple[float, float]]] = {}
        self._names: dict[str, str] = {}
        #: The last reading by id; it begins at 0 again when a container is started again.
        self._readings: dict[str, float] = {}

    def start(self) -> None:
        """Begin to read, until the program ends; what containers have used before does not count."""
        self._note()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while True:
            time.sleep(PERIOD)
            self._note()

    def _note(self) -> None:
        self.add(time.monotonic(), {self._name(id_): used for id_, used in _read_groups()})

    def add(self, when: float, readings: dict[str, float]) -> None:
        """Note what the control groups of containers, given by name, say at a moment."""
        for name, reading in readings.items():
            samples = self._samples.setdefault(name, [(when - PERIOD, 0.0)])
            before = self._readings.get(name, 0.0)
            self._readings[name] = reading
            samples.append((when, samples[-1][1] + (reading - before if reading >= before else reading)))

    def used(self, prefix: str, began: float, ended: float) -> float:
        """Return the CPU seconds that containers whose names begin so have used between two moments."""
        return sum(
            _at(samples, ended) - _at(samples, began)
            for name, samples in list(self._samples.items())
            if name.startswith(prefix)
        )

    def _name(self, id_: str) -> str:
        if id_ not in self._names:
            command = ["podman", "ps", "--all", "--no-trunc", "--format", "{{.ID}} {{.Names}}"]
            listing = subprocess.run(command, capture_output=True, text=True, check=False).stdout
            self._names.update(re.findall(r"^(\w+) (\S+)$", listing, re.MULTILINE))
        # One that is gone already keeps its id for a name.
        return self._names.setdefault(id_, id_)


def _at(samples: list[tuple[float, float]], when: float) -> float:
    """Return the value of the last sample that is not later."""
    position = bisect.bisect_right(samples, (when, float("inf")))
    return samples[position - 1][1] if position else 0.0


def _read_groups() -> Iterator[tuple[str, float]]:
    """Give the id of each container that runs, and the CPU seconds that it has used since it was started."""
    for folder in (folder for group in GROUPS for folder in group.glob("libpod-*")):
        match = re.fullmatch(r"libpod-([0-9a-f]{64})(\.scope)?", folder.name)
        try:
            if match and (folder / "cpuacct.usage").exists():
                yield match[1], int((folder / "cpuacct.usage").read_text()) / 1e9
            elif match and (folder / "cpu.stat").exists():
                yield match[1], int((folder / "cpu.stat").read_text().split()[1]) / 1e6
        except (OSError, IndexError):
            continue  # It has ended between two of these lines.
