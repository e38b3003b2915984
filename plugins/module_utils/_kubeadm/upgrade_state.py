# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which versions of Kubernetes a node runs, and what is left to do there until it runs another one.

An upgrade can be killed at any moment, so nothing is taken from what an earlier run meant to do, except this:
that kubeadm is being run is written down on the node before, and taken away at its end, because what it
does last (the addons) is in no version that could be read.

==============  ===========================================  =======================================
node            what runs                                    kubeadm
==============  ===========================================  =======================================
control plane   a run for this version was interrupted       that again
control plane   the cluster's configuration is older         upgrade apply
control plane   that is not, a static pod is older           upgrade node
control plane   neither                                      nothing
worker          the kubelet is older                         upgrade node
worker          the kubelet is not                           nothing
==============  ===========================================  =======================================

The kubelet is due where its package or the one that runs is older.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.compatibility import Version

#: The programs of a control plane that have the version of Kubernetes.
COMPONENTS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
APPLY, NODE = "apply", "node"

_VERSION = re.compile(r"v?(\d+)\.(\d+)\.(\d+)")


class Found(NamedTuple):
    """What a node runs; None where it is not there, or not known."""

    #: By the cluster's kubeadm configuration.
    cluster: Version | None
    #: By their manifests, {program: version}.
    static_pods: Mapping[str, Version]
    kubelet_package: Version | None
    #: By what the kubelet that runs has told the API server.
    kubelet: Version | None
    kubeadm: Version | None


class Interrupted(NamedTuple):
    """A run of kubeadm upgrade that has not come to its end."""

    action: str
    version: str

    def dumped(self) -> str:
        """Return it as text."""
        return json.dumps(self._asdict(), sort_keys=True) + "\n"


class Due(NamedTuple):
    """What is left to do on a node."""

    #: apply, node or empty.
    kubeadm: str
    kubelet: bool
    reason: str

    @property
    def anything(self) -> bool:
        """Tell whether anything is left."""
        return bool(self.kubeadm or self.kubelet)


def version_in(text: str) -> Version | None:
    """Return the first full version in a text, such as v1.36.1 of ``Kubernetes v1.36.1``."""
    match = _VERSION.search(text)
    return Version(*map(int, match.groups())) if match else None


def cluster_version(*, config_map: str) -> Version | None:
    """Return the version in the ConfigMap kubeadm-config, as JSON."""
    try:
        text = json.loads(config_map)["data"]["ClusterConfiguration"]
    except (ValueError, KeyError, TypeError):
        return None
    match = re.search(r"^kubernetesVersion:\s*(\S+)", text, re.MULTILINE)
    return version_in(match[1]) if match else None


def image_version(*, manifest: str, program: str) -> Version | None:
    """Return the version of the image of a static pod."""
    match = re.search(rf"^[\s-]*image:\s*[\"']?\S*/{program}(?:-\w+)?:(\S+)", manifest, re.MULTILINE)
    return version_in(match[1]) if match else None


def kubelet_version(*, node: str) -> Version | None:
    """Return the version of the kubelet that runs, from the Node, as JSON."""
    try:
        return version_in(str(json.loads(node)["status"]["nodeInfo"]["kubeletVersion"]))
    except (ValueError, KeyError, TypeError):
        return None


def parse_interrupted(*, text: str | None) -> Interrupted | None:
    """Read what is written down; what a power cut has spoilt counts for nothing."""
    try:
        content: Any = json.loads(text or "")
        return Interrupted(action=str(content["action"]), version=str(content["version"]))
    except (ValueError, KeyError, TypeError):
        return None


def decide(*, target: Version, control_plane: bool, found: Found, interrupted: Interrupted | None) -> Due:
    """Return what is left to do until the node runs the version (see the table above)."""
    kubelet = any(version is None or version < target for version in (found.kubelet_package, found.kubelet))
    reasons = []
    action = ""
    if not control_plane:
        action = NODE if kubelet else ""
    elif interrupted is not None and interrupted.version == str(target):
        action = interrupted.action
        reasons.append(f"kubeadm upgrade {action} was interrupted")
    elif found.cluster is None or found.cluster < target:
        action = APPLY
        reasons.append(f"the cluster's configuration says {found.cluster or 'nothing'}")
    else:
        older = [f"{name} is {version}" for name, version in found.static_pods.items() if version < target]
        missing = [f"{name} is not there" for name in COMPONENTS if name not in found.static_pods]
        if older or missing:
            action = NODE
            reasons.extend([*older, *missing])
    if kubelet:
        reasons.append(
            f"the kubelet that runs is {found.kubelet or 'unknown'}, its package "
            f"{found.kubelet_package or 'missing'}"
        )
    return Due(action, kubelet, "; ".join(reasons) or f"the node runs {target} or newer")


def shortcomings(*, target: Version, control_plane: bool, found: Found) -> list[str]:
    """Name what is not as kubeadm should have left it."""
    if not control_plane:
        return []
    said = {"kubeadm's configuration of the cluster": found.cluster, **found.static_pods}
    return [
        f"{name} is {version or 'not there'}"
        for name, version in said.items()
        if version is None or version < target
    ]
