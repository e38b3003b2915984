# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kills the backup or restore that runs on this node, once some paths are there and others are not.

Run with the paths, those that must not be there with a minus before them. Prints which were there by then.
"""

from __future__ import annotations

import contextlib
import glob
import os
import signal
import sys
import time

LOCK = "/run/bramble-backup.lock"


def holder() -> int:
    """Wait for a run, and return its process."""
    while True:
        for path in glob.glob("/proc/[0-9]*/fd/*"):
            with contextlib.suppress(OSError):
                if os.readlink(path) == LOCK:
                    return int(path.split("/")[2])
        time.sleep(0.05)


process = holder()
there = [path for path in sys.argv[1:] if not path.startswith("-")]
missing = [path[1:] for path in sys.argv[1:] if path.startswith("-")]
while not all(map(os.path.exists, there)) or any(map(os.path.exists, missing)):
    time.sleep(0.0005)
# That of the last moment may be over by then.
with contextlib.suppress(ProcessLookupError):
    os.kill(process, signal.SIGKILL)
print(*filter(os.path.exists, [*there, *missing]))
