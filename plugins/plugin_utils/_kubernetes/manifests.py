# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Kubernetes' manifests hold, and flannel's with the cluster's own network."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError

#: Of the configuration that a pod was started with.
_CONFIGURATION = "bramble.pi/configuration-sha256"


class ManifestError(BrambleError):
    """A manifest is not the one expected."""


def flannel_manifest(manifest: str, cidr: str, sha256: str) -> str:
    """Put the CIDR in, and have pods with another configuration take the place of those that run."""
    seen = hashlib.sha256(manifest.encode()).hexdigest()
    if seen != sha256.lower():
        raise ManifestError(
            f"the SHA-256 of flannel's manifest is {seen}; expected {sha256}: look at what changed, then set "
            "pod_network_flannel_url and pod_network_flannel_sha256 together"
        )
    # Ansible's own kinds of strings are none that PyYAML would write.
    documents: list[Any] = [document for document in yaml.safe_load_all(str(manifest)) if document]
    configurations = [
        document["data"]
        for document in documents
        if document.get("kind") == "ConfigMap" and "net-conf.json" in document.get("data", {})
    ]
    if len(configurations) != 1:
        raise ManifestError(
            f"the manifest has {len(configurations)} ConfigMaps with net-conf.json; expected one: "
            "set pod_network_flannel_url to the kube-flannel.yml of a release"
        )
    network = json.loads(configurations[0]["net-conf.json"])
    network["Network"] = str(cidr)
    configurations[0]["net-conf.json"] = json.dumps(network, indent=2) + "\n"
    # Pods read it when they are started, and a ConfigMap alone starts none again.
    told = json.dumps(configurations[0], sort_keys=True)
    for document in documents:
        template = document.get("spec", {}).get("template")
        if document.get("kind") == "DaemonSet" and template:
            annotations = template.setdefault("metadata", {}).setdefault("annotations", {})
            annotations[_CONFIGURATION] = hashlib.sha256(told.encode()).hexdigest()
    return yaml.safe_dump_all(documents, sort_keys=False)


def _images(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        if isinstance(value.get("image"), str):
            yield value["image"]
        for below in value.values():
            yield from _images(below)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for below in value:
            yield from _images(below)


def manifest_images(manifest: str) -> list[str]:
    """List the images."""
    try:
        # Ansible's own kinds of strings are none that PyYAML would read.
        documents = list(yaml.safe_load_all(str(manifest)))
    except yaml.YAMLError as error:
        raise ManifestError(f"the manifest is not YAML: {error}") from error
    return list(dict.fromkeys(_images(documents)))
