# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The objects by which Kubernetes sees volumes of the inventory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.kubectl import MANAGED_BY
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.volumes import OWNER
from ansible_collections.bramble.pi.plugins.plugin_utils._inventory.storage import Share, Volume, folder_of

#: Programs wait while the server is away, and go on when it is back, rather than lose what they wrote.
MOUNT_OPTIONS = ("nfsvers=4.1", "hard", "proto=tcp", "timeo=600", "noatime")


def objects(*, volumes: Sequence[Volume], shares: Sequence[Share]) -> list[dict[str, Any]]:
    """Return a persistent volume for each, and a claim that is bound to it by name."""
    by_name = {share.name: share for share in shares}
    return [
        thing
        for volume in volumes
        for thing in (_persistent_volume(volume, by_name[volume.share]), _claim(volume))
    ]


def _labels() -> Mapping[str, str]:
    return {MANAGED_BY: OWNER}


def _persistent_volume(volume: Volume, share: Share) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": volume.name, "labels": _labels()},
        "spec": {
            "capacity": {"storage": volume.size},
            "accessModes": [volume.access],
            "nfs": {"server": share.address, "path": folder_of(volume, share)},
            "mountOptions": list(MOUNT_OPTIONS),
            "persistentVolumeReclaimPolicy": "Retain",
            # No class: nothing else gets it, and no default class makes another one for the claim.
            "storageClassName": "",
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": volume.namespace,
                "name": volume.name,
            },
        },
    }


def _claim(volume: Volume) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": volume.name, "namespace": volume.namespace, "labels": _labels()},
        "spec": {
            "accessModes": [volume.access],
            # Of one that is there it cannot be changed; bound by name, it need only be no more than there is.
            "resources": {"requests": {"storage": "1k"}},
            "storageClassName": "",
            "volumeName": volume.name,
        },
    }
