# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runtimes and archives say of images; molecule/image_cache asks real ones."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._containers import images as containers_images
from hypothesis import given
from hypothesis import strategies as st

INDEX = "application/vnd.oci.image.index.v1+json"
# containerd 1.7.24, of which the second line is an image whose layers were thrown away after unpacking.
CHECKED = """\
REF                        TYPE                                    DIGEST                                                                  STATUS            SIZE            UNPACKED 
10.0.0.1:5000/hello:1      application/vnd.oci.image.index.v1+json sha256:09d56599b3f582974208dddd5498d5238d1fe25de0c31223e12ccb3f4022c743 complete (2/2)    308.0 B/308.0 B true
registry.k8s.io/pause:3.6  application/vnd.oci.image.index.v1+json sha256:3f1d0963486ca29cb1ad9a6282c7b18e0edfc82dd8d0328ca603892d46b670ab incomplete (1/2)  10.0 B/690.4 KiB true
10.0.0.1:5000/spoilt:1     application/vnd.oci.image.index.v1+json sha256:896c1056aa99fc2a346d13c033fa8cd4e9b3c233a79ee81a16137c5d5cb292a5 complete (2/2)    46.3 MiB/46.3 MiB false
10.0.0.1:5000/only-arm:1   application/vnd.oci.image.index.v1+json sha256:be2580bf998bf6970b8fd967663a115488f67af5bdc6800928307ac510163671 unavailable (0/?) 0.0 B/?         false
"""  # noqa: E501, W291
KUBEADM = """\
k8s.gcr.io/kube-apiserver:v1.20.2
k8s.gcr.io/kube-controller-manager:v1.20.2
k8s.gcr.io/kube-scheduler:v1.20.2
k8s.gcr.io/kube-proxy:v1.20.2
k8s.gcr.io/pause:3.2
k8s.gcr.io/etcd:3.4.13-0
10.0.0.1:5000/k8s/coredns/coredns:1.7.0
"""


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
        return containers_images.archive_images(members=self.files, read=self.files.__getitem__)


@pytest.mark.parametrize(
    ("dpkg", "name", "platform"),
    [("arm64", "arm64", "linux/arm64"), ("amd64", "amd64", "linux/amd64"), ("armhf", "arm", "linux/arm/v7")],
)
def test_architectures(dpkg: str, name: str, platform: str) -> None:
    assert containers_images.architecture(dpkg=dpkg) == name
    assert containers_images.platform(name) == platform


def test_what_can_be_used_in_containerd() -> None:
    assert list(containers_images.usable(text=CHECKED)) == [
        "10.0.0.1:5000/hello:1",
        "registry.k8s.io/pause:3.6",
    ]
    assert containers_images.usable(text=CHECKED)["10.0.0.1:5000/hello:1"].startswith("sha256:09d56599")
    assert containers_images.usable(text="") == {}


def test_a_worker_has_no_need_of_a_control_plane() -> None:
    assert len(containers_images.kubeadm_images(text=KUBEADM, control_plane=True)) == 7
    assert containers_images.kubeadm_images(text=KUBEADM, control_plane=False) == [
        "k8s.gcr.io/kube-proxy:v1.20.2",
        "k8s.gcr.io/pause:3.2",
        "10.0.0.1:5000/k8s/coredns/coredns:1.7.0",
    ]


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
    assert containers_images.archive_images(members=files, read=files.__getitem__) == [
        containers_images.Image("docker.io/library/busybox:latest", "arm64", digest),
        containers_images.Image("10.0.0.1:5000/hello:1", "arm64", digest),
    ]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "neither manifest.json nor index.json is in it; wanted is what docker image save"),
        ({"manifest.json": b"{"}, "manifest.json is not JSON"),
        ({"index.json": b"{"}, "index.json is not JSON"),
    ],
)
def test_refuses_what_is_no_archive(files: dict[str, bytes], message: str) -> None:
    with pytest.raises(containers_images.ContainerImagesError, match=message):
        containers_images.archive_images(members=files, read=files.__getitem__)


def state(architecture: str = "arm64", **ids: str | None) -> dict[str, Any]:
    """Return what a node says: names with their ids."""
    images = [{"name": name, "variable": f"of_{name}", "id": found} for name, found in ids.items()]
    return {"architecture": architecture, "images": images}


NEEDS: list[tuple[dict[str, dict[str, Any]], list[tuple[str, ...]]]] = [
    ({}, []),
    ({"a": state(x="1"), "b": state(x="1")}, []),
    ({"a": state(x="1"), "b": state("amd64", x="2")}, []),
    ({"a": state(x="1"), "b": state(x=None)}, [("x", "arm64", "a", "b")]),
    ({"a": state(x="1"), "b": state(x="2")}, [("x", "arm64", "a", "b")]),
    ({"a": state(x=None), "b": state(y="1")}, [("x", "arm64", "a")]),
    (
        {"a": state(x="1", y=None), "b": state("amd64", y=None, x=None)},
        [("x", "amd64", "b"), ("y", "amd64", "b"), ("y", "arm64", "a")],
    ),
]


@pytest.mark.parametrize(("nodes", "needs"), NEEDS)
def test_needs(nodes: dict[str, dict[str, Any]], needs: list[tuple[str, ...]]) -> None:
    found = containers_images.needs(nodes=nodes)
    assert [(need.name, need.architecture, *need.nodes) for need in found] == needs
    assert all(need.variable == f"of_{need.name}" for need in found)


IDS = st.dictionaries(st.sampled_from("xyz"), st.sampled_from([None, "1", "2"]))


@given(st.dictionaries(st.sampled_from("abc"), st.tuples(st.sampled_from(["arm64", "amd64"]), IDS)))
def test_nobody_is_in_need_where_all_have_the_same(nodes: dict[str, Any]) -> None:
    states = {node: state(architecture, **ids) for node, (architecture, ids) in nodes.items()}
    needs = containers_images.needs(nodes=states)
    for need in needs:
        for node in need.nodes:
            for image in states[node]["images"]:
                if image["name"] == need.name:
                    image["id"] = "of the source"
    assert containers_images.needs(nodes=states) == []
    assert len({(need.name, need.architecture) for need in needs}) == len(needs)


@given(st.text(), st.text())
def test_two_images_have_two_archives(one: str, other: str) -> None:
    names = [containers_images.archive_name(name=name, architecture="arm64") for name in (one, other)]
    assert (names[0] == names[1]) == (one == other)
    assert all("/" not in name for name in names)
