# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter bramble.pi.flannel_manifest."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Callable

import yaml
from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: flannel_manifest
short_description: Put the pod network's CIDR into flannel's manifest
version_added: '0.1.0'
author: bramble.pi contributors (@bramble-pi)
description:
  - Takes the C(kube-flannel.yml) of a release and returns it with another network in the C(net-conf.json) of
    its ConfigMap. Everything else stays as it is.
  - Refuses a manifest that is not the one expected.
positional: _input, cidr, sha256
options:
  _input:
    description: The manifest.
    type: str
    required: true
  cidr:
    description: Network of all pods, such as V(10.42.0.0/16).
    type: str
    required: true
  sha256:
    description: SHA-256 of the manifest in hexadecimal.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Apply flannel
  bramble.pi.kubectl_apply:
    definition: >-
      {{ lookup('file', 'kube-flannel.yml') | bramble.pi.flannel_manifest('10.42.0.0/16', sha256) }}
  vars:
    sha256: 1c06a15a771009c263bdb1f51c928af46f7606fe969f3963652167938d536aaa
"""

RETURN = r"""
_value:
  description: The manifest with the network put in.
  type: str
  sample: "apiVersion: v1\nkind: Namespace\n..."
"""


def flannel_manifest(manifest: str, cidr: str, sha256: str) -> str:
    """Put the CIDR in."""
    seen = hashlib.sha256(manifest.encode()).hexdigest()
    if seen != sha256.lower():
        raise AnsibleFilterError(
            f"the SHA-256 of flannel's manifest is {seen}, wanted {sha256}: look at what changed, then set "
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
        raise AnsibleFilterError(
            f"the manifest has {len(configurations)} ConfigMaps with net-conf.json, wanted one: "
            "set pod_network_flannel_url to the kube-flannel.yml of a release"
        )
    network = json.loads(configurations[0]["net-conf.json"])
    network["Network"] = str(cidr)
    configurations[0]["net-conf.json"] = json.dumps(network, indent=2) + "\n"
    return yaml.safe_dump_all(documents, sort_keys=False)


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name the filter."""
        return {"flannel_manifest": flannel_manifest}
