# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of an upgrade, and what there are none for."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.compatibility import (
    Version,
    parse_version,
)
from ansible_collections.bramble.pi.plugins.module_utils._upgrade import plan
from hypothesis import given
from hypothesis import strategies as st

PACKAGES = ("kubelet", "kubeadm", "kubectl")


def node(name: str, version: str = "1.20.2", **programs: str) -> plan.Node:
    """One whose name begins with c is a control plane; ``static`` is the version of its static pods."""
    control_plane = name.startswith("c")
    static = programs.pop("static", version)
    versions = {**dict.fromkeys(PACKAGES, version), **programs}
    if control_plane:
        versions = {**dict.fromkeys(plan.STATIC, static), **versions}
    parsed = {key.replace("_", "-"): parse_version(text) for key, text in versions.items()}
    return plan.Node(name, control_plane, parsed)


def offer(*versions: str, **rest: Any) -> plan.Offer:
    found: dict[tuple[int, int], list[Version]] = {}
    for version in map(parse_version, versions):
        found.setdefault(version.short, []).append(version)
    return plan.Offer(found, **rest)


OFFERED = offer("1.20.2", "1.20.3", "1.21.0", "1.21.4", "1.22.0", "1.22.1")


@pytest.mark.parametrize(
    ("nodes", "configured", "target", "versions"),
    [
        pytest.param([node("c1"), node("w1")], "1.20.2", "1.22", ["1.21.4", "1.22.1"], id="minors"),
        pytest.param([node("c1"), node("w1")], "1.20.2", "1.22.0", ["1.21.4", "1.22.0"], id="exact"),
        pytest.param([node("c1"), node("w1")], "1.20.2", "1.20", ["1.20.3"], id="newest-patch"),
        pytest.param([node("c1"), node("w1")], "1.20.2", "1.20.2", [], id="nothing"),
        pytest.param([node("c1", "1.22.1")], "1.22.1", "1.22", [], id="nothing-newer"),
        pytest.param(
            [node("c1", "1.20.2", static="1.21.0", kubeadm="1.21.0"), node("c2"), node("w1")],
            "1.21.0",
            "1.22.0",
            ["1.21.0", "1.22.0"],
            id="killed-after-the-first-control-plane",
        ),
        pytest.param(
            [node("c1", "1.21.0"), node("c2", "1.21.0"), node("w1")],
            "1.21.0",
            "1.22.0",
            ["1.21.0", "1.22.0"],
            id="killed-before-the-workers",
        ),
        pytest.param(
            [node("c1", "1.21.0"), node("w1", "1.21.0", kubectl="1.20.2")],
            "1.21.0",
            "1.22.0",
            ["1.21.0", "1.22.0"],
            id="killed-between-packages",
        ),
        pytest.param(
            [node("c1", "1.20.2", kubeadm="1.21.0"), node("w1")],
            "1.20.2",
            "1.21",
            ["1.21.4"],
            id="the-last-step-has-the-newest-patch-though-begun",
        ),
        pytest.param([node("c1", "1.20.3")], "1.20.2", "1.20.3", ["1.20.3"], id="killed-before-the-upload"),
        pytest.param(
            [node("c1", "1.21.0"), node("w1", "1.21.4")], "1.21.0", "1.22.1", ["1.22.1"], id="patches-differ"
        ),
        pytest.param(
            [node("c1", "1.22.0"), node("w1", "1.20.2")], "1.22.0", "1.22.0", ["1.22.0"], id="worker-leaps"
        ),
    ],
)
def test_makes_a_plan(nodes: list[plan.Node], configured: str, target: str, versions: list[str]) -> None:
    made = plan.make(
        nodes=nodes, configured=parse_version(configured), target=parse_version(target), offer=OFFERED
    )
    assert (made.versions, made.problems) == (versions, [])


def test_a_step_names_who_has_yet_to_come_to_it() -> None:
    nodes = [node("c1", "1.21.0"), node("w1", "1.21.0", kubelet="1.20.2")]
    made = plan.make(
        nodes=nodes, configured=parse_version("1.21.0"), target=parse_version("1.22.0"), offer=OFFERED
    )
    assert made.steps == [
        plan.Step(Version(1, 21, 0), (plan.Move("w1", False, Version(1, 20, 2)),)),
        plan.Step(
            Version(1, 22, 0),
            (plan.Move("c1", True, Version(1, 21, 0)), plan.Move("w1", False, Version(1, 21, 0))),
        ),
    ]


@pytest.mark.parametrize(
    ("nodes", "target", "offered", "told"),
    [
        pytest.param(
            [node("c1", "1.22.1"), node("w1", "1.22.0")],
            "1.21",
            OFFERED,
            "kube-apiserver of c1 is 1.22.1; expected 1.21 or older, as that is asked for: there is no "
            "downgrade; docs/recovery.md has how to go back to a backup of the older version: set "
            'kube_packages_version to "1.22.1"',
            id="downgrade",
        ),
        pytest.param(
            [node("c1", "1.22.1")], "1.22.0", OFFERED, "expected 1.22.0 or older", id="downgrade-of-a-patch"
        ),
        pytest.param(
            [node("c1"), node("w1", kubelet="1.23.4")],
            "1.22",
            OFFERED,
            "kubelet of w1 is 1.23.4; expected 1.22 or older",
            id="newer-kubelet",
        ),
        pytest.param(
            [node("c1", "1.22.0"), node("c2", "1.20.2")],
            "1.22",
            OFFERED,
            "the API server of c2 is 1.20.2, and that of c1 1.22.0; expected at most 1 minor between them",
            id="gap-between-control-planes",
        ),
        pytest.param(
            [node("c1")],
            "1.22",
            offer("1.20.2", "1.22.0"),
            "kube_packages_repository does not have Kubernetes 1.21, but has of 1.21: none; expected every "
            "minor up to 1.22",
            id="gap-in-the-repository",
        ),
        pytest.param(
            [node("c1")],
            "1.21.9",
            OFFERED,
            "does not have Kubernetes 1.21.9, but has of 1.21: 1.21.4, 1.21.0; expected",
            id="unknown-patch",
        ),
        pytest.param(
            [node("c1")],
            "1.22",
            offer("1.21.0", unread={(1, 22): "https://pkgs.example: no route to host"}),
            "the packages of Kubernetes 1.22 cannot be read: https://pkgs.example: no route to host",
            id="unread",
        ),
        pytest.param(
            [node("c1", "1.21.3"), node("w1")],
            "1.21",
            offer("1.21.0"),
            "does not have Kubernetes 1.21.3, but has of 1.21: 1.21.0",
            id="what-others-run-is-not-there-any-more",
        ),
        pytest.param([node("c1")], "2.0", OFFERED, "expected one of 2.x", id="major"),
    ],
)
def test_refuses(nodes: list[plan.Node], target: str, offered: plan.Offer, told: str) -> None:
    made = plan.make(
        nodes=nodes,
        configured=nodes[0].programs["kube-apiserver"],
        target=parse_version(target),
        offer=offered,
    )
    assert made.steps == []
    (problem,) = made.problems
    assert told in problem


PATCHES = st.lists(st.integers(0, 12), min_size=1, max_size=4, unique=True)


@st.composite
def killed(draw: st.DrawFn) -> tuple[list[plan.Node], Version, list[Version], plan.Offer, Version]:
    """Draw a cluster, its offer, and the cluster that a run which was killed somewhere leaves."""
    first, last = sorted((draw(st.integers(20, 30)), draw(st.integers(20, 30))))
    versions = [f"1.{minor}.{patch}" for minor in range(first, last + 1) for patch in draw(PATCHES)]
    offered = offer(*versions)
    begin = draw(st.sampled_from(list(offered.versions[1, first])))
    exact = draw(st.booleans())
    target = draw(st.sampled_from(list(offered.versions[1, last]))) if exact else Version(1, last)
    nodes = [node(name, str(begin)) for name in ("c1", "c2", "w1", "w2")]
    made = plan.make(nodes=nodes, configured=begin, target=target, offer=offered)
    return nodes, begin, [step.version for step in made.steps], offered, target


@given(killed(), st.data())
def test_goes_on_wherever_it_was_killed(
    cluster: tuple[list[plan.Node], Version, list[Version], plan.Offer, Version], data: st.DataObject
) -> None:
    nodes, configured, versions, offered, target = cluster
    minors = [configured.minor, *(version.minor for version in versions)]
    # None is skipped.
    assert all(after - before in (0, 1) for before, after in zip(minors, minors[1:], strict=False))
    assert versions == sorted(set(versions))
    if not versions:
        return
    assert versions[-1].short == target.short
    at = data.draw(st.integers(0, len(versions) - 1))
    before = {name: versions[at - 1] if at else version for name, version in nodes[0].programs.items()}
    # One after the other: some nodes have the step behind them, one is in the middle of it.
    done = data.draw(st.integers(0, len(nodes) - 1))
    changed = data.draw(st.sets(st.sampled_from(sorted(nodes[done].programs))))
    now = []
    for place, each in enumerate(nodes):
        here = set(each.programs) if place < done else changed if place == done else set()
        programs = {name: versions[at] if name in here else before[name] for name in each.programs}
        now.append(each._replace(programs=programs))
    reached = versions[at] if done else before["kubelet"]
    again = plan.make(nodes=now, configured=reached, target=target, offer=offered)
    assert again.problems == []
    ended = all(version == versions[at] for each in now for version in each.programs.values())
    assert [step.version for step in again.steps] == versions[at + ended :]


@given(killed())
def test_a_finished_one_has_nothing_left(
    cluster: tuple[list[plan.Node], Version, list[Version], plan.Offer, Version],
) -> None:
    nodes, _configured, versions, offered, target = cluster
    if versions:
        done = [each._replace(programs=dict.fromkeys(each.programs, versions[-1])) for each in nodes]
        again = plan.make(nodes=done, configured=versions[-1], target=target, offer=offered)
        assert again == plan.Plan([], [])


@pytest.mark.parametrize("program", ["kubectl", "kubeadm"])
def test_a_package_that_is_ahead_of_a_step_is_told_before(program: str) -> None:
    """kube_packages would refuse it in the middle, with the node drained."""
    old, new = Version(1, 20, 2), Version(1, 22, 0)
    programs = {**dict.fromkeys(("kubelet", "kubeadm", "kubectl"), old), program: new}
    server = {**dict.fromkeys(plan.STATIC, old), **dict.fromkeys(("kubelet", "kubeadm", "kubectl"), old)}
    nodes = [plan.Node("pi-1", True, server), plan.Node("pi-2", False, programs)]
    offer = plan.Offer({(1, 21): [Version(1, 21, 0)], (1, 22): [new]})
    made = plan.make(nodes=nodes, configured=old, target=Version(1, 22), offer=offer)
    (told,) = made.problems
    assert told.startswith(f"the package {program} of pi-2 is 1.22.0, and the cluster goes by 1.21.0 first")
    # That of the next step is what a run that was killed may leave.
    one = plan.Offer({(1, 21): [Version(1, 21, 0)]})
    programs[program] = Version(1, 21, 0)
    made = plan.make(nodes=nodes, configured=old, target=Version(1, 21), offer=one)
    assert (made.versions, made.problems) == (["1.21.0"], [])
