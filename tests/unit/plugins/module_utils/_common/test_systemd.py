# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.commands import CommandError
from ansible_collections.bramble.pi.plugins.module_utils._common.systemd import Systemd


class Node:
    """A node on which some questions are answered with yes, and some commands fail."""

    def __init__(self, *states: str, failing: str = "", check_mode: bool = False) -> None:
        self.states = states
        self.failing = failing
        self.commands: list[str] = []
        self.changes = Changes(check_mode=check_mode)
        self.systemd = Systemd(run=self.run, changes=self.changes)

    def run(self, command: list[str]) -> tuple[int, str, str]:
        verb = command[1]
        if verb.startswith("is-"):
            return (0, verb.partition("-")[2], "") if verb in self.states else (3, "", "")
        self.commands.append(" ".join(command[1:]))
        return (1, "", "it is masked") if verb == self.failing else (0, "", "")


@pytest.mark.parametrize(
    ("states", "changed", "sentences", "commands"),
    [
        (["is-active", "is-enabled"], False, [], []),
        (["is-active"], False, ["start x at each boot"], ["enable x"]),
        (["is-active", "is-enabled"], True, ["restart x"], ["stop x", "daemon-reload", "start x"]),
        (
            [],
            False,
            ["start x at each boot", "restart x"],
            ["enable x", "stop x", "daemon-reload", "start x"],
        ),
    ],
)
def test_a_unit_runs(states: list[str], changed: bool, sentences: list[str], commands: list[str]) -> None:
    node = Node(*states)
    assert node.systemd.ensure_running("x", changed=changed) is bool(sentences)
    assert (node.changes.sentences, node.commands) == (sentences, commands)
    # Check mode says the same.
    checked = Node(*states, check_mode=True)
    checked.systemd.ensure_running("x", changed=changed)
    assert (checked.changes.sentences, checked.commands) == (sentences, [])


@pytest.mark.parametrize(
    ("states", "stopped"),
    [([], False), (["is-active"], True), (["is-enabled"], True), (["is-active", "is-enabled"], True)],
)
def test_a_unit_does_not_run_any_more(states: list[str], stopped: bool) -> None:
    node = Node(*states)
    node.systemd.ensure_stopped("x")
    assert node.changes.sentences == ["stop x"] * stopped
    assert node.commands == ["disable --now x"] * stopped


def test_what_must_not_be_done_while_it_runs() -> None:
    node = Node("is-enabled")
    node.systemd.restart("x", while_stopped=lambda: node.commands.append("now"))
    assert node.commands == ["stop x", "daemon-reload", "now", "start x"]


def test_a_unit_that_does_not_start() -> None:
    with pytest.raises(CommandError, match="it is masked; see 'journalctl -u x'"):
        Node(failing="start").systemd.restart("x")


def test_reload() -> None:
    node = Node()
    node.systemd.reload("x")
    assert (node.changes.sentences, node.commands) == (["reload x"], ["reload x"])


@pytest.mark.parametrize(
    ("file_age", "unit_age", "restarted"),
    [
        (3600, 60, False),
        (60, 3600, True),
        # Written by a clock that was ahead, or is behind now.
        (-60, 3600, False),
        # There is no such file.
        (None, 3600, False),
    ],
)
def test_a_unit_that_was_started_before_its_files_were_written(
    tmp_path: Path, file_age: float | None, unit_age: float, restarted: bool
) -> None:
    path = tmp_path / "file"
    if file_age is not None:
        path.write_text("")
        os.utime(path, (time.time() - file_age,) * 2)
    commands = []
    started = int((time.monotonic() - unit_age) * 1e6)

    def run(command: list[str]) -> tuple[int, str, str]:
        commands.append(command[1])
        return 0, f"ActiveState=active\nActiveEnterTimestampMonotonic={started}\n", ""

    systemd = Systemd(run=run, changes=Changes(check_mode=False))
    assert systemd.is_outdated("x", [str(path)]) is restarted
    assert systemd.ensure_running("x", changed=False, files=[str(path)]) is restarted
    assert ("stop" in commands) is restarted


@pytest.mark.parametrize(
    ("files", "outdated"), [(["/etc/systemd/system/x.service"], True), (["/etc/x.conf"], False)]
)
def test_a_unit_that_was_started_again_by_what_its_file_said_before(files: list[str], outdated: bool) -> None:
    state = f"ActiveState=active\nActiveEnterTimestampMonotonic={time.monotonic_ns() // 1000}\n"
    systemd = Systemd(
        run=lambda _command: (0, f"{state}NeedDaemonReload=yes\n", ""), changes=Changes(check_mode=False)
    )
    assert systemd.is_outdated("x", files) is outdated


def test_a_unit_that_does_not_run_is_not_outdated(tmp_path: Path) -> None:
    stopped = "ActiveState=inactive\nActiveEnterTimestampMonotonic=0\n"
    systemd = Systemd(run=lambda _command: (0, stopped, ""), changes=Changes(check_mode=False))
    assert not systemd.is_outdated("x", [str(tmp_path)])
    assert systemd.ensure_running("x", changed=False, files=[str(tmp_path)])
