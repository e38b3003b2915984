# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stands before runc where the node lacks CAP_SYS_RESOURCE, and takes out of configurations what fails there.

Docker and containerd ask for an oom_score_adj below their own, for limits above their own, and for all
capabilities. runc refuses to start such a container. With this before it in PATH, both run with their
distribution's own configuration.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from typing import Any

# Debian's and Docker's packages differ in where they put it.
RUNC = next((path for path in ("/usr/sbin/runc", "/usr/bin/runc") if os.path.exists(path)), "/usr/sbin/runc")
# Capabilities are numbered in the kernel's linux/capability.h; this is the one that may be missing.
CAP_SYS_RESOURCE = 24


def option(*, arguments: list[str], names: tuple[str, ...]) -> str | None:
    """Return the value of the first option with one of these names, separate or after an equals sign."""
    for position, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name in names:
            return value if equals else next(iter(arguments[position + 1 :]), None)
    return None


def clamp(
    *, process: dict[str, Any], oom_score_adj: int, bounding_set: int, hard_limits: dict[str, int]
) -> None:
    """Bring the process of a container's configuration down to what this process may give."""
    if process.get("oomScoreAdj", oom_score_adj) < oom_score_adj:
        process["oomScoreAdj"] = oom_score_adj
    if not bounding_set >> CAP_SYS_RESOURCE & 1:
        for capabilities in (process.get("capabilities") or {}).values():
            if "CAP_SYS_RESOURCE" in (capabilities or []):
                capabilities.remove("CAP_SYS_RESOURCE")
    for limit in process.get("rlimits") or []:
        highest = hard_limits.get(limit["type"], resource.RLIM_INFINITY)
        if highest != resource.RLIM_INFINITY:
            limit["hard"] = min(limit["hard"], highest)
            limit["soft"] = min(limit["soft"], highest)


def clamp_file(*, path: str, inside: bool) -> None:
    """Clamp the process in a file: a whole configuration (C(inside)), or a process alone."""
    with open(path, encoding="utf-8") as file:
        configuration = json.load(file)
    with open("/proc/self/oom_score_adj", encoding="ascii") as file:
        oom_score_adj = int(file.read())
    with open("/proc/self/status", encoding="ascii") as file:
        bounding_set = next(int(line.split()[1], 16) for line in file if line.startswith("CapBnd:"))
    clamp(
        process=configuration.get("process", {}) if inside else configuration,
        oom_score_adj=oom_score_adj,
        bounding_set=bounding_set,
        hard_limits={
            name: resource.getrlimit(getattr(resource, name))[1]
            for name in dir(resource)
            if name.startswith("RLIMIT_")
        },
    )
    with open(path + ".clamped", "w", encoding="utf-8") as file:
        json.dump(configuration, file)
    os.replace(path + ".clamped", path)


def main(arguments: list[str]) -> None:
    """Clamp the file that runc is about to read, and become runc."""
    process = option(arguments=arguments, names=("--process", "-p"))
    if "create" in arguments or "run" in arguments:
        bundle = option(arguments=arguments, names=("--bundle", "-b")) or "."
        clamp_file(path=os.path.join(bundle, "config.json"), inside=True)
    elif "exec" in arguments and process is not None:
        clamp_file(path=process, inside=False)
    os.execv(RUNC, ["runc", *arguments])  # noqa: S606 - there is no shell here, nor shall there be


if __name__ == "__main__":
    main(sys.argv[1:])
