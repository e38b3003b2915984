# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The servers that a node takes its time from, as chrony or systemd-timesyncd reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._common.files import MANAGED


class TimeServers(NamedTuple):
    """A file, and the unit that reads it."""

    path: str
    text: str
    unit: str


def of_chrony(servers: Sequence[str]) -> TimeServers:
    """Write them for chrony."""
    text = MANAGED + "".join(f"server {server} iburst prefer\n" for server in servers)
    return TimeServers("/etc/chrony/sources.d/bramble.sources", text, "chrony")


def of_timesyncd(servers: Sequence[str]) -> TimeServers:
    """Write them for systemd-timesyncd."""
    text = f"{MANAGED}[Time]\nNTP={' '.join(servers)}\n"
    return TimeServers("/etc/systemd/timesyncd.conf.d/bramble.conf", text, "systemd-timesyncd")
