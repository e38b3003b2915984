# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which images a node says that it needs and has; molecule/image_cache asks real nodes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._containers.images import ContainerImagesError
from ansible_collections.bramble.pi.plugins.module_utils._containers.runtime import RUNTIMES
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.images import NeededImages, kubeadm_images

KUBEADM = """\
k8s.gcr.io/kube-apiserver:v1.20.2
k8s.gcr.io/kube-controller-manager:v1.20.2
k8s.gcr.io/kube-scheduler:v1.20.2
k8s.gcr.io/kube-proxy:v1.20.2
k8s.gcr.io/pause:3.2
k8s.gcr.io/etcd:3.4.13-0
10.0.0.1:5000/k8s/coredns/coredns:1.7.0
"""


def test_a_worker_runs_no_control_plane() -> None:
    assert len(kubeadm_images(text=KUBEADM, control_plane=True)) == 7
    assert kubeadm_images(text=KUBEADM, control_plane=False) == [
        "k8s.gcr.io/kube-proxy:v1.20.2",
        "k8s.gcr.io/pause:3.2",
        "10.0.0.1:5000/k8s/coredns/coredns:1.7.0",
    ]


class Node:
    """A node with a kubeadm and a docker, which has one image."""

    def __init__(self, *programs: str) -> None:
        self.programs = programs
        self.configuration: dict[str, Any] = {}

    def has(self, program: str) -> bool:
        return program in self.programs

    def run(self, command: list[str], **_options: Any) -> tuple[int, str, str]:
        if command[0] == "dpkg":
            return 0, "arm64\n", ""
        if command[:3] == ["kubeadm", "config", "print"]:
            return 0, "apiVersion: kubeadm.k8s.io/v1beta2\nkind: InitConfiguration\n", ""
        if command[:2] == ["kubeadm", "version"]:
            return 0, json.dumps({"clientVersion": {"gitVersion": "v1.20.2"}}), ""
        if command[:3] == ["kubeadm", "config", "images"]:
            with open(command[-1], encoding="utf-8") as file:
                self.configuration["text"] = file.read()
            return 0, KUBEADM, ""
        if command[:3] == ["docker", "image", "ls"]:
            return 0, "sha256:1\n", ""
        assert command[:3] == ["docker", "image", "inspect"]
        entry = {"Id": "sha256:1", "RepoTags": ["k8s.gcr.io/pause:3.2"], "Architecture": "arm64"}
        return 0, json.dumps([entry]), ""


def needed(node: Node, *, check_mode: bool = False) -> NeededImages:
    return NeededImages(runtime=RUNTIMES["dockershim"], run=node.run, has=node.has, check_mode=check_mode)


def find(images: NeededImages) -> list[dict[str, str | None]]:
    return images.find(
        images_by_variable={"image_cache_images": ["busybox", "k8s.gcr.io/kube-proxy:v1.20.2"]},
        kubernetes=True,
        control_plane=False,
        cluster_configuration={},
    )


def test_what_a_worker_needs_and_has() -> None:
    node = Node("docker", "kubeadm")
    images = needed(node)
    found = find(images)
    assert [(image["name"], image["id"]) for image in found] == [
        ("docker.io/library/busybox:latest", None),
        ("k8s.gcr.io/kube-proxy:v1.20.2", None),
        ("k8s.gcr.io/pause:3.2", "sha256:1"),
        ("10.0.0.1:5000/k8s/coredns/coredns:1.7.0", None),
    ]
    # What the user named is corrected where he named it, also if kubeadm names it too.
    assert [image["variable"] for image in found][:2] == ["image_cache_images"] * 2
    assert str(found[2]["variable"]).startswith("kube_packages_version, or imageRepository")
    assert "/var/run/dockershim.sock" in node.configuration["text"]
    assert (images.architecture, images.unknown) == ("arm64", [])


def test_another_version_is_what_kubeadm_is_asked_for() -> None:
    node = Node("docker", "kubeadm")
    needed(node).find(
        images_by_variable={},
        kubernetes=True,
        control_plane=False,
        cluster_configuration={},
        kubernetes_version="1.21.0",
    )
    assert '"kubernetesVersion": "v1.21.0"' in node.configuration["text"]


def test_what_is_not_installed_yet_is_unknown_in_check_mode() -> None:
    images = needed(Node(), check_mode=True)
    assert [image["id"] for image in find(images)] == [None, None]
    assert images.unknown == [
        "docker is not installed yet; whether its images are there is not known",
        "kubeadm is not installed yet; its images are not known",
    ]
    with pytest.raises(ContainerImagesError, match="docker is not installed on this node: run the playbook"):
        find(needed(Node()))
