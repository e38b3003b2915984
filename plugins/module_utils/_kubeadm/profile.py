# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a new cluster of boards with little memory is told besides (docs/cluster.md has figures)."""

from __future__ import annotations

from typing import Any

DEFAULT, SMALL = "default", "small"
PROFILES = (DEFAULT, SMALL)

#: How many writes etcd keeps in memory for members that lag behind, beside some thousand; by default 100000
#: up to etcd 3.5, and 10000 from 3.6 on.
_SNAPSHOT_COUNT = 5000
#: Go's garbage collector begins when a heap has grown by so many per cent; by default by 100.
_ENVIRONMENT = [{"name": "GOGC", "value": "50"}]
#: The first version of kubeadm's API, that of Kubernetes 1.31, by which programs are given an environment.
_WITH_ENVIRONMENT = "v1beta4"


def cluster_configuration(profile: str, *, version: str) -> dict[str, Any]:
    """Return the parts of a ClusterConfiguration in that version of the API."""
    if profile != SMALL:
        return {}
    etcd: dict[str, Any] = {"extraArgs": {"snapshot-count": str(_SNAPSHOT_COUNT)}}
    if version < _WITH_ENVIRONMENT:
        return {"etcd": {"local": etcd}}
    environment = {"extraEnvs": _ENVIRONMENT}
    return {
        "apiServer": environment,
        "controllerManager": environment,
        "scheduler": environment,
        "etcd": {"local": {**etcd, **environment}},
    }


def kubelet_configuration(profile: str) -> dict[str, Any]:
    """Return the parts of the KubeletConfiguration of all nodes."""
    return (
        {"maxPods": 40, "containerLogMaxSize": "5Mi", "containerLogMaxFiles": 3} if profile == SMALL else {}
    )
