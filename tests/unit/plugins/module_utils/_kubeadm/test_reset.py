# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Taking Kubernetes off a node, with its paths below a folder; commands are played."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._containers import containerd
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import node_files, reset, state
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.node import Node
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.reset import (
    empty_directory,
    kubeadm_reset,
    undo,
)

from tests.unit.kubeadm_node import FakeNode


class Commands:
    """Plays commands from a table and notes down what was run."""

    def __init__(self, **results: tuple[int, str, str]) -> None:
        self.results = results
        self.run: list[list[str]] = []

    def __call__(self, command: list[str], **_options: Any) -> tuple[int, str, str]:
        self.run.append(command)
        return self.results.get(command[0], (0, "", ""))


@pytest.fixture(autouse=True)
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containerd, "_REMOVED", str(tmp_path / "removed"))
    monkeypatch.setattr(state, "KUBELET_FLAGS", str(tmp_path / "kubeadm-flags.env"))
    monkeypatch.setattr(state, "KUBELET_INSTANCE_CONFIGURATION", str(tmp_path / "instance.yaml"))
    monkeypatch.setattr(state, "KUBELET_CONFIGURATION", str(tmp_path / "config.yaml"))
    monkeypatch.setattr(state, "POD_LOGS", str(tmp_path / "pods"))
    monkeypatch.setattr(state, "ATTEMPT", str(tmp_path / "kubernetes" / "attempt.json"))


def test_reset_takes_away_the_containers_that_kubeadm_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    containers = ["a1", "b2"]
    run = []

    def play(command: list[str], **_options: Any) -> tuple[int, str, str]:
        run.append([word for word in command if word not in ("timeout", "30", "--namespace=k8s.io")])
        if "list" in command:
            return 0, "\n".join(containers), ""
        if "containers" in command and "delete" in command:
            containers.remove(command[-1])
        return 0, "", ""

    node = Node(run=play)
    monkeypatch.setattr(node, "has", lambda program: True)
    kubeadm_reset(node=node, cri_socket="unix:///run/containerd/containerd.sock")
    assert run[0] == ["kubeadm", "reset", "--force", "--cri-socket=unix:///run/containerd/containerd.sock"]
    assert ["ctr", "tasks", "kill", "--signal=SIGKILL", "a1"] in run
    assert run[-1] == ["systemctl", "restart", "containerd"]
    assert containers == []


def test_docker_removes_its_containers_itself() -> None:
    commands = Commands()
    kubeadm_reset(node=Node(run=commands), cri_socket="/var/run/dockershim.sock")
    assert commands.run == [["kubeadm", "reset", "--force", "--cri-socket=/var/run/dockershim.sock"]]


@pytest.mark.parametrize(
    ("told", "given", "used"),
    [
        ("", None, []),
        ("", "unix:///run/crio.sock", ["--cri-socket=unix:///run/crio.sock"]),
        ("unix:///run/old.sock", None, ["--cri-socket=unix:///run/old.sock"]),
        # The kubelet's containers are where it has started them.
        ("unix:///run/old.sock", "unix:///run/crio.sock", ["--cri-socket=unix:///run/old.sock"]),
    ],
)
def test_the_kubelet_s_own_socket_counts(told: str, given: str | None, used: list[str]) -> None:
    if told:
        Path(state.KUBELET_FLAGS).write_text(f'KUBELET_KUBEADM_ARGS="--container-runtime-endpoint={told}"\n')
    commands = Commands()
    kubeadm_reset(node=Node(run=commands), cri_socket=given)
    assert commands.run == [["kubeadm", "reset", "--force", *used]]


def test_what_the_user_put_there_survives_an_undo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pki = tmp_path / "pki"
    pki.mkdir()
    own = pki / "ca.key"
    own.write_text("my own")
    own.chmod(0o600)
    monkeypatch.setattr(state, "KUBERNETES_FILES", frozenset({str(tmp_path / "admin.conf")}))
    monkeypatch.setattr(state, "ETCD", str(tmp_path / "etcd"))
    (tmp_path / "admin.conf").write_text("x")

    def play(command: list[str], **_options: Any) -> tuple[int, str, str]:
        if command[:2] == ["kubeadm", "reset"]:
            own.unlink()
        return 0, "", ""

    node = Node(run=play)
    attempt = state.Attempt(action="init", settings="s", kept=(str(own),))
    node_files.write_attempt(attempt)
    undo(node=node, attempt=attempt, cri_socket=None)
    assert own.read_text() == "my own"
    assert own.stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "admin.conf").exists()
    assert node_files.read_attempt() is None


def test_empty_directory(tmp_path: Path) -> None:
    directory = tmp_path / "d"
    (directory / "below" / "deeper").mkdir(parents=True)
    (directory / "below" / "file").write_text("")
    (directory / ".hidden").write_text("")
    (directory / "link").symlink_to(tmp_path / "nowhere")
    assert len(empty_directory(str(directory))) == 3
    assert list(directory.iterdir()) == []
    assert empty_directory(str(tmp_path / "none")) == []


def test_what_backups_and_restores_wrote_of_the_cluster_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = FakeNode(tmp_path, monkeypatch)
    for path in ("backup-status.json", "restore.json"):
        node.write(f"/var/lib/bramble/{path}", "{}")
    node.write("/var/lib/bramble/backups/bramble-1.tar.gz.age", "")
    for each in reset._files(patterns=()):
        if each.what.startswith(str(tmp_path)):
            each.remove()
    assert [path.name for path in (tmp_path / "var/lib/bramble").iterdir()] == ["backups"]
