# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a node stops an upgrade: flags of its kubelet; and remedies that leave the only control plane."""

from __future__ import annotations

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.compatibility import (
    Version,
    parse_version,
)
from ansible_collections.bramble.pi.plugins.module_utils._upgrade.plan import Node
from ansible_collections.bramble.pi.plugins.plugin_utils._upgrade import nodes

OWN, USERS = "/var/lib/kubelet/kubeadm-flags.env", "/etc/default/kubelet"


@pytest.mark.parametrize(
    ("minor", "last", "path", "flag", "told"),
    [
        (
            23,
            24,
            OWN,
            "network-plugin",
            f"ends with 'unknown flag' in 1.24.0: remove it from {OWN} on it, and",
        ),
        (23, 24, USERS, "cni-bin-dir", f"remove it from {USERS} on it, and sudo systemctl restart kubelet"),
        (22, 23, USERS, "cni-bin-dir", None),
        # kubeadm takes these out itself, of its own file, in one minor.
        (25, 27, OWN, "container-runtime", None),
        (26, 27, OWN, "container-runtime", "has no flag container-runtime since 1.27"),
        (25, 27, USERS, "container-runtime", f"remove it from {USERS} on it, and"),
        (23, 27, USERS, "container-runtime", f"from {USERS} once the kubelet is newer than 1.23: upgrade to"),
        (34, 35, OWN, "pod-infra-container-image", None),
        (34, 35, USERS, "pod-infra-container-image", "since 1.35"),
    ],
)
def test_flags_that_a_kubelet_on_the_way_does_not_know(
    minor: int, last: int, path: str, flag: str, told: str | None
) -> None:
    found = [
        problem.text
        for problem in nodes.kubelet_flags(
            "pi-2",
            {"runtime": {"name": "containerd"}, "kubelet_flags": [{"path": path, "flag": flag}]},
            kubelet=Version(1, minor, 5),
            versions=[Version(1, number, 0) for number in range(minor + 1, last + 1)],
        )
    ]
    assert len(found) == (told is not None)
    for text in found:
        assert text.startswith(f"pi-2: kubelet has no flag {flag} ")
        assert str(told) in text


@pytest.mark.parametrize(("path", "problems"), [(OWN, 0), (USERS, 1)])
def test_flags_that_kubeadm_wrote_for_dockershim_go_with_it(path: str, problems: int) -> None:
    node = {"runtime": {"name": "dockershim"}, "kubelet_flags": [{"path": path, "flag": "network-plugin"}]}
    versions = [Version(1, 24, 0)]
    found = nodes.kubelet_flags("pi-2", node, kubelet=Version(1, 23, 5), versions=versions)
    assert len(list(found)) == problems


@pytest.mark.parametrize(
    ("runtime", "crictl", "minors", "told"),
    [
        (
            "containerd",
            False,
            range(21, 23),
            "without which kubeadm 1.21.0 does not upgrade a control plane on",
        ),
        (
            "cri_dockerd",
            False,
            range(30, 32),
            "kubeadm 1.30.0 does not upgrade a control plane on cri_dockerd",
        ),
        ("containerd", True, range(21, 23), None),
        ("containerd", False, range(31, 33), None),
        ("dockershim", False, range(21, 23), None),
    ],
)
def test_what_kubeadm_asks_a_runtime_by(runtime: str, crictl: bool, minors: range, told: str | None) -> None:
    node = {"runtime": {"name": runtime}, "crictl": crictl}
    versions = [Version(1, minor, 0) for minor in minors]
    found = [problem.text for problem in nodes.crictl("pi-1", node, versions=versions)]
    assert len(found) == (told is not None)
    assert all(str(told) in text and "cri-tools" in text for text in found)


@pytest.mark.parametrize("only", [True, False])
def test_dockershim_of_the_only_control_plane_does_not_go_by_a_reset(only: bool) -> None:
    node = {"runtime": {"name": "dockershim"}}
    (problem,) = nodes.runtime("pi-1", node, versions=[Version(1, 24, 0)], only_control_plane=only)
    assert ("reset --limit pi-1" in problem.text) is not only
    assert ("change it where it is, as https://kubernetes.io/docs/" in problem.text) is only


@pytest.mark.parametrize("kubelet", ["1.21.0", "1.17.0"])
def test_a_kubelet_of_the_only_control_plane_does_not_go_by_a_reset(kubelet: str) -> None:
    server = parse_version("1.20.2")
    programs = {"kubelet": parse_version(kubelet), "kube-apiserver": server}
    one, two = (Node(name, True, programs) for name in ("pi-1", "pi-2"))
    (problem,) = nodes.skew([one], versions=[], moved=["pi-1"])
    assert problem.text.endswith(
        ": run on it sudo apt-get install --allow-downgrades --allow-change-held-packages 'kubelet=1.20.2*'"
    )
    several = [each.text for each in nodes.skew([one, two], versions=[], moved=["pi-1", "pi-2"])]
    assert [f"reset --limit pi-{number}" in text for number, text in enumerate(several, 1)] == [True, True]
