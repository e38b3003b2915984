# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Versions of Kubernetes' packages are chosen, and what would surprise a cluster is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._common.apt import Package
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import packages
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.compatibility import (
    Version,
    parse_version,
)
from hypothesis import given
from hypothesis import strategies as st

MADISON = (Path(__file__).parents[3] / "fixtures" / "kube_packages" / "madison.txt").read_text()
OFFERED = packages.read_madison(text=MADISON)
NAMES = ["kubelet", "kubeadm", "kubectl"]
URL = "https://pkgs.k8s.io/core:/stable:/v1.36/deb/"


def installed(*names: str, version: str = "1.36.1-1.1") -> dict[str, Package]:
    return {name: Package(version, held=True, broken=False) for name in names}


def test_puts_the_minor_into_addresses() -> None:
    template = "https://pkgs.k8s.io/core:/stable:/v{minor}/deb/"
    assert packages.repository_url(template=template, wish=parse_version("1.36.1")) == URL
    assert (
        packages.repository_url(template="http://mirror/k8s/", wish=parse_version("1.36"))
        == "http://mirror/k8s/"
    )


def test_names_sources_that_get_in_the_way() -> None:
    warnings = packages.foreign_sources(
        files={
            "/etc/apt/sources.list": "deb http://debian.example.org/debian bookworm main\n",
            "/a.list": "deb https://apt.kubernetes.io/ kubernetes-xenial main\n",
            "/b.list": "# deb https://apt.kubernetes.io/ kubernetes-xenial main\n",
            "/c.list": "deb http://mirror.example.org/apt kubernetes-xenial main\n",
            "/d.list": "deb http://mirror.example.org/apt cloud-sdk main\n",
            "/e.sources": "Types: deb\nURIs: https://pkgs.k8s.io/core:/stable:/v1.30/deb/\nSuites: /\n",
        }
    )
    assert [warning.partition(" names ")[0] for warning in warnings] == ["/a.list", "/c.list", "/e.sources"]
    assert warnings[0] == (
        "/a.list names apt.kubernetes.io: that repository is gone, and apt-get update fails for it. "
        "Remove /a.list"
    )


def test_reads_madison_newest_first() -> None:
    assert OFFERED["kubelet"] == ["1.36.10-1.1", "1.36.2-2.1", "1.36.2-1.1", "1.36.1-1.1", "1.36.0-1.1"]
    assert OFFERED["cri-tools"] == ["1.36.0-1.1"]
    assert packages.read_madison(text="") == {}


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("1.36.2-2.1", Version(1, 36, 2)),
        ("1.20.2-00", Version(1, 20, 2)),
        ("2:1.36.10-1.1", Version(1, 36, 10)),
        ("1.37.0~rc.1-1.1", None),
        ("1.36", None),
        ("unknown", None),
    ],
)
def test_reads_versions_of_packages(text: str, version: Version | None) -> None:
    assert packages.upstream_version(text) == version


@pytest.mark.parametrize(
    ("wish", "present", "allow_downgrade", "target"),
    [
        pytest.param("1.36", {}, False, "1.36", id="nothing-there"),
        pytest.param("1.36.2", {}, False, "1.36.2", id="exact"),
        pytest.param("1.36", installed(*NAMES), False, "1.36.1", id="stays"),
        pytest.param("1.36.2", installed(*NAMES), False, "1.36.2", id="patch"),
        pytest.param("1.36.0", installed(*NAMES), True, "1.36.0", id="downgrade"),
        pytest.param(
            "1.36",
            {**installed("kubelet"), **installed("kubectl", version="1.36.10-1.1")},
            False,
            "1.36.10",
            id="interrupted",
        ),
    ],
)
def test_decides_for_a_version(
    wish: str, present: dict[str, Package], allow_downgrade: bool, target: str
) -> None:
    decided = packages.target_version(
        wish=parse_version(wish), installed=present, allow_downgrade=allow_downgrade
    )
    assert str(decided) == target


@pytest.mark.parametrize(
    ("wish", "version", "message"),
    [
        (
            "1.37",
            "1.36.1-1.1",
            r"kubelet 1\.36\.1-1\.1 is installed; expected 1\.37: another minor is",
        ),
        ("1.35.9", "1.36.1-1.1", r"kubelet 1\.36\.1-1\.1 is installed; expected 1\.35\.9: another minor"),
        ("1.36", "1.36.0~rc.1-1.1", r"kubelet 1\.36\.0~rc\.1-1\.1 is installed; expected 1\.36"),
        ("1.36.0", "1.36.1-1.1", r'older 1\.36\.0: set kube_packages_version to "1\.36\.1" or "1\.36", or'),
    ],
)
def test_refuses_surprises(wish: str, version: str, message: str) -> None:
    with pytest.raises(packages.KubePackagesError, match=message):
        packages.target_version(
            wish=parse_version(wish), installed=installed("kubelet", version=version), allow_downgrade=False
        )


@pytest.mark.parametrize(
    ("wish", "present"),
    [
        ("1.37.0", installed("kubelet", "kubeadm")),
        # kubeadm comes before the others.
        ("1.37.0", {**installed("kubelet"), **installed("kubeadm", version="1.37.0-1.1")}),
        ("1.36.2", installed("kubelet", version="1.36.1-1.1")),
    ],
)
def test_an_upgrade_takes_a_newer_minor(wish: str, present: dict[str, Package]) -> None:
    decided = packages.target_version(
        wish=parse_version(wish), installed=present, allow_downgrade=False, upgrade=True
    )
    assert str(decided) == wish


@pytest.mark.parametrize("wish", ["1.35.9", "1.36.0"])
def test_an_upgrade_takes_no_older_one(wish: str) -> None:
    with pytest.raises(packages.KubePackagesError, match=r"kubelet 1\.36\.1-1\.1 is installed; expected"):
        packages.target_version(
            wish=parse_version(wish),
            installed=installed("kubelet", version="1.36.1-1.1"),
            allow_downgrade=False,
            upgrade=True,
        )


def test_names_what_has_to_be_installed() -> None:
    present = {
        **installed("kubelet"),
        **installed("kubeadm", version="1.36.2-2.1"),
        "kubectl": Package("1.36.2-1.1", held=False, broken=True),
    }
    target = parse_version("1.36.2")
    assert packages.packages_to_install(names=NAMES, installed=present, target=target) == [
        "kubelet",
        "kubectl",
    ]
    assert packages.packages_to_install(names=NAMES, installed={}, target=target) == NAMES


@pytest.mark.parametrize(
    ("wish", "version"), [("1.36", "1.36.10-1.1"), ("1.36.2", "1.36.2-2.1"), ("1.36.0", "1.36.0-1.1")]
)
def test_chooses_the_newest_that_fits(wish: str, version: str) -> None:
    chosen = packages.choose_versions(names=NAMES, offered=OFFERED, target=parse_version(wish), url=URL)
    assert chosen == dict.fromkeys(NAMES, version)


def test_takes_what_all_packages_have() -> None:
    offered = {**OFFERED, "kubeadm": ["1.37.0-1.1", "1.36.11~rc.0-1.1", "1.36.2-1.1"]}
    chosen = packages.choose_versions(names=NAMES, offered=offered, target=parse_version("1.36"), url=URL)
    assert chosen == {"kubelet": "1.36.2-2.1", "kubeadm": "1.36.2-1.1", "kubectl": "1.36.2-2.1"}


@pytest.mark.parametrize(
    ("wish", "offered", "have"),
    [
        ("1.36.3", OFFERED, r"1\.36\.10, 1\.36\.2, 1\.36\.1, 1\.36\.0"),
        ("1.35", OFFERED, "none"),
        ("1.36", {}, "none"),
    ],
)
def test_says_what_the_repository_has(wish: str, offered: dict[str, list[str]], have: str) -> None:
    with pytest.raises(
        packages.KubePackagesError, match=rf"does not have Kubernetes {wish} .* minor: {have}\. Set"
    ):
        packages.choose_versions(names=NAMES, offered=offered, target=parse_version(wish), url=URL)


patches = st.lists(st.integers(0, 40), min_size=1, max_size=8, unique=True)


@given(patches, patches, patches)
def test_chooses_one_version_for_all(kubelet: list[int], kubeadm: list[int], kubectl: list[int]) -> None:
    offered = {
        name: [f"1.36.{patch}-1.1" for patch in sorted(values, reverse=True)]
        for name, values in zip(NAMES, (kubelet, kubeadm, kubectl), strict=True)
    }
    common = set(kubelet) & set(kubeadm) & set(kubectl)
    target = parse_version("1.36")
    if common:
        chosen = packages.choose_versions(names=NAMES, offered=offered, target=target, url=URL)
        assert set(chosen.values()) == {f"1.36.{max(common)}-1.1"}
    else:
        with pytest.raises(packages.KubePackagesError):
            packages.choose_versions(names=NAMES, offered=offered, target=target, url=URL)
