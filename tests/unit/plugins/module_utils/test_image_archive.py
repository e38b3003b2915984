# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Docker's and containerd's names of one image are the same image."""

from __future__ import annotations

import pytest
from ansible_collections.bramble.pi.plugins.module_utils import _image_archive as core

DOCKER = """\
k8s.gcr.io/kube-proxy:v1.20.2
busybox:latest
me/app:1
localhost/hello:1
192.168.1.2:5000/hello:2
<none>:<none>
"""
CONTAINERD = """\
docker.io/library/busybox:latest
docker.io/me/app:1
k8s.gcr.io/kube-proxy:v1.20.2
k8s.gcr.io/kube-proxy@sha256:6a0b0d3f2f5b5b4e4ed9ec4c2ed7b5f3a2c3d7a2f8f3b1b7d1a6f1c0b9a8d7e6
localhost/hello:1
192.168.1.2:5000/hello:2
sha256:43154ddb57a83de3068fe603e9c7393e7d2b77cb18d9e0daf869f74b1b4079c0
"""


@pytest.mark.parametrize("text", [DOCKER, CONTAINERD], ids=["docker", "containerd"])
def test_reads_images(text: str) -> None:
    assert core.read_images(text=text) == {
        "docker.io/library/busybox:latest",
        "docker.io/me/app:1",
        "k8s.gcr.io/kube-proxy:v1.20.2",
        "localhost/hello:1",
        "192.168.1.2:5000/hello:2",
    }


@pytest.mark.parametrize(
    ("reference", "spelled_out"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("busybox:1.36", "docker.io/library/busybox:1.36"),
        ("docker.io/busybox", "docker.io/library/busybox:latest"),
        ("index.docker.io/library/busybox:1", "docker.io/library/busybox:1"),
        ("me/app", "docker.io/me/app:latest"),
        ("localhost/hello", "localhost/hello:latest"),
        ("localhost:5000/hello", "localhost:5000/hello:latest"),
        ("registry.k8s.io/coredns/coredns:v1.12.1", "registry.k8s.io/coredns/coredns:v1.12.1"),
        ("ghcr.io/flannel-io/flannel:v0.27.0", "ghcr.io/flannel-io/flannel:v0.27.0"),
    ],
)
def test_spells_references_out(reference: str, spelled_out: str) -> None:
    assert core.normalize(reference) == spelled_out
    assert core.normalize(spelled_out) == spelled_out


@pytest.mark.parametrize("reference", ["", "Hello World", "busybox@sha256:00", "a:b:c", "busybox:", "/x"])
def test_refuses_what_is_no_reference(reference: str) -> None:
    with pytest.raises(core.ImageArchiveError, match="is not understood: it has to be a name with a tag"):
        core.normalize(reference)


def test_names_missing_images() -> None:
    archive = core.Archive("x.tar", ["busybox", "k8s.gcr.io/pause:3.2"], None)
    assert core.missing_images(archive=archive, present=core.read_images(text=DOCKER)) == [
        "k8s.gcr.io/pause:3.2"
    ]
