# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The status that a run of the backup leaves on the node, and that the doctor and the report read."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._backup.manifest import Manifest
from ansible_collections.bramble.pi.plugins.module_utils._backup.retention import ISO
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import state

#: What the program of the timer is told; no secret is in it, nor in a status.
SETTINGS = "/etc/bramble/backup.json"


def succeeded(*, manifest: Manifest, path: str, size: int, sha256: str) -> dict[str, Any]:
    """Return the status after a backup was made and proved."""
    return {
        "tried": manifest.created,
        "error": None,
        "created": manifest.created,
        "proved": manifest.proved,
        "file": path,
        "size": size,
        "sha256": sha256,
        "revision": manifest.contents.revision,
        "keys": manifest.contents.keys,
        "ca_cert_hash": manifest.ca_cert_hash,
    }


def failed(*, before: Mapping[str, Any] | None, now: datetime, error: str) -> dict[str, Any]:
    """Return the status after a failure: what was proved before still is."""
    return {**(before or {}), "tried": f"{now:{ISO}}", "error": error}


def lost_data(*, before: Mapping[str, Any] | None, revision: int) -> str | None:
    """Say that an etcd began again with nothing: its revision never falls, but for a restore."""
    if before is None or revision >= int(before.get("revision", 0)):
        return None
    return (
        f"etcd's revision is {revision}; expected {before['revision']} or more, as the backup of"
        f" {before.get('created')} ({before.get('file')}) has, so etcd has lost its data: fetch that backup"
        " and run 'ansible-playbook bramble.pi.restore' with it as backup_restore_file; if etcd was put back"
        f" on purpose, remove {state.BACKUP_STATUS}"
    )


def time_of(status: Mapping[str, Any] | None, what: str) -> datetime | None:
    """Return when the last backup was proved that was, or the last copy ``copied`` that came."""
    try:
        return datetime.strptime(str((status or {})[what]), ISO).replace(tzinfo=timezone.utc)
    except (KeyError, ValueError):
        return None
