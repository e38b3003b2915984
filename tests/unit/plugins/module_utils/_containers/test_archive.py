# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Docker's and containerd's names of one image are the same image."""

from __future__ import annotations

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._containers import archive as containers_archive


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
    assert containers_archive.normalize(reference) == spelled_out
    assert containers_archive.normalize(spelled_out) == spelled_out


@pytest.mark.parametrize("reference", ["", "Hello World", "busybox@sha256:00", "a:b:c", "busybox:", "/x"])
def test_refuses_what_is_no_reference(reference: str) -> None:
    with pytest.raises(
        containers_archive.ImageArchiveError, match="is not understood: it has to be a name with a tag"
    ):
        containers_archive.normalize(reference)


def test_names_the_variable_to_correct() -> None:
    with pytest.raises(containers_archive.ImageArchiveError, match="Set it in image_cache_images"):
        containers_archive.normalize("Hello World", variable="image_cache_images")


@pytest.mark.parametrize(
    ("ids", "missing"),
    [
        ({}, ["k8s.gcr.io/pause:3.2"]),
        ({"busybox": "sha256:1"}, ["k8s.gcr.io/pause:3.2"]),
        ({"busybox": "sha256:2"}, ["busybox", "k8s.gcr.io/pause:3.2"]),
    ],
)
def test_names_missing_images(ids: dict[str, str], missing: list[str]) -> None:
    archive = containers_archive.Archive("x.tar", ["busybox", "k8s.gcr.io/pause:3.2"], None, ids)
    present = {"docker.io/library/busybox:latest": "sha256:1"}
    assert containers_archive.missing_images(archive=archive, present=present) == missing
