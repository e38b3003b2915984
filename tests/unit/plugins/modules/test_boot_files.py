# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module itself, in a process of its own, on images of cards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.seed import chance
from tests.unit.boot_card import Card, system_files
from tests.unit.kill import Moment, moment_name
from tests.unit.python_server import run_python
from tests.unit.run_module import run_module

REPOSITORY = Path(__file__).parents[4]
MODULE = REPOSITORY / "plugins/modules/boot_files.py"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(REPOSITORY / ".collections")}
FILES = system_files("raspios-bookworm")


@pytest.fixture
def card(tmp_path: Path) -> Card:
    card = Card(tmp_path / "card.img", "FAT16")
    card.put(FILES)
    return card


def arguments(card: Card, options: dict[str, Any], *, check: bool = False, no_log: bool = False) -> str:
    return json.dumps(
        {
            "ANSIBLE_MODULE_ARGS": {
                "path": str(card.path),
                **options,
                "_ansible_check_mode": check,
                "_ansible_no_log": no_log,
            }
        }
    )


def run(card: Card, *, check: bool = False, no_log: bool = False, **options: Any) -> dict[str, Any]:
    text = arguments(card, options, check=check, no_log=no_log)
    done = run_python([MODULE], text=text, environment=ENVIRONMENT)
    assert done.stdout, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.fixture
def wish(tmp_path: Path) -> dict[str, Any]:
    overlay = tmp_path / "hat.dtbo"
    overlay.write_bytes(bytes(range(256)) * 20)
    return {
        "files": [
            {"path": "SSH", "content": ""},
            {"path": "userconf.txt", "content": "pi:$6$salt$hash\n"},
            {"path": "overlays/hat.dtbo", "src": str(overlay)},
            {"path": "issue.TXT", "state": "absent"},
        ],
        "config_txt": [{"section": "pi4", "setting": "arm_freq", "value": 1500}],
        "cmdline": {"present": ["swapaccount=1"], "set": {"panic": 10}},
    }


CHANGED = ["SSH", "userconf.txt", "overlays/hat.dtbo", "config.txt", "cmdline.txt", "issue.txt"]


def test_a_link_to_nowhere_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.txt").write_text("a=1\n")
    (tmp_path / "notes").symlink_to("none")
    result = run_module("boot_files", path=str(tmp_path), files=[{"path": "notes", "content": "x"}])
    assert f"{tmp_path}/notes is a link to none, which does not exist; expected a file" in result["msg"]
    assert "dmesg" not in result["msg"]


def test_check_apply_check_apply(card: Card, wish: dict[str, Any]) -> None:
    image = card.path.read_bytes()
    checked = run(card, check=True, **wish)
    assert card.path.read_bytes() == image

    applied = run(card, **wish)
    assert applied["changed"]
    assert applied["kind"] == "fat"
    assert applied["changed_files"] == CHANGED
    assert applied["cmdline_path"] == "cmdline.txt"
    assert applied["cmdline"].endswith(" panic=10 swapaccount=1")
    assert applied["free"] < checked["free"]
    assert {**checked, "free": 0} == {**applied, "free": 0}
    diff = {diff["after_header"]: diff for diff in applied["diff"]}
    assert diff[f"userconf.txt on {card.path}"]["after"] == "pi:********\n"
    assert diff[f"issue.txt on {card.path}"]["after"] == ""
    assert "not text" in diff[f"overlays/hat.dtbo on {card.path}"]["after"]

    image = card.path.read_bytes()
    for check in (True, False):
        again = run(card, check=check, **wish)
        assert (again["changed"], again["changed_files"], again["diff"]) == (False, [], [])
        assert again["free"] == applied["free"]
        assert card.path.read_bytes() == image
    after = card.files()
    assert {name: after[name] for name in FILES if name not in CHANGED} == {
        name: data for name, data in FILES.items() if name not in CHANGED
    }
    card.check()


def test_as_ansible_runs_it(card: Card, wish: dict[str, Any], tmp_path: Path) -> None:
    task = {"bramble.pi.boot_files": {"path": str(card.path), **wish}, "register": "result"}

    def step(check: bool, changed: bool) -> list[dict[str, Any]]:
        expectation = "result is changed" if changed else "result is not changed"
        return [
            {"name": "Edit", "check_mode": check, **task},
            {"name": "Assert", "ansible.builtin.assert": {"that": [expectation]}},
        ]

    secret = {
        "name": "Write a secret",
        "bramble.pi.boot_files": {
            "path": str(card.path),
            "files": [{"path": "user-data", "content": "hunter2"}],
        },
        "no_log": True,
    }
    tasks = [*step(True, True), *step(False, True), *step(True, False), *step(False, False), secret]
    playbook = tmp_path / "playbook.yml"
    playbook.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
    done = subprocess.run(
        [
            Path(sys.executable).with_name("ansible-playbook"),
            *["-i", "localhost,", "-c", "local", "--diff", "-vvv"],
            *["-e", "ansible_python_interpreter={{ ansible_playbook_python }}"],
            playbook,
        ],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\n+arm_freq=1500\n" in done.stdout
    assert "hunter2" not in done.stdout + done.stderr
    assert card.files()["user-data"] == b"hunter2"


def test_what_is_not_logged_is_not_shown(card: Card) -> None:
    options = {"files": [{"path": "user-data", "content": "hunter2"}]}
    for check in (True, False):
        result = run(card, check=check, no_log=True, **options)
        assert result["changed"]
        assert "diff" not in result


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"path": "/nonexistent"}, "/nonexistent does not exist"),
        ({"path": "/dev/null"}, "/dev/null is not a disk image but an empty file"),
        ({"offset": 512}, "no FAT file system at byte 512"),
        ({"files": [{"path": "a"}]}, "the file 'a' has neither 'content' nor 'src'"),
        ({"files": [{"path": "a", "content": "", "src": "/b"}]}, "the file 'a' has both 'content' and 'src'"),
        ({"files": [{"path": "a", "src": "/nonexistent"}]}, "'a' is to be copied from /nonexistent: No such"),
        ({"files": [{"path": "a", "content": ""}] * 2}, "'files' has 'a' more than once"),
        (
            {"files": [{"path": "a", "content": ""}, {"path": "A", "state": "absent"}]},
            "'A' and 'a' are one file",
        ),
        (
            {"files": [{"path": name, "content": "x"} for name in ("config.txt", "a", "a/b")]},
            "'a' is a file and, for 'a/b', a folder",
        ),
        (
            {"files": [{"path": name, "content": "x"} for name in ("config.txt", "new/con.txt")]},
            "has the part 'con.txt', which FAT",
        ),
        ({"files": [{"path": "config.txt/a", "content": "x"}]}, "config.txt on "),
        ({"files": [{"path": "a:b", "content": ""}]}, "the file name 'a:b' has the part 'a:b'"),
        ({"config_txt": [{"setting": "a"}]}, "value is missing for a"),
        ({"config_txt": [{"setting": "a", "value": True}]}, "value is the boolean true for a; expected text"),
        (
            {"config_txt": [{"setting": "a", "value": 1.30}]},
            "value is the number 1.3 for a; expected text or",
        ),
        ({"config_txt": [{"setting": None, "value": "a"}]}, "setting of entry 1 is null; expected text"),
        ({"config_txt": [{"setting": True, "value": "a"}]}, "setting of entry 1 is the boolean true"),
        ({"config_txt": [{"section": 4, "setting": "a", "value": 1}]}, "section of entry 1 is the number 4"),
        ({"config_txt": [{"setting": "a", "stat": "absent"}]}, "config_txt.stat"),
        ({"cmdline": {"present": ["quiet", False]}}, "'present' has the boolean false as entry 2"),
        ({"cmdline": {"absent": [1.30]}}, "'absent' has the number 1.3 as entry 1; expected text: put it in"),
        ({"cmdline": {"present": [["a"]]}}, "'present' has a list as entry 1; expected text."),
        ({"cmdline": {"set": {"panic": None}}}, "'set' has None (NoneType) for 'panic'"),
        ({"cmdline": {"absent": "console=serial0,115200"}}, "'absent' is the text 'console=serial0,115200'"),
        ({"cmdline": {"presnt": ["a"]}}, "cmdline.presnt"),
        ({"files": [{"path": "a", "content": 1234}]}, "'content' of the file 'a' is a number; expected text"),
        ({"files": [{"path": "a", "content": {"psk": "x"}}]}, "'content' of the file 'a' is a mapping"),
        ({"cmdline": {"present": ["a b"]}}, "more than one token"),
        ({"cmdline": {"absent": ["root=PARTUUID=4d8097e2-02"]}}, "would be left without root="),
    ],
)
def test_refusals(card: Card, options: dict[str, Any], reason: str) -> None:
    image = card.path.read_bytes()
    for check in (True, False):
        result = run(card, check=check, **options)
        assert result.get("failed"), result
        assert reason in result["msg"]
        assert "Traceback" not in result["msg"]
        assert card.path.read_bytes() == image


def test_what_does_not_fit_is_refused(card: Card, tmp_path: Path) -> None:
    # Not as text, with which ansible-core is busy for seconds.
    (tmp_path / "large").write_bytes(bytes(10_000_000))
    files = [{"path": "a", "src": str(tmp_path / "large")}]
    test_refusals(card, {"files": files}, "bytes free; expected at least 10")


# Each command of mtools that changes the file system, before it and while it runs.
COMMANDS = {
    "files are staged": "mcopy.*bramble.new",
    "a folder is made": "mmd",
    "files of the top folder are moved": "mmove.*bramble.new/0",
    "files of another folder are moved": "mmove.*bramble.new/1",
    "files are removed": "mdel'",
    "the staging folder is removed": "mdeltree",
}
MOMENTS = [
    Moment(f"{when} {name}", "subprocess.Popen", pattern, during=when == "while")
    for name, pattern in COMMANDS.items()
    for when in ("before", "while")
]


@pytest.mark.some(8)
@pytest.mark.parametrize("moment", MOMENTS, ids=moment_name)
def test_killed_at_any_moment_it_goes_on(card: Card, wish: dict[str, Any], moment: Moment) -> None:
    kept = set(FILES) - {"config.txt", "cmdline.txt", "issue.txt"}
    wish["files"].append({"path": "new/file", "content": "in a new folder\n"})
    # A command of mtools takes some milliseconds.
    seconds = chance(moment.name).uniform(0, 0.004)
    print(f"killed {seconds:.4f} s after it began" if moment.during else "killed before it began")
    killed = subprocess.run(
        moment.command(MODULE, seconds=seconds, group=True),
        input=arguments(card, wish),
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        start_new_session=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stdout + killed.stderr
    before = card.files()
    assert {name: before[name] for name in kept} == {name: FILES[name] for name in kept}

    result = run(card, **wish)
    assert "failed" not in result, result
    after = card.files()
    assert after["userconf.txt"] == b"pi:$6$salt$hash\n"
    assert after["new/file"] == b"in a new folder\n"
    assert not any(name.startswith("bramble.new") for name in after)
    assert not run(card, check=True, **wish)["changed"]
    card.check(killed=True)
