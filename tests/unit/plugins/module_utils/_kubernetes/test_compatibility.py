# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import compatibility
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.compatibility import (
    CompatibilityError,
    Version,
)
from hypothesis import given
from hypothesis import strategies as st

MINORS = [(1, minor) for minor in range(compatibility.OLDEST_MINOR[1], compatibility.NEWEST_MINOR[1] + 1)]


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("1.36", Version(1, 36)),
        ("1.36.1", Version(1, 36, 1)),
        ("1.15.0", Version(1, 15, 0)),
        ("1.30", Version(1, 30)),
        ("2.0", Version(2, 0)),
    ],
)
def test_parse_version(text: str, version: tuple[int, ...]) -> None:
    assert compatibility.parse_version(text) == version
    assert str(version) == text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (1.3, "quotes"),
        (1, "quotes"),
        (None, "quotes"),
        ("", "is not valid"),
        ("1", "is not valid"),
        ("v1.36", "leading v"),
        ("1.36.1-1.1", "is not valid"),
        ("1.36.1.2", "is not valid"),
        ("1.036", "is not valid"),
        ("1.36\n", "is not valid"),
        ("1.\u0663", "is not valid"),
        ("latest", "is not valid"),
        ("1.3", "too old"),
        ("1.14.9", "too old"),
    ],
)
def test_parse_version_refuses(text: str, why: str) -> None:
    with pytest.raises(CompatibilityError, match=why):
        compatibility.parse_version(text)


@given(st.text())
def test_parse_version_reads_only_what_it_writes(text: str) -> None:
    try:
        version = compatibility.parse_version(text)
    except CompatibilityError:
        return
    assert str(version) == text


@pytest.mark.parametrize("minor", MINORS)
def test_every_minor_is_in_the_table(minor: tuple[int, int]) -> None:
    version = Version(*minor)
    assert compatibility.version_warning(version) is None
    assert compatibility.kubernetes_runtime(version=version) in compatibility.RUNTIMES
    assert compatibility.kubeadm_api_version(version) in compatibility.KUBEADM_API_VERSIONS


def test_newer_than_known_is_a_warning() -> None:
    newer = Version(1, compatibility.NEWEST_MINOR[1] + 1)
    assert "newer" in (compatibility.version_warning(newer) or "")
    assert compatibility.kubernetes_runtime(version=newer) == "containerd"
    assert compatibility.kubeadm_api_version(newer) == "v1beta4"


@pytest.mark.parametrize(
    ("minor", "version"),
    [
        (15, "v1beta2"),
        (21, "v1beta2"),
        (22, "v1beta3"),
        (30, "v1beta3"),
        (31, "v1beta4"),
        (37, "v1beta4"),
    ],
)
def test_kubeadm_api_version(minor: int, version: str) -> None:
    assert compatibility.kubeadm_api_version(Version(1, minor)) == version


@pytest.mark.parametrize(
    ("asked", "written", "repeats"),
    [
        ("v1alpha3", None, False),
        ("v1beta1", None, False),
        ("v1beta2", "v1beta2", False),
        ("v1beta3", "v1beta3", False),
        ("v1beta4", "v1beta4", True),
        # Newer than known.
        ("v1beta5", "v1beta4", True),
        ("v1beta10", "v1beta4", True),
        ("v1", "v1beta4", True),
        ("v2alpha1", "v1beta4", True),
        ("tomorrow", "v1beta4", True),
    ],
)
def test_an_api_newer_than_known_is_written_as_the_newest(
    asked: str, written: str | None, repeats: bool
) -> None:
    assert compatibility.repeats_flags(asked) is repeats
    if written is None:
        with pytest.raises(CompatibilityError, match="expected v1beta2 or newer"):
            compatibility.known_api_version(asked)
    else:
        assert compatibility.known_api_version(asked) == written


@pytest.mark.parametrize(
    ("minor", "wish", "runtime"),
    [
        (20, "auto", "dockershim"),
        (23, "auto", "dockershim"),
        (24, "auto", "containerd"),
        (36, "auto", "containerd"),
        (20, "containerd", "containerd"),
        (23, "dockershim", "dockershim"),
        (24, "cri_dockerd", "cri_dockerd"),
    ],
)
def test_kubernetes_runtime(minor: int, wish: str, runtime: str) -> None:
    assert compatibility.kubernetes_runtime(version=Version(1, minor), runtime=wish) == runtime


@pytest.mark.parametrize(
    ("minor", "wish", "use"),
    [
        (24, "dockershim", "use one of auto, containerd, cri_dockerd"),
        (23, "cri_dockerd", "use one of auto, containerd, dockershim"),
        (36, "docker", "is not known: use one of auto, containerd, cri_dockerd, dockershim"),
    ],
)
def test_kubernetes_runtime_refuses(minor: int, wish: str, use: str | None) -> None:
    with pytest.raises(CompatibilityError, match=use):
        compatibility.kubernetes_runtime(version=Version(1, minor), runtime=wish)


@pytest.mark.parametrize(("minor", "refused"), [(34, False), (35, True), (37, True)])
def test_cgroup_v1_refused(minor: int, refused: bool) -> None:
    assert compatibility.cgroup_v1_refused(Version(1, minor)) is refused


@pytest.mark.parametrize(
    ("minor", "after"), [(20, False), (28, False), (29, True), (32, True), (33, False), (37, False)]
)
def test_when_etcd_s_new_member_gets_its_vote(minor: int, after: bool) -> None:
    assert compatibility.promotes_etcd_after_kubelet(Version(1, minor)) is after


@pytest.mark.parametrize(
    ("minor", "containerd", "problem"),
    [
        (20, (1, 6), None),
        (25, (1, 4), None),
        (26, (1, 5), "needs containerd 1.6 or newer, and this is 1.5"),
        (26, (1, 6), None),
        (36, (1, 7), None),
        (38, (1, 7), "needs containerd 2.0 or newer"),
        (36, (2, 2), None),
        (22, (2, 0), "needs Kubernetes 1.23 or newer, and this is 1.22"),
        (23, (2, 0), None),
    ],
)
def test_containerd_problem(minor: int, containerd: tuple[int, int], problem: str | None) -> None:
    found = compatibility.containerd_problem(version=Version(1, minor), containerd=containerd)
    assert (found is None) == (problem is None)
    assert problem is None or problem in str(found)


@pytest.mark.parametrize("releases", compatibility.OS_RELEASES.values())
def test_every_os_release_has_a_containerd_for_some_known_version(releases: dict[str, Any]) -> None:
    for release in releases.values():
        assert any(
            compatibility.containerd_problem(version=Version(*minor), containerd=release.containerd) is None
            for minor in MINORS
        )
