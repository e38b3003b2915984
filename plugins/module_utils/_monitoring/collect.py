# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the timer runs on a node: an examination, whose result node-exporter hands on to Prometheus."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._common.commands import SBIN
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError, os_error_text
from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text, write_text
from ansible_collections.bramble.pi.plugins.module_utils._common.unattended import run_command
from ansible_collections.bramble.pi.plugins.module_utils._monitoring import metrics
from ansible_collections.bramble.pi.plugins.module_utils._monitoring.refusals import MonitoringError
from ansible_collections.bramble.pi.plugins.module_utils._monitoring.units import STATE
from ansible_collections.bramble.pi.plugins.module_utils._node.examination import OPTIONS, examination

SETTINGS = "/etc/bramble/monitoring.json"
#: What node-exporter reads, by a link where it looks.
METRICS = f"{STATE}/bramble.prom"
_MEASURED = f"{STATE}/fsync.json"
#: 200 small writes wear a card out as little as a line in the journal does, once a day.
_MEASURE_SECONDS = 86400


class Commands:
    """Runs the commands of the node as a module does."""

    def __init__(self) -> None:
        self.run_command = run_command

    def get_bin_path(self, arg: str) -> str | None:
        """Return where a program is, or None if it is not installed."""
        return shutil.which(arg, path=os.pathsep.join([os.environ.get("PATH", os.defpath), *SBIN]))

    def warn(self, warning: str) -> None:
        """Write it to the journal."""
        sys.stderr.write(f"{warning}\n")


def settings() -> dict[str, Any]:
    """Read what is asked of the node."""
    try:
        content = json.loads(read_text(SETTINGS) or "")
        return {**{name: option.get("default") for name, option in OPTIONS.items()}, **content}
    except (ValueError, TypeError) as error:
        raise MonitoringError(
            f"{SETTINGS} cannot be read ({error}); expected what the role monitoring writes:"
            " run 'ansible-playbook -i INVENTORY bramble.pi.monitoring'"
        ) from error


def last_measured(*, now: float) -> dict[str, Any] | None:
    """Return the last measurement of the disk, unless it is a day old, or of a time to come."""
    try:
        found = json.loads(read_text(_MEASURED) or "")
        due = not 0 <= now - found["measured"] < _MEASURE_SECONDS
    except (ValueError, KeyError, TypeError):
        return None
    return None if due else found


def examine() -> None:
    """Examine the node, and write the metrics in one step."""
    options = settings()
    began = time.monotonic()
    last = last_measured(now=time.time())
    measure = bool(options["fsync"]) and last is None
    node, findings = examination(
        Commands(),
        options=options,
        measure_disk=measure,
        fsync=last["fsync"] if last and options["fsync"] else None,
    )
    if measure:
        write_text(_MEASURED, json.dumps({"measured": time.time(), "fsync": node["fsync"]}))
    text = metrics.exposition(
        node=node, findings=findings, examined=time.time(), duration=time.monotonic() - began
    )
    write_text(METRICS, text)


def main() -> None:
    """Examine the node, and end with what is wrong with that; its old metrics tell that it failed."""
    try:
        examine()
    except BrambleError as error:
        raise SystemExit(str(error)) from error
    except OSError as error:
        raise SystemExit(os_error_text(error)) from error
