# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks whether the NFS servers that a node uses or is itself answer, and have what they serve."""

from __future__ import annotations

import os
import re

from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text
from ansible_collections.bramble.pi.plugins.module_utils._nfs import ask
from ansible_collections.bramble.pi.plugins.module_utils._nfs.client import mount_rows
from ansible_collections.bramble.pi.plugins.module_utils._nfs.server import served_here

_ADDRESS = re.compile(r"(?:^|,)addr=([0-9.]+)")


def used_servers(mounts: str) -> list[str]:
    """Return the addresses of the servers of what is mounted; ``mounts`` is the text of /proc/mounts."""
    found = (_ADDRESS.search(row.options) for row in mount_rows(mounts))
    return sorted({match[1] for match in found if match})


def served_folders() -> list[str]:
    """Return the folders that this host serves."""
    return [export.path for each in served_here() for export in each.exports]


def unhealthy() -> list[dict[str, str]]:
    """Return the servers that do not answer, and the folders that are gone, each with what was seen."""
    addresses = {*used_servers(read_text("/proc/mounts") or ""), *(each.address for each in served_here())}
    silent = {address: ask.problem(address) for address in sorted(addresses)}
    return [
        *({"what": address, "seen": f"does not answer: {why}"} for address, why in silent.items() if why),
        *(
            {"what": path, "seen": "is served, and is not there"}
            for path in served_folders()
            if not os.path.isdir(path)
        ),
    ]
