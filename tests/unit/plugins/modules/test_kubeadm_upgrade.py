# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""kubeadm upgrade of a node: checked, applied, checked, applied again, and killed after each of its steps.

The kubeadm here changes the files that the real one changes, in its order; see tests/e2e/test_upgrade.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import state
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.node import Node
from ansible_collections.bramble.pi.plugins.modules import kubeadm_upgrade

from tests.unit.kubeadm_node import FakeNode, run

OLD, NEW = "1.20.2", "1.21.0"
PROGRAMS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
POD = """\
spec:
  containers:
  - image: k8s.gcr.io/{program}:v{version}
"""
CONFIG_MAP = '{{"data": {{"ClusterConfiguration": "kubernetesVersion: v{version}\\n"}}}}'
NODE = '{{"status": {{"nodeInfo": {{"kubeletVersion": "v{version}"}}}}}}'
#: What kubeadm upgrade apply does, step by step; the last ones are in no version.
STEPS = [
    *(f"sed -i s/v{OLD}/v{NEW}/ etc/kubernetes/manifests/{program}.yaml" for program in PROGRAMS),
    f"sed -i s/v{OLD}/v{NEW}/ config-map",
    "echo new >var/lib/kubelet/config.yaml",
    "echo new >addons",
]
_WORK = "; ".join(f"test $left -gt {place} || kill -9 $$; {step}" for place, step in enumerate(STEPS))
KUBEADM = f"""\
#!/bin/sh
cd ROOT
case "$1 $2" in
    "version -o")
        test "$3" = short && cat kubeadm-version && exit
        echo '{{"clientVersion": {{"gitVersion": "'"$(cat kubeadm-version)"'"}}}}' ;;
    "upgrade "*)
        echo "$*" >>ran
        left=$(cat kill 2>/dev/null || echo 99)
        {{ {_WORK}; }}
        test -e fails && echo "[ERROR CreateJob]: Job was not Ready" && exit 1
        exit 0 ;;
esac
"""
KUBECTL = """\
#!/bin/sh
cd ROOT
case "$*" in
    *kubeadm-config) test -e silent && exit 1; cat config-map ;;
    */nodes/pi-1) cat node ;;
esac
"""


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeNode:
    """Return a control plane of the old version on which kubeadm is new."""
    fake = FakeNode(tmp_path, monkeypatch)
    monkeypatch.setattr(Node, "has", lambda _self, _program: True)
    for program in PROGRAMS:
        fake.write(f"/etc/kubernetes/manifests/{program}.yaml", POD.format(program=program, version=OLD))
    fake.write("/var/lib/kubelet/config.yaml", "old\n")
    fake.write("/config-map", CONFIG_MAP.format(version=OLD))
    fake.write("/node", NODE.format(version=OLD))
    fake.write("/kubeadm-version", f"v{NEW}\n")
    for name, text in {"kubeadm": KUBEADM, "kubectl": KUBECTL}.items():
        (fake.programs / name).write_text(text.replace("ROOT", str(tmp_path)))
        (fake.programs / name).chmod(0o755)
    fake.program("kubelet", f"Kubernetes v{OLD}\n")
    fake.program("journalctl", "")
    return fake


def upgrade(capsys: pytest.CaptureFixture[str], *, check: bool = False, **more: Any) -> dict[str, Any]:
    parameters = {"version": NEW, "node_name": "pi-1", "control_plane": True, "timeout": 1, **more}
    return run(kubeadm_upgrade, capsys, check=check, **parameters)


def ran(node: FakeNode) -> list[str]:
    path = node.root / "ran"
    return path.read_text().splitlines() if path.exists() else []


def test_check_apply_check_apply(node: FakeNode, capsys: pytest.CaptureFixture[str]) -> None:
    checked = upgrade(capsys, check=True)
    assert (checked["changed"], checked["action"], ran(node)) == (True, "apply", [])
    applied = upgrade(capsys, ignore_preflight_errors=["NumCPU", "ImagePull"])
    assert applied["changed"] is True
    assert ran(node) == [f"upgrade apply v{NEW} --yes --ignore-preflight-errors=NumCPU,ImagePull"]
    assert applied["running"] == {
        "cluster": NEW,
        "static_pods": dict.fromkeys(PROGRAMS, NEW),
        "kubelet": OLD,
        "kubelet_package": OLD,
        "kubeadm": NEW,
    }
    assert not Path(state.UPGRADE).exists()
    for check in (True, False):
        again = upgrade(capsys, check=check)
        assert (again["changed"], again["action"], again["kubelet_due"]) == (False, "", True)
    assert len(ran(node)) == 1


def test_another_control_plane_and_a_worker_are_upgraded_as_nodes(
    node: FakeNode, capsys: pytest.CaptureFixture[str]
) -> None:
    node.write("/config-map", CONFIG_MAP.format(version=NEW))
    assert upgrade(capsys)["action"] == "node"
    assert upgrade(capsys, control_plane=False)["action"] == "node"
    assert ran(node) == ["upgrade node"] * 2


@pytest.mark.parametrize("step", range(len(STEPS) + 1))
def test_killed_after_each_step_it_is_gone_on_with(
    node: FakeNode, capsys: pytest.CaptureFixture[str], step: int
) -> None:
    node.write("/kill", str(step))
    first = upgrade(capsys)
    if step < len(STEPS):
        assert "kubeadm upgrade was ended by signal 9. Run this again" in first["msg"]
        assert Path(state.UPGRADE).stat().st_mode & 0o777 == 0o600
        (node.root / "kill").unlink()
        assert upgrade(capsys)["action"] == "apply"
    assert (node.root / "addons").read_text() == "new\n"
    assert not Path(state.UPGRADE).exists()
    assert upgrade(capsys)["changed"] is False


def test_a_failure_names_the_check_and_is_tried_again(
    node: FakeNode, capsys: pytest.CaptureFixture[str]
) -> None:
    node.write("/fails", "")
    failed = upgrade(capsys)
    assert "kubeadm upgrade failed in its preflight checks" in failed["msg"]
    assert "CreateJob: Job was not Ready (" in failed["msg"]
    (node.root / "fails").unlink()
    assert upgrade(capsys)["changed"] is True


def test_another_kubeadm_is_refused_before_anything_is_touched(
    node: FakeNode, capsys: pytest.CaptureFixture[str]
) -> None:
    node.write("/kubeadm-version", f"v{OLD}\n")
    assert upgrade(capsys, check=True)["action"] == "apply"
    assert f"kubeadm is {OLD} on this node; expected {NEW}" in upgrade(capsys)["msg"]
    assert ran(node) == []
    assert not Path(state.UPGRADE).exists()


def test_by_default_it_is_the_version_of_kubeadm(node: FakeNode, capsys: pytest.CaptureFixture[str]) -> None:
    assert upgrade(capsys, version=None, check=True)["version"] == NEW
    node.write("/kubeadm-version", f"v{OLD}\n")
    found = upgrade(capsys, version=None)
    assert (found["version"], found["due"], ran(node)) == (OLD, False, [])


def test_a_version_without_a_patch_is_refused(node: FakeNode, capsys: pytest.CaptureFixture[str]) -> None:
    assert "version is 1.21; expected one with its patch" in upgrade(capsys, version="1.21")["msg"]
    assert ran(node) == []


def test_an_api_server_that_does_not_answer_is_waited_for(
    node: FakeNode, capsys: pytest.CaptureFixture[str]
) -> None:
    node.write("/silent", "")
    assert "did not answer within 1 s" in upgrade(capsys)["msg"]
    assert ran(node) == []
