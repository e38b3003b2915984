# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images have one name each, and what nodes lack is told; molecule/image_cache asks real ones."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._containers import images as containers_images
from hypothesis import given
from hypothesis import strategies as st


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
    assert containers_images.normalize(reference) == spelled_out
    assert containers_images.normalize(spelled_out) == spelled_out


@pytest.mark.parametrize("reference", ["", "Hello World", "busybox@sha256:00", "a:b:c", "busybox:", "/x"])
def test_refuses_what_is_no_reference(reference: str) -> None:
    with pytest.raises(
        containers_images.ContainerImagesError, match="is not valid; expected a name with a tag"
    ):
        containers_images.normalize(reference)


def test_names_the_variable_to_correct() -> None:
    with pytest.raises(containers_images.ContainerImagesError, match="Set it in image_cache_images"):
        containers_images.normalize("Hello World", variable="image_cache_images")


@pytest.mark.parametrize(
    ("dpkg", "name", "platform"),
    [("arm64", "arm64", "linux/arm64"), ("amd64", "amd64", "linux/amd64"), ("armhf", "arm", "linux/arm/v7")],
)
def test_architectures(dpkg: str, name: str, platform: str) -> None:
    assert containers_images.architecture(dpkg=dpkg) == name
    assert containers_images.platform(name) == platform


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
