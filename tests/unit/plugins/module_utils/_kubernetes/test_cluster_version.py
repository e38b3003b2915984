# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which version a node is given outside of an upgrade."""

from __future__ import annotations

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import cluster_version
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.compatibility import parse_version
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.packages import KubePackagesError


@pytest.mark.parametrize(
    ("wish", "version", "target"),
    [("1.20", "1.20.2", "1.20.2"), ("1.20.2", "1.20.2", "1.20.2"), ("1.20", None, "1.20")],
)
def test_a_node_of_a_cluster_stays_as_it_is(wish: str, version: str | None, target: str) -> None:
    installed = {"kubelet": parse_version(version), "kubectl": parse_version(version)} if version else {}
    assert str(cluster_version.of_member(wish=parse_version(wish), installed=installed)) == target


def test_what_is_older_than_the_kubelet_is_renewed() -> None:
    installed = {"kubelet": parse_version("1.20.3"), "kubectl": parse_version("1.20.2")}
    assert str(cluster_version.of_member(wish=parse_version("1.20"), installed=installed)) == "1.20.3"


@pytest.mark.parametrize(
    ("wish", "versions", "told"),
    [
        (
            "1.20.3",
            ("1.20.2", "1.20.2"),
            "kubelet 1.20.2 is installed, and the node is in a running cluster; expected 1.20.3, which is an "
            "upgrade, node by node: run ansible-playbook -i INVENTORY bramble.pi.upgrade -e "
            'kube_packages_version=1.20.3; or set kube_packages_version to "1.20"',
        ),
        ("1.21", ("1.20.2", "1.20.2"), "bramble.pi.upgrade -e kube_packages_version=1.21; or set"),
        (
            "1.20",
            ("1.22.0", "1.22.0"),
            "the cluster runs 1.22.0, and kube_packages_version is 1.20; expected what it runs, as there is "
            "no "
            'downgrade: set kube_packages_version to "1.22"',
        ),
        ("1.22.0", ("1.22.1", "1.22.1"), "the cluster runs 1.22.1, and kube_packages_version is 1.22.0;"),
        (
            "1.20",
            ("1.20.2", "1.21.0"),
            "kubelet 1.20.2, kubectl 1.21.0 are installed, and the node is in a running cluster; expected "
            "one version: an upgrade was interrupted, and goes on with ansible-playbook -i INVENTORY "
            "bramble.pi.upgrade -e kube_packages_version=1.21.0",
        ),
    ],
)
def test_a_node_of_a_cluster_gets_no_other_version(wish: str, versions: tuple[str, str], told: str) -> None:
    installed = dict(zip(("kubelet", "kubectl"), map(parse_version, versions), strict=True))
    with pytest.raises(KubePackagesError) as caught:
        cluster_version.of_member(wish=parse_version(wish), installed=installed)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("wish", "cluster", "target"),
    [
        ("1.22", None, "1.22"),
        ("1.22", "1.22.0", "1.22.0"),
        ("1.22.0", "1.22.1", "1.22.0"),
        ("1.22.1", "1.22.1", "1.22.1"),
    ],
)
def test_a_node_that_joins_is_at_most_as_new_as_the_cluster(
    wish: str, cluster: str | None, target: str
) -> None:
    running = parse_version(cluster) if cluster else None
    assert str(cluster_version.of_newcomer(wish=parse_version(wish), cluster=running)) == target


@pytest.mark.parametrize(
    ("wish", "cluster", "told"),
    [
        (
            "1.20",
            "1.22.0",
            "the cluster runs 1.22.0, and kube_packages_version is 1.20; expected its minor, as another "
            "kubeadm "
            'does not join it: set kube_packages_version to "1.22"',
        ),
        (
            "1.22.1",
            "1.22.0",
            "expected no newer node: run ansible-playbook -i INVENTORY bramble.pi.upgrade -e "
            'kube_packages_version=1.22.1 before; or set kube_packages_version to "1.22"',
        ),
        ("1.23", "1.22.0", "bramble.pi.upgrade -e kube_packages_version=1.23 before"),
    ],
)
def test_a_node_that_would_not_fit_is_refused(wish: str, cluster: str, told: str) -> None:
    with pytest.raises(KubePackagesError) as caught:
        cluster_version.of_newcomer(wish=parse_version(wish), cluster=parse_version(cluster))
    assert told in str(caught.value)
