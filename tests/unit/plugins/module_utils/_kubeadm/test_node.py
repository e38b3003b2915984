# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is done on a node, with its paths below a folder; commands are played or real."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import node as kubeadm_node
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import node_files, state
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.node import (
    KubeadmError,
    Node,
    is_busy_name,
    phases_argument,
)

TOKEN = "abcdef.0123456789abcdef"
DOCUMENTS = [{"kind": "JoinConfiguration", "discovery": {"bootstrapToken": {"token": TOKEN}}}]


class Commands:
    """Plays commands from a table and notes down what was run."""

    def __init__(self, **results: tuple[int, str, str]) -> None:
        self.results = results
        self.run: list[list[str]] = []

    def __call__(self, command: list[str], **_options: Any) -> tuple[int, str, str]:
        self.run.append(command)
        return self.results.get(command[0], (0, "", ""))


@pytest.fixture(autouse=True)
def run_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    directory = tmp_path / "run"
    directory.mkdir()
    monkeypatch.setattr(kubeadm_node, "_RUN", str(directory))
    monkeypatch.setattr(kubeadm_node, "_LOCK", str(directory / "lock"))
    monkeypatch.setattr(kubeadm_node, "_POLL", 0.01)
    monkeypatch.setattr(state, "KUBELET_FLAGS", str(tmp_path / "kubeadm-flags.env"))
    monkeypatch.setattr(state, "KUBELET_INSTANCE_CONFIGURATION", str(tmp_path / "instance.yaml"))
    monkeypatch.setattr(state, "KUBELET_CONFIGURATION", str(tmp_path / "config.yaml"))
    monkeypatch.setattr(state, "ATTEMPT", str(tmp_path / "kubernetes" / "attempt.json"))
    yield directory
    assert sorted(path.name for path in directory.iterdir()) in ([], ["lock"])


def test_configuration_is_private_and_does_not_stay(run_directory: Path) -> None:
    node = Node(run=Commands())
    with node.locked(timeout=1):
        path = Path(node.configuration_file(documents=DOCUMENTS))
        assert run_directory in path.parents
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
        assert TOKEN in path.read_text()
    assert not path.parent.exists()


def test_configuration_goes_away_with_a_failure() -> None:
    node = Node(run=Commands())
    paths = []

    def fail() -> None:
        with node.locked(timeout=1):
            paths.append(Path(node.configuration_file(documents=DOCUMENTS)))
            raise KubeadmError("no")

    with pytest.raises(KubeadmError, match="no"):
        fail()
    assert not paths[0].exists()


def test_what_a_killed_run_left_goes_away(run_directory: Path) -> None:
    stale = run_directory / "bramble-kubeadm-stale"
    stale.mkdir()
    (stale / "kubeadm.json").write_text(TOKEN)
    with Node(run=Commands()).locked(timeout=1):
        assert not stale.exists()


def test_configuration_needs_the_lock() -> None:
    with pytest.raises(RuntimeError, match="while the lock is held"):
        Node(run=Commands()).configuration_file(documents=DOCUMENTS)


def try_lock() -> None:
    with Node(run=Commands()).locked(timeout=0):
        pass


def test_one_run_at_a_time() -> None:
    with (
        Node(run=Commands()).locked(timeout=1),
        pytest.raises(KubeadmError, match="another run of kubeadm"),
    ):
        try_lock()
    try_lock()


def test_a_command_holds_the_lock_after_its_module_was_killed() -> None:
    children = []

    def run(command: list[str], pass_fds: tuple[int, ...] = (), **_options: Any) -> tuple[int, str, str]:
        children.append(subprocess.Popen(command, pass_fds=pass_fds, stdin=subprocess.PIPE))
        return 0, "", ""

    node = Node(run=run)
    with node.locked(timeout=1):
        node.run([sys.executable, "-c", "import sys; sys.stdin.read()"])
    with pytest.raises(KubeadmError, match="another run of kubeadm"):
        try_lock()
    children[0].communicate()
    with Node(run=run).locked(timeout=5):
        pass


def test_an_attempt_is_written_down_before_and_marked_when_it_fails() -> None:
    attempt = state.Attempt(action="init", settings="s")
    seen = []

    def run(command: list[str], **_options: Any) -> tuple[int, str, str]:
        if command[0] == "kubeadm":
            seen.append(node_files.read_attempt())
            return 1, "", "error execution phase preflight: [preflight] no\n\t[ERROR Swap]: swap is on\n"
        return 0, "", ""

    node = Node(run=run)
    with pytest.raises(KubeadmError, match="Swap: swap is on"):
        node.kubeadm(["init"], attempt=attempt)
    assert seen == [attempt]
    marked = node_files.read_attempt()
    assert marked is not None
    assert marked.failed
    assert os.stat(state.ATTEMPT).st_mode & 0o777 == 0o600
    node_files.clear_attempt()
    node_files.clear_attempt()
    assert node_files.read_attempt() is None


def test_a_run_that_was_killed_has_not_failed() -> None:
    node = Node(run=Commands(kubeadm=(-9, "", "")))
    with pytest.raises(KubeadmError, match="ended by signal 9"):
        node.kubeadm(["join"], attempt=state.Attempt(action="join", settings="s"))
    marked = node_files.read_attempt()
    assert marked is not None
    assert not marked.failed


def test_a_failure_does_not_tell_the_token() -> None:
    node = Node(run=Commands(kubeadm=(1, "", f"error execution phase kubelet-start: {TOKEN} is no good")))
    with pytest.raises(KubeadmError) as caught:
        node.kubeadm(["join", "--config=x"])
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize(
    ("result", "answers"),
    [
        ((0, "{}", ""), (True, True)),
        ((1, "", 'Error from server (NotFound): configmaps "kubeadm-config" not found'), (True, False)),
        ((1, "", 'Error from server (Forbidden): configmaps "kubeadm-config" is forbidden'), (True, False)),
        ((1, "", "The connection to the server 10.0.0.1:6443 was refused"), (False, False)),
        ((1, "", "Unable to connect to the server: net/http: TLS handshake timeout"), (False, False)),
    ],
)
def test_ask_api(result: tuple[int, str, str], answers: tuple[bool, bool]) -> None:
    assert Node(run=Commands(kubectl=result)).ask_api() == answers


@pytest.mark.alone
def test_wait_for_api_ends() -> None:
    begun = time.monotonic()
    commands = Commands(kubectl=(1, "", "refused"))
    assert Node(run=commands).wait_for_api(timeout=0) == (False, False)
    assert time.monotonic() - begun < 1
    assert len(commands.run) == 1


def test_small_things() -> None:
    assert phases_argument(phases=[]) == []
    assert phases_argument(phases=["preflight", "addon/coredns"]) == ["--skip-phases=preflight,addon/coredns"]
    assert is_busy_name('a Node with name "pi-2" and status "Ready" already exists in the cluster')
    assert not is_busy_name("a Node with name")


@pytest.mark.parametrize("lost", [0, 2])
def test_output_that_was_lost_is_asked_for_again(lost: int) -> None:
    outputs = [*[""] * lost, "kubeadm join"]
    node = Node(run=lambda _command, **_options: (0, outputs.pop(0), ""))
    assert node.kubeadm_prints(["token", "create"]) == "kubeadm join"
    assert outputs == []


def test_a_kubeadm_that_prints_nothing_is_named() -> None:
    node = Node(run=lambda _command, **_options: (0, "\n", ""))
    with pytest.raises(KubeadmError, match=r"kubeadm token create succeeded 3 times and printed nothing"):
        node.kubeadm_prints(["token", "create"])
