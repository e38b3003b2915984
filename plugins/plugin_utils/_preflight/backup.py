# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of where backups are copied to."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.bramble.pi.plugins.module_utils._backup.copies import folder_problem
from ansible_collections.bramble.pi.plugins.plugin_utils._inventory import receivers
from ansible_collections.bramble.pi.plugins.plugin_utils._preflight.rack import Finding, Rack


def check_copies(rack: Rack) -> Iterator[Finding]:
    """Check that each control plane sends its backups to other nodes, which it can reach."""
    told = {host: rack.told(host) for host in rack.hosts}
    for host in rack.control_plane:
        names = rack.value(host, "backup_copy_to")
        if not names:
            continue
        try:
            receivers.receivers(host=host, names=names, hosts=told)
        except receivers.ReceiverError as error:
            yield Finding(str(error), host)
        folder = rack.value(host, "backup_copy_folder")
        if folder is not None and folder_problem(folder):
            yield Finding(folder_problem(folder), host)
