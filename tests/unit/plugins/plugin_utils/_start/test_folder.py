# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A folder that is there as a whole or not at all."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest
from ansible_collections.bramble.pi.plugins.plugin_utils._start import folder
from ansible_collections.bramble.pi.plugins.plugin_utils._start.answers import StartError

FILES = {
    "hosts.yml": "all:\n",
    "group_vars/all.yml": "---\n",
    "group_vars/nat_headnode.yml": "key: x\n",
}


def accept(_unfinished: Path) -> None:
    """Have nothing against it."""


def test_the_files_are_there_and_the_secret_is_the_user_s_alone(tmp_path: Path) -> None:
    secret = "group_vars/nat_headnode.yml"
    folder.write(tmp_path / "rack", FILES, private={secret}, check=accept)
    assert [path.name for path in tmp_path.iterdir()] == ["rack"]
    assert {name: (tmp_path / "rack" / name).read_text() for name in FILES} == FILES
    modes = {name: (tmp_path / "rack" / name).stat().st_mode & 0o777 for name in FILES}
    assert modes == {name: 0o600 if name == secret else 0o644 for name in FILES}


def test_what_is_refused_leaves_nothing(tmp_path: Path) -> None:
    def refuse(unfinished: Path) -> None:
        assert (unfinished / "hosts.yml").exists()
        raise StartError("no")

    with pytest.raises(StartError, match=r"^no$"):
        folder.write(tmp_path / "rack", FILES, check=refuse)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "when"),
    [
        ("folder", "before"),
        # With one that comes meanwhile nothing is lost.
        ("empty folder", "before"),
        ("file", "before"),
        ("dangling link", "before"),
        ("folder", "meanwhile"),
        ("file", "meanwhile"),
        ("dangling link", "meanwhile"),
    ],
)
def test_what_exists_is_never_changed(kind: str, when: str, tmp_path: Path) -> None:
    target = tmp_path / "rack"

    def make(_unfinished: Path) -> None:
        if kind == "file":
            target.write_text("mine")
        elif kind == "dangling link":
            target.symlink_to("nowhere")
        else:
            target.mkdir()
            if kind == "folder":
                (target / "hosts.yml").write_text("mine")

    if when == "before":
        make(target)
    with pytest.raises(
        StartError, match=r"rack exists; expected a name that is free, .*: set start_folder to"
    ):
        folder.write(target, FILES, check=make if when == "meanwhile" else accept)
    assert [path.name for path in tmp_path.iterdir()] == ["rack"]
    if kind == "folder":
        assert [(path.name, path.read_text()) for path in target.iterdir()] == [("hosts.yml", "mine")]


def test_a_parent_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="none is no folder; expected one, for rack to be made in"):
        folder.write(tmp_path / "none/rack", FILES, check=accept)


def write_slowly(target: Path) -> None:
    def wait(unfinished: Path) -> None:
        (target.parent / "began").touch()
        time.sleep(60)

    folder.write(target, FILES, check=wait)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_killed_run_leaves_no_inventory_and_the_next_one_removes_its_rest(
    number: signal.Signals, tmp_path: Path
) -> None:
    target = tmp_path / "rack"
    run = multiprocessing.get_context("fork").Process(target=write_slowly, args=(target,))
    run.start()
    while not (tmp_path / "began").exists():
        time.sleep(0.05)
    # One that goes on is left alone.
    folder.write(tmp_path / "other", FILES, check=accept)
    assert run.pid is not None
    os.kill(run.pid, number)
    run.join(30)
    left = {path.name for path in tmp_path.iterdir()} - {"began", "other"}
    assert len(left) == (1 if number == signal.SIGKILL else 0)
    assert not target.exists()
    folder.write(target, FILES, check=accept)
    assert {path.name for path in tmp_path.iterdir()} == {"began", "other", "rack"}
