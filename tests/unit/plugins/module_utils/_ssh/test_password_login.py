# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps by which password login goes, against an sshd that reads the files; molecule has a real one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._ssh.password_login import (
    PasswordLogin,
    PasswordLoginError,
)
from ansible_collections.bramble.pi.plugins.module_utils._ssh.sshd import DROP_IN, TRIAL, TRIAL_TEXT


class Node:
    """As much of a node as the steps ask."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.reads_drop_in = True
        self.refuses = ""
        self.timer = False
        self.reloads = 0
        #: Whether the sshd that runs takes passwords.
        self.running = True
        (root / "etc/ssh/sshd_config.d").mkdir(parents=True)
        (root / "run").mkdir()

    def text(self, path: str) -> str | None:
        file = self.root / path.lstrip("/")
        return file.read_text() if file.exists() else None

    def takes_passwords(self) -> bool:
        """Tell what the files come to."""
        texts = [self.text(DROP_IN) or ""]
        if texts == [TRIAL_TEXT]:
            texts.append(self.text(TRIAL) or "")
        return not (self.reads_drop_in and any("PasswordAuthentication no" in text for text in texts))

    def reload(self) -> None:
        self.reloads += 1
        self.running = self.takes_passwords()

    def fire(self) -> None:
        """Do what the timer does."""
        self.timer = False
        for path in (DROP_IN, TRIAL):
            (self.root / path.lstrip("/")).unlink(missing_ok=True)
        self.reload()

    def run(self, command: list[str]) -> tuple[int, str, str]:
        if command[0] == "systemd-run":
            self.timer = True
        elif command[:2] == ["systemctl", "stop"]:
            was, self.timer = self.timer, False
            return (0 if was else 5), "", ""
        elif command[:2] == ["systemctl", "is-active"]:
            return (0 if command[-1] == "ssh.service" else 3), "", ""
        elif command == ["systemctl", "reload", "ssh.service"]:
            self.reload()
        elif command[1] == "-T":
            if self.refuses:
                return 255, "", self.refuses
            return 0, f"port 22\npasswordauthentication {'yes' if self.takes_passwords() else 'no'}\n", ""
        else:
            raise AssertionError(command)
        return 0, "", ""


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def login(node: Node, *, check_mode: bool = False) -> PasswordLogin:
    return PasswordLogin(
        node.run, sshd="/usr/sbin/sshd", user="pi", seconds=120, check_mode=check_mode, root=str(node.root)
    )


def test_what_is_proved_is_kept(node: Node) -> None:
    assert login(node).look()["ways_in"] == ["PasswordAuthentication"]
    assert login(node).attempt() == {"changed": True}
    assert (node.text(DROP_IN), node.timer, node.reloads) == (TRIAL_TEXT, True, 1)
    assert login(node).confirm() == {"changed": True}
    assert "PasswordAuthentication no\n" in (node.text(DROP_IN) or "")
    assert (node.text(TRIAL), node.timer, node.reloads) == (None, False, 1)
    assert login(node).look()["changed"] is False


def test_what_is_not_proved_is_reverted(node: Node) -> None:
    login(node).attempt()
    assert login(node).revert() == {"changed": False}
    assert (node.text(DROP_IN), node.text(TRIAL), node.timer, node.reloads) == (None, None, False, 2)
    assert login(node).look()["changed"] is True


def test_a_controller_that_comes_back_too_late_keeps_nothing(node: Node) -> None:
    login(node).attempt()
    node.timer = False
    with pytest.raises(
        PasswordLoginError, match="is on again, as the controller came back after more than 120"
    ):
        login(node).confirm()
    assert (node.text(DROP_IN), node.text(TRIAL)) == (None, None)


class KilledError(BaseException):
    """What is killed cleans nothing up."""


@pytest.mark.parametrize("fires", [True, False])
@pytest.mark.parametrize("last", ["confirm", "revert"])
@pytest.mark.parametrize("number", range(15))
def test_a_run_that_is_killed(
    node: Node, monkeypatch: pytest.MonkeyPatch, number: int, last: str, fires: bool
) -> None:
    """What sshd does is what its files say by the end of the next run, or once the timer is over."""
    left = number

    def killing(do: Callable[..., Any]) -> Callable[..., Any]:
        def killed(*arguments: Any, **options: Any) -> Any:
            nonlocal left
            left -= 1
            if left == -1:
                raise KilledError
            return do(*arguments, **options)

        return killed

    with monkeypatch.context() as patch:
        patch.setattr(node, "run", killing(node.run))
        patch.setattr(Changes, "write", killing(Changes.write))
        patch.setattr(os, "unlink", killing(os.unlink))
        with contextlib.suppress(KilledError):
            login(node).look()
            login(node).attempt()
            getattr(login(node), last)()
    if fires and node.timer:
        node.fire()
        assert node.running == node.takes_passwords()
    if login(node).look()["changed"]:
        login(node).attempt()
        login(node).confirm()
    assert (node.running, node.takes_passwords(), node.timer) == (False, False, False)


@pytest.mark.parametrize("check_mode", [True, False])
def test_a_trial_that_nobody_came_back_to_counts_for_nothing(node: Node, check_mode: bool) -> None:
    login(node).attempt()
    (node.root / TRIAL.lstrip("/")).unlink()
    assert login(node, check_mode=check_mode).look()["changed"] is True
    assert (node.text(DROP_IN) == TRIAL_TEXT) is check_mode


def test_an_sshd_that_does_not_read_it_is_left_as_it_was(node: Node) -> None:
    node.reads_drop_in = False
    with pytest.raises(PasswordLoginError, match="PasswordAuthentication stays on, and nothing was changed"):
        login(node).attempt()
    assert (node.text(DROP_IN), node.text(TRIAL), node.timer) == (None, None, False)


@pytest.mark.parametrize("check_mode", [True, False])
def test_a_configuration_that_sshd_does_not_take_is_told(node: Node, check_mode: bool) -> None:
    node.refuses = "/etc/ssh/sshd_config line 3: Bad configuration option: Prot\n"
    with pytest.raises(PasswordLoginError, match="line 3: Bad configuration option: Prot; expected"):
        login(node, check_mode=check_mode).look()
