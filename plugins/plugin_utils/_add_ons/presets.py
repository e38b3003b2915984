# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-ons that are known by name: their manifests, pinned, and the values that they take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

#: Small manifests of our own.
FOLDER = Path(__file__).resolve().parents[3] / "roles" / "add_ons" / "files"
_METALLB = "https://raw.githubusercontent.com/metallb/metallb/v0.16.1/config/manifests"
_CSI_NFS = "https://raw.githubusercontent.com/kubernetes-csi/csi-driver-nfs/v4.13.4/deploy/v4.13.4"

#: In the form of a user's own add-ons; a URL and its SHA-256 change together. ``own`` comes beside any
#: manifest.
PRESETS: dict[str, dict[str, Any]] = {
    "csi-driver-nfs": {
        "manifest": [
            f"{_CSI_NFS}/rbac-csi-nfs.yaml",
            f"{_CSI_NFS}/csi-nfs-driverinfo.yaml",
            f"{_CSI_NFS}/csi-nfs-controller.yaml",
            f"{_CSI_NFS}/csi-nfs-node.yaml",
        ],
        "sha256": [
            "312de689d07627330d8280e50d7b51357e0b5f5ca0d8aa75794aec460ee4cff0",
            "fa2bba4674821b3317d1e016f3c9d54abe04fcdc6fed3fce9e58994c8311c4a0",
            "dcc1aa5188c93bea3a3239175ce4e9ac577702818c4fb9fa611a0039aa5ab255",
            "b66104b44d4569c926e11af5c6c3858fbc38fd16099b206fc4a0dc0f7fcd94d2",
        ],
    },
    "metallb": {
        "manifest": f"{_METALLB}/metallb-native.yaml",
        "sha256": "bf25feebb7582ca7df845efd52ffbc2960d6cbf4cfc972f47fded9f788b67f0b",
        "own": f"{FOLDER}/metallb-addresses.manifest",
        # Whoever takes it has to say which.
        "values": {"addresses": None},
    },
    "metrics-server": {
        "manifest": f"{FOLDER}/metrics-server.manifest",
        # kubeadm's kubelets have certificates that they signed themselves.
        "values": {"kubelet_insecure_tls": "true"},
    },
    "traefik": {
        "manifest": f"{FOLDER}/traefik.manifest",
        "values": {"gateway_api": "false", "replicas": 1},
    },
}
