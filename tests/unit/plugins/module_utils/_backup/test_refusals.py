# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._backup import refusals
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.plugins.module_utils._backup.control_plane import ETCD
from tests.unit.plugins.module_utils._backup.test_manifest import MANIFEST

OTHER = "sha256:" + "1" * 64
NODE = refusals.Node("pi-1", ["192.168.1.10", "fd00::1"], "1.36.2", "absent", answers=False)
MEMBER = refusals.Member("pi-1", "https://192.168.1.10:2380")


def refused(node: refusals.Node = NODE, member: refusals.Member | None = MEMBER, **changes: Any) -> list[str]:
    given: dict[str, Any] = {"expected": [], "replace": False, "resumed": False, **changes}
    return list(refusals.refusals(manifest=MANIFEST, member=member, node=node, **given))


@pytest.mark.parametrize(
    ("node", "changes"),
    [
        (NODE, {}),
        (NODE, {"expected": [MANIFEST.ca_cert_hash]}),
        (NODE._replace(state="control_plane", answers=True), {"replace": True}),
        (NODE._replace(state="partial"), {"resumed": True}),
        (NODE._replace(state="control_plane", answers=True), {"resumed": True}),
        (NODE._replace(name="PI-1"), {}),
    ],
)
def test_what_may_be_restored(node: refusals.Node, changes: dict[str, Any]) -> None:
    assert refused(node, **changes) == []


@pytest.mark.parametrize(
    ("node", "changes", "message"),
    [
        (NODE, {"expected": [OTHER]}, f"expected {OTHER}, which the other nodes belong to"),
        # Whatever is told: another cluster's is never meant.
        (NODE, {"expected": [OTHER], "replace": True}, "set backup_restore_file"),
        (NODE, {"expected": [OTHER], "resumed": True}, "set backup_restore_file"),
        (NODE, {"expected": [MANIFEST.ca_cert_hash, OTHER]}, "bramble.pi.reset on them"),
        (NODE, {"member": None}, "no manifest of etcd"),
        (NODE._replace(addresses=["192.168.1.99"]), {}, "this one has 192.168.1.99: give it that address"),
        (NODE._replace(name="raspberrypi"), {}, "set os_prep_hostname to pi-1"),
        (NODE._replace(kubelet=""), {}, "kubelet is not installed"),
        (NODE._replace(kubelet="1.37.0"), {}, 'set kube_packages_version to "1.36"'),
        (NODE._replace(answers=True), {}, "the cluster answers; expected one that is lost"),
        (NODE._replace(state="worker"), {}, "already (worker); expected"),
        (NODE._replace(state="control_plane"), {}, "set backup_restore_replace to true"),
    ],
)
def test_what_is_refused(node: refusals.Node, changes: dict[str, Any], message: str) -> None:
    (problem,) = refused(node, **changes)
    assert message in problem


@given(
    state=st.sampled_from(["absent", "partial", "worker", "control_plane"]),
    answers=st.booleans(),
    replace=st.booleans(),
    resumed=st.booleans(),
)
def test_what_there_is_stays_unless_told(state: str, answers: bool, replace: bool, resumed: bool) -> None:
    node = NODE._replace(state=state, answers=answers)
    lost = answers or state != "absent"
    assert bool(refused(node, replace=replace, resumed=resumed)) == (lost and not (replace or resumed))


def test_the_member_in_the_manifest_of_etcd() -> None:
    member = refusals.member(etcd_manifest=ETCD)
    assert member == MEMBER
    assert member is not None
    assert member.address == "192.168.1.10"
    assert refusals.Member("a", "https://[fd00::1]:2380").address == "fd00::1"
    assert refusals.member(etcd_manifest="spec: {}") is None


@pytest.mark.parametrize(
    ("text", "begun"),
    [
        (None, None),
        ("", None),
        ('{"sha256": "a', None),
        (refusals.Begun("ab", placed=True).dumped(), refusals.Begun("ab", placed=True)),
    ],
)
def test_a_restore_that_was_begun(text: str | None, begun: refusals.Begun | None) -> None:
    assert refusals.parse_begun(text) == begun


@pytest.mark.parametrize(
    ("begun", "ca_cert_hash", "control_plane", "resumed"),
    [
        (None, None, False, False),
        (refusals.Begun("ab"), None, False, True),
        (refusals.Begun("ab"), "sha256:1", False, True),
        (refusals.Begun("ab", placed=True), "sha256:1", True, True),
        # Another backup, another cluster, and a control plane that somebody else has put there since.
        (refusals.Begun("cd"), "sha256:1", False, False),
        (refusals.Begun("ab", placed=True), "sha256:2", True, False),
        (refusals.Begun("ab"), "sha256:1", True, False),
    ],
)
def test_what_a_restore_has_left_is_its_own(
    begun: refusals.Begun | None, ca_cert_hash: str | None, control_plane: bool, resumed: bool
) -> None:
    found = refusals.resumes(
        begun=begun,
        now=refusals.Begun("ab"),
        ca_cert_hash=ca_cert_hash,
        expected="sha256:1",
        control_plane=control_plane,
    )
    assert found is resumed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# created\nAGE-SECRET-KEY-1QQQ\n", None),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\n", None),
        ("age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p\n", "not one of age"),
        ("", "not one of age"),
        ("-----BEGIN AGE ENCRYPTED FILE-----\n", "itself encrypted"),
        ("age-encryption.org/v1\n", "itself encrypted"),
    ],
)
def test_identities(text: str, message: str | None) -> None:
    problem = refusals.identity_problem(text)
    assert (problem is None) if message is None else (message in (problem or ""))
