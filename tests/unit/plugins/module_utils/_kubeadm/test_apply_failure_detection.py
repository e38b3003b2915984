# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kubelet's part below a folder; tests/e2e/test_failover.py changes a running control plane."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import apply_failure_detection, state
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import failure_detection

# A kubelet that serves no health is not waited for.
CONFIGURATION = "kind: KubeletConfiguration\nhealthzPort: 0\n"
RESTART = ["systemctl", "restart", "kubelet"]


class Kubelet:
    """Plays systemctl: how often the kubelet was restarted, and whether that works."""

    def __init__(self, *, works: bool = True) -> None:
        self.works = works
        self.killed = False
        self.restarts = 0
        # After the configuration of this test was written.
        self.started = time.clock_gettime(time.CLOCK_MONOTONIC)

    def __call__(self, command: list[str]) -> tuple[int, str, str]:
        if command != RESTART:
            state = "active" if self.works else "failed"
            started = int(self.started * 1e6)
            return 0, f"ActiveState={state}\nActiveEnterTimestampMonotonic={started}\n", ""
        if self.killed:
            self.killed = False
            raise KeyboardInterrupt
        self.restarts += 1
        self.started = time.clock_gettime(time.CLOCK_MONOTONIC)
        return (0, "", "") if self.works else (1, "", "Job for kubelet.service failed")


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(CONFIGURATION)
    # Long enough ago that a kubelet which starts now has read it.
    os.utime(path, (time.time() - 60, time.time() - 60))
    monkeypatch.setattr(state, "KUBELET_CONFIGURATION", str(path))
    return path


def apply(kubelet: Kubelet, *, check_mode: bool = False, only_sooner: bool = False) -> Changes:
    changes = Changes(check_mode=check_mode)
    apply_failure_detection.FailureDetection(
        detection=failure_detection.PRESETS["demo"], run=kubelet, changes=changes, timeout=0
    ).kubelet(only_sooner=only_sooner)
    return changes


def test_the_kubelet_is_restarted_once(path: Path) -> None:
    kubelet = Kubelet()
    assert apply(kubelet, check_mode=True).sentences == [f"change {path}"]
    assert (path.read_text(), kubelet.restarts) == (CONFIGURATION, 0)
    assert apply(kubelet).sentences == [f"change {path}"]
    assert "nodeStatusUpdateFrequency: 2s" in path.read_text()
    assert kubelet.restarts == 1
    assert not apply(kubelet)
    assert kubelet.restarts == 1


@pytest.mark.parametrize("only_sooner", [True, False])
def test_a_run_that_was_killed_before_the_restart_is_finished(path: Path, only_sooner: bool) -> None:
    """Before the control plane waits for less, which is the step that follows."""
    kubelet = Kubelet()
    kubelet.killed = True
    with pytest.raises(KeyboardInterrupt):
        apply(kubelet, only_sooner=True)
    assert apply(kubelet, only_sooner=only_sooner, check_mode=True).sentences == ["restart kubelet"]
    assert kubelet.restarts == 0
    assert apply(kubelet, only_sooner=only_sooner).sentences == ["restart kubelet"]
    assert kubelet.restarts == 1
    assert not apply(kubelet, only_sooner=only_sooner)


def test_a_kubelet_that_reports_often_enough_is_left_alone(path: Path) -> None:
    path.write_text(f"{CONFIGURATION}nodeStatusUpdateFrequency: 1s\n")
    kubelet = Kubelet()
    assert not apply(kubelet, only_sooner=True)
    assert kubelet.restarts == 0


def test_a_configuration_that_does_not_work_is_put_back(path: Path) -> None:
    kubelet = Kubelet(works=False)
    message = r"'systemctl restart kubelet' ended with 1: Job for kubelet.service failed.*was put back"
    with pytest.raises(failure_detection.FailureDetectionError, match=message):
        apply(kubelet)
    assert path.read_text() == CONFIGURATION
    assert kubelet.restarts == 2


def test_a_node_without_a_cluster(path: Path) -> None:
    path.unlink()
    with pytest.raises(failure_detection.FailureDetectionError, match="is not there; expected a node"):
        apply(Kubelet())
