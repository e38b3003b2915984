# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What switches swap on at boot: services that are known for it, and whatever else on the node does."""

from __future__ import annotations

import contextlib
import glob
import os
import re
import shlex
from collections.abc import Iterator

UNITS = "/etc/systemd/system"
UNIT_FOLDERS = (UNITS, "/run/systemd/generator.late", "/lib/systemd/system", "/usr/lib/systemd/system")
#: Of packages, and of scripts that guides for Raspberry Pis install. They do not go by swap.target.
KNOWN_SERVICES = (
    "dphys-swapfile.service",
    "zramswap.service",
    "zram-config.service",
    "zram-swap.service",
    "armbian-zram-config.service",
    "swapspace.service",
    "systemd-swap.service",
)
#: What goes on to make swap as long as it runs.
DAEMONS = ("swapspace.service",)
#: Run at boot without a unit of its own.
_SCRIPTS = ("/etc/rc.local",)
#: What of a program is looked at; some, such as swapspace, are no scripts.
_BYTES = 4 * 1024 * 1024
_CALL = b"swapon"
_EXEC = re.compile(r"^\s*Exec(?:Start|StartPre|StartPost)\s*=\s*[-@:+!|]*(.+)$", re.MULTILINE)


def _read(path: str) -> bytes:
    with contextlib.suppress(OSError):
        if os.path.isfile(path):
            with open(path, "rb") as file:
                return file.read(_BYTES)
    return b""


def _programs(unit: str) -> Iterator[str]:
    """Return the files that a unit runs, and those given to what it runs, such as a shell."""
    for command in _EXEC.findall(unit):
        try:
            words = shlex.split(command)
        except ValueError:
            words = command.split()
        yield from (word for word in words if word.startswith("/"))


def _switches_on(content: bytes, *, root: str) -> bool:
    code = b"\n".join(line for line in content.splitlines() if not line.lstrip().startswith(b"#"))
    programs = _programs(code.decode(errors="replace"))
    return _CALL in code or any(_calls(_read(root + path)) for path in programs)


def _calls(program: bytes) -> bool:
    # A shell has no such call of its own, and a comment is none.
    if program.startswith(b"#!"):
        program = b"\n".join(line for line in program.splitlines() if not line.lstrip().startswith(b"#"))
    return _CALL in program


def culprits(*, root: str = "") -> list[str]:
    """Name the services, and scripts run at boot, that switch swap on; a masked one does not."""
    seen: dict[str, bool] = {}
    for folder in UNIT_FOLDERS:
        for path in sorted(glob.glob(f"{root}{folder}/*.service")):
            # Of several files of a name the first counts.
            if os.path.basename(path) not in seen:
                seen[os.path.basename(path)] = _switches_on(_read(path), root=root)
    scripts = [path for path in _SCRIPTS if _calls(_read(root + path)) and os.access(root + path, os.X_OK)]
    return [*(name for name, switches in seen.items() if switches), *scripts]
