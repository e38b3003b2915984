# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is left to do on a node until it runs another version."""

from __future__ import annotations

import json

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import upgrade_state
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.upgrade_state import (
    COMPONENTS,
    Due,
    Found,
    Interrupted,
)
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.compatibility import Version

OLD, NEW, NEWER = Version(1, 20, 2), Version(1, 21, 0), Version(1, 22, 0)
APPLYING = Interrupted("apply", "1.21.0")


def found(
    cluster: Version | None = None,
    pods: Version | None = None,
    package: Version | None = OLD,
    kubelet: Version | None = OLD,
    **others: Version,
) -> Found:
    """Return what a node runs: all static pods of one version, but those that are named."""
    static = {} if pods is None else dict.fromkeys(COMPONENTS, pods)
    return Found(cluster, {**static, **others}, package, kubelet, None)


@pytest.mark.parametrize(
    ("what", "control_plane", "interrupted", "action", "kubelet"),
    [
        # A control plane, from before the upgrade to its end, in the order of a run.
        (found(OLD, OLD), True, None, "apply", True),
        (found(OLD, OLD), True, APPLYING, "apply", True),
        (found(OLD, NEW), True, APPLYING, "apply", True),
        (found(NEW, NEW), True, APPLYING, "apply", True),
        (found(NEW, NEW), True, None, "", True),
        (found(NEW, NEW, NEW, OLD), True, None, "", True),
        (found(NEW, NEW, NEW, NEW), True, None, "", False),
        # Another one.
        (found(NEW, OLD), True, None, "node", True),
        (found(NEW, NEW, **{"kube-scheduler": OLD}), True, None, "node", True),
        (found(NEW, NEW), True, Interrupted("node", "1.21.0"), "node", True),
        # Of an upgrade to the next minor nothing is taken for one to this.
        (found(NEW, NEW, NEW, NEW), True, Interrupted("apply", "1.22.0"), "", False),
        (found(NEWER, NEWER, NEWER, NEWER), True, None, "", False),
        # Half of its files are not there.
        (found(NEW, None), True, None, "node", True),
        (found(None, OLD), True, None, "apply", True),
        # A worker; its package may be unpacked, and the kubelet that runs the old one.
        (found(), False, None, "node", True),
        (found(package=NEW), False, None, "node", True),
        (found(package=NEW, kubelet=NEW), False, None, "", False),
        (found(package=NEWER, kubelet=NEWER), False, None, "", False),
        (found(package=None, kubelet=None), False, None, "node", True),
    ],
)
def test_what_is_due(
    what: Found, control_plane: bool, interrupted: Interrupted | None, action: str, kubelet: bool
) -> None:
    due = upgrade_state.decide(target=NEW, control_plane=control_plane, found=what, interrupted=interrupted)
    assert (due.kubeadm, due.kubelet) == (action, kubelet)
    assert due.anything is (bool(action) or kubelet)


def test_the_reason_names_what_was_seen() -> None:
    due = upgrade_state.decide(
        target=NEW,
        control_plane=True,
        found=found(NEW, NEW, NEW, OLD, **{"kube-apiserver": OLD}),
        interrupted=None,
    )
    assert due == Due(
        "node",
        True,
        "kube-apiserver is 1.20.2; the kubelet that runs is 1.20.2, its package 1.21.0",
    )


@pytest.mark.parametrize(
    ("manifest", "version"),
    [
        ("    image: k8s.gcr.io/kube-apiserver:v1.20.2\n", OLD),
        ('    image: "registry.example:5000/a/kube-apiserver-amd64:v1.21.0"\n', NEW),
        ("    image: registry.k8s.io/kube-apiserver:v1.21.0@sha256:abc\n", NEW),
        ("    image: k8s.gcr.io/kube-scheduler:v1.20.2\n", None),
        ("    image: mine/kube-apiserver:latest\n", None),
        ("", None),
    ],
)
def test_versions_of_static_pods(manifest: str, version: Version | None) -> None:
    assert upgrade_state.image_version(manifest=manifest, program="kube-apiserver") == version


@pytest.mark.parametrize(
    ("data", "version"),
    [
        ({"ClusterConfiguration": "kind: ClusterConfiguration\nkubernetesVersion: v1.21.0\n"}, NEW),
        ({"ClusterConfiguration": "kind: ClusterConfiguration\n"}, None),
        ({}, None),
    ],
)
def test_version_of_the_cluster(data: dict[str, str], version: Version | None) -> None:
    assert upgrade_state.cluster_version(config_map=json.dumps({"data": data})) == version


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"data": null}', "<html>"])
def test_what_is_no_answer_tells_no_version(text: str) -> None:
    assert upgrade_state.cluster_version(config_map=text) is None
    assert upgrade_state.kubelet_version(node=text) is None
    assert upgrade_state.parse_interrupted(text=text) is None


def test_the_kubelet_that_runs() -> None:
    node = json.dumps({"status": {"nodeInfo": {"kubeletVersion": "v1.21.0"}}})
    assert upgrade_state.kubelet_version(node=node) == NEW


def test_what_is_written_down_is_read_again() -> None:
    assert upgrade_state.parse_interrupted(text=APPLYING.dumped()) == APPLYING


def test_what_kubeadm_has_not_done_is_named() -> None:
    assert upgrade_state.shortcomings(
        target=NEW, control_plane=True, found=found(OLD, NEW, **{"kube-scheduler": OLD})
    ) == ["kubeadm's configuration of the cluster is 1.20.2", "kube-scheduler is 1.20.2"]
    assert upgrade_state.shortcomings(target=NEW, control_plane=True, found=found(NEW, NEWER)) == []
    assert upgrade_state.shortcomings(target=NEW, control_plane=False, found=found()) == []
