# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What archives say of their images, whoever wrote them."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._containers import archive as containers_archive
from ansible_collections.bramble.pi.plugins.module_utils._containers import images as containers_images
from hypothesis import given
from hypothesis import strategies as st

INDEX = "application/vnd.oci.image.index.v1+json"


class Blobs:
    """A store of blobs, as in an archive of the OCI layout."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {"oci-layout": b"{}"}

    def add(self, document: Any) -> str:
        content = json.dumps(document).encode()
        digest = hashlib.sha256(content).hexdigest()
        self.files[f"blobs/sha256/{digest}"] = content
        return f"sha256:{digest}"

    def image(self, architecture: str, word: str = "") -> tuple[str, str]:
        """Add an image; return the digests of its manifest and its configuration."""
        configuration = self.add({"architecture": architecture, "word": word})
        return self.add({"config": {"digest": configuration}, "layers": []}), configuration

    def index(self, **manifests: str) -> str:
        entries = [
            {"digest": digest, "platform": {"architecture": architecture}}
            for architecture, digest in manifests.items()
        ]
        return self.add({"mediaType": INDEX, "manifests": entries})

    def read(self, digest: str) -> bytes | None:
        return self.files.get(f"blobs/{digest.replace(':', '/')}")

    def images(self, **index: str) -> list[containers_images.Image]:
        """Read the archive, in whose index are these names; two underscores stand for a colon."""
        entries = [
            {"digest": digest, "annotations": {"io.containerd.image.name": name.replace("__", ":")}}
            for name, digest in index.items()
        ]
        self.files["index.json"] = json.dumps({"manifests": entries}).encode()
        return containers_archive.archive_images(members=self.files, read=self.files.__getitem__)


def test_images_of_an_index() -> None:
    blobs = Blobs()
    arm, arm_id = blobs.image("arm64")
    amd, amd_id = blobs.image("amd64")
    attestation, _id = blobs.image("unknown")
    index = blobs.index(arm64=arm, amd64=amd, unknown=attestation)

    def found(architecture: str | None) -> list[containers_images.Image]:
        return list(
            containers_images.images_below(
                name="x:1", digest=index, read=blobs.read, architecture=architecture
            )
        )

    assert found(None) == [
        containers_images.Image("x:1", "arm64", arm_id),
        containers_images.Image("x:1", "amd64", amd_id),
    ]
    assert found("amd64") == [containers_images.Image("x:1", "amd64", amd_id)]
    assert found("riscv64") == []
    del blobs.files[f"blobs/{arm.replace(':', '/')}"]
    assert found(None) == [containers_images.Image("x:1", "amd64", amd_id)], "what is not there is left out"


def test_images_of_an_oci_archive() -> None:
    blobs = Blobs()
    arm, arm_id = blobs.image("arm64")
    amd, amd_id = blobs.image("amd64")
    assert blobs.images(busybox__1=blobs.index(arm64=arm, amd64=amd), me_app=arm) == [
        containers_images.Image("docker.io/library/busybox:1", "arm64", arm_id),
        containers_images.Image("docker.io/library/busybox:1", "amd64", amd_id),
    ]
    # Without an index, and under a name that is only a tag.
    assert blobs.images(busybox__1=amd) == [
        containers_images.Image("docker.io/library/busybox:1", "amd64", amd_id)
    ]
    assert blobs.images(latest=amd) == []


def test_images_of_a_docker_archive() -> None:
    configuration = json.dumps({"architecture": "arm64"}).encode()
    manifest = [
        {"Config": "x.json", "RepoTags": ["busybox:latest", "10.0.0.1:5000/hello:1"]},
        {"Config": "x.json", "RepoTags": None},
    ]
    files = {"manifest.json": json.dumps(manifest).encode(), "x.json": configuration, "index.json": b"no"}
    digest = f"sha256:{hashlib.sha256(configuration).hexdigest()}"
    assert containers_archive.archive_images(members=files, read=files.__getitem__) == [
        containers_images.Image("docker.io/library/busybox:latest", "arm64", digest),
        containers_images.Image("10.0.0.1:5000/hello:1", "arm64", digest),
    ]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "neither manifest.json nor index.json is in it; expected what docker image save"),
        ({"manifest.json": b"{"}, "manifest.json is not JSON"),
        ({"index.json": b"{"}, "index.json is not JSON"),
    ],
)
def test_refuses_what_is_no_archive(files: dict[str, bytes], message: str) -> None:
    with pytest.raises(containers_images.ContainerImagesError, match=message):
        containers_archive.archive_images(members=files, read=files.__getitem__)


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


@given(st.text(), st.text())
def test_two_images_have_two_archives(one: str, other: str) -> None:
    names = [containers_archive.archive_name(name=name, architecture="arm64") for name in (one, other)]
    assert (names[0] == names[1]) == (one == other)
    assert all("/" not in name for name in names)
