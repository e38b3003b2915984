# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module itself, in a process of its own and on real files."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.kill import Moment
from tests.unit.python_server import run_python

REPOSITORY = Path(__file__).parents[4]
FIXTURES = REPOSITORY / "tests/unit/fixtures"
MODULE = REPOSITORY / "plugins/modules/config_txt.py"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(REPOSITORY / ".collections")}

OLD = (FIXTURES / "config_txt/raspios-trixie.txt").read_text()
NEW = OLD.replace("arm_boost=1", "arm_boost=0") + "dtoverlay=disable-wifi\n"
WISH: list[dict[str, Any]] = [
    {"setting": "dtoverlay", "value": "disable-wifi"},
    {"setting": "arm_boost", "value": 0},
]


def run(command: list[str], options: dict[str, Any], *, check: bool = False) -> dict[str, Any]:
    arguments = {"ANSIBLE_MODULE_ARGS": {**options, "_ansible_check_mode": check}}
    done = subprocess.run(
        command, input=json.dumps(arguments), capture_output=True, text=True, env=ENVIRONMENT, check=False
    )
    assert done.stdout, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def run_here(options: dict[str, Any], *, check: bool = False) -> dict[str, Any]:
    """Run the module on this machine's own files."""
    arguments = {"ANSIBLE_MODULE_ARGS": {**options, "_ansible_check_mode": check}}
    done = run_python([MODULE], text=json.dumps(arguments), environment=ENVIRONMENT)
    assert done.stdout, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


# A card that is mounted elsewhere


class Card:
    def __init__(self, folder: Path) -> None:
        self.folder = folder / "card"
        self.folder.mkdir()
        self.config = self.folder / "config.txt"
        self.config.write_text(OLD)
        self.backup = self.folder / "config.txt.bramble-original"

    def run(self, settings: list[dict[str, Any]], *, check: bool = False, **options: Any) -> dict[str, Any]:
        arguments = {"path": str(self.config), "settings": settings, **options}
        return run_here(arguments, check=check)


@pytest.fixture
def card(tmp_path: Path) -> Card:
    return Card(tmp_path)


def test_check_apply_check_apply(card: Card) -> None:
    checked = card.run(WISH, check=True)
    assert card.config.read_text() == OLD
    assert not card.backup.exists()

    applied = card.run(WISH)
    assert {key: checked[key] for key in applied if key in checked} | {"size": 0} == applied | {"size": 0}
    assert applied["changed"]
    assert applied["path"] == str(card.config)
    assert applied["changed_files"] == [str(card.config)]
    assert applied["backup_file"] == str(card.backup)
    assert [(diff["before"], diff["after"]) for diff in applied["diff"]] == [(OLD, NEW)]
    assert not applied["reboot_required"], "this machine does not boot with it"
    assert card.config.read_text() == NEW
    assert card.backup.read_text() == OLD

    for check in (True, False):
        again = card.run(WISH, check=check)
        assert not again["changed"]
        assert (again["changed_files"], again["diff"]) == ([], [])
        assert again["backup_file"] == str(card.backup)
    assert sorted(path.name for path in card.folder.iterdir()) == ["config.txt", card.backup.name]


def test_no_backup_on_wish(card: Card) -> None:
    assert card.run(WISH, backup=False)["backup_file"] is None
    assert not card.backup.exists()


def test_bytes_that_are_no_text_stay(card: Card) -> None:
    content = b"# caf\xe9\r\na=1\r\n"
    card.config.write_bytes(content)
    card.run([{"setting": "a", "value": "2"}])
    assert card.config.read_bytes() == content.replace(b"a=1", b"a=2")


@pytest.mark.parametrize(
    ("settings", "options", "reason"),
    [
        ([{"setting": "a"}], {}, "value is missing for a"),
        ([{"setting": "a", "value": "x" * 99}], {}, "ignores what is beyond 98"),
        ([{"setting": "a", "value": "1", "section": "[pi4]"}], {}, "without brackets"),
        ([{"setting": "a", "value": True}], {}, "or write 1 for a YAML word such as yes or on"),
        ([{"setting": True, "value": 1}], {}, "setting of entry 1 is the boolean true; expected text"),
        ([{"setting": "a", "value": 1}, {"setting": None, "value": 1}], {}, "setting of entry 2 is null"),
        ([{"setting": "a", "value": 1, "section": 4}], {}, "section of entry 1 is the number 4"),
        ([{"setting": "a", "value": 1}, {"setting": "a", "value": 2}], {}, "give a once"),
        (WISH, {"path": "/no/such/config.txt"}, "/no/such/config.txt does not exist"),
        (WISH, {"path": "/dev"}, "is not a regular file"),
    ],
)
def test_refusals_touch_nothing(
    card: Card, settings: list[dict[str, Any]], options: dict[str, Any], reason: str
) -> None:
    for check in (True, False):
        result = card.run(settings, check=check, **options)
        assert result.get("failed"), result
        assert reason in result["msg"]
        assert "Traceback" not in result["msg"]
    assert [path.name for path in card.folder.iterdir()] == ["config.txt"]
    assert card.config.read_text() == OLD


def test_an_included_file_that_says_otherwise_is_named(card: Card) -> None:
    (card.folder / "user.txt").write_text("arm_boost=1\n")
    card.config.write_text(OLD + "include user.txt\n")
    (warning,) = card.run(WISH)["warnings"]
    assert "user.txt, which config.txt includes, has 'arm_boost=1'" in json.dumps(warning)


# A node, in a mount namespace where these folders are the real ones

FOLDERS = ("boot", "etc", "run")


class Node:
    def __init__(self, root: Path) -> None:
        self.root = root
        for folder in (*FOLDERS, "boot/firmware", "etc/default"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        self.config = root / "boot/firmware/config.txt"
        self.config.write_text(OLD)

    def use(self, system: str) -> None:
        shutil.rmtree(self.root / "boot")
        shutil.copytree(FIXTURES / "cmdline" / system, self.root, dirs_exist_ok=True)

    def reboot(self) -> None:
        shutil.rmtree(self.root / "run")
        (self.root / "run").mkdir()

    def command(self, *command: str) -> list[str]:
        mounts = "".join(f"mount --bind {shlex.quote(str(self.root / name))} /{name} && " for name in FOLDERS)
        return ["unshare", "--mount", "sh", "-c", f"{mounts} exec {shlex.join(command)}"]

    def run(self, settings: list[dict[str, Any]], *, check: bool = False, **options: Any) -> dict[str, Any]:
        return run(self.command(sys.executable, str(MODULE)), {"settings": settings, **options}, check=check)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path / "root")


def test_a_reboot_is_required_until_it_was_done(node: Node) -> None:
    assert not node.run([])["reboot_required"]
    checked = node.run(WISH, check=True)
    assert checked["reboot_required"]
    assert not list((node.root / "run").iterdir())

    applied = node.run(WISH)
    assert (applied["changed"], applied["reboot_required"]) == (True, True)
    assert applied["path"] == "/boot/firmware/config.txt"
    assert node.config.read_text() == NEW
    # A run that was ended before the reboot is taken up again.
    for check in (True, False):
        again = node.run(WISH, check=check)
        assert (again["changed"], again["reboot_required"]) == (False, True)
    # The same file by its name.
    assert node.run(WISH, path="/boot/firmware/config.txt")["reboot_required"]

    node.reboot()
    assert not node.run(WISH)["reboot_required"]


def test_an_edit_that_is_undone_needs_no_reboot(node: Node) -> None:
    assert node.run([{"setting": "gpu_mem", "value": 16}])["reboot_required"]
    assert not node.run([{"setting": "gpu_mem", "state": "absent"}])["reboot_required"]
    assert node.config.read_text() == OLD


@pytest.mark.parametrize(
    ("system", "path"),
    [
        ("raspios-bookworm", "/boot/firmware/config.txt"),
        ("raspios-bullseye", "/boot/config.txt"),
        ("hypriotos", "/boot/config.txt"),
        ("ubuntu-25.10", "/boot/firmware/config.txt"),
    ],
)
def test_the_file_is_found(node: Node, system: str, path: str) -> None:
    node.use(system)
    result = node.run(WISH)
    assert (result["changed"], result["path"], result["changed_files"]) == (True, path, [path])
    assert "dtoverlay=disable-wifi\n" in (node.root / path.lstrip("/")).read_text()


def test_a_boot_partition_that_is_not_mounted_is_noticed(node: Node) -> None:
    node.use("raspios-bookworm")
    (node.root / "boot/firmware/config.txt").unlink()
    assert "only says that the file has moved to /boot/firmware/config.txt" in node.run(WISH)["msg"]
    (node.root / "boot/config.txt").unlink()
    assert "there is no config.txt; looked for /boot/firmware/config.txt" in node.run(WISH)["msg"]


def test_a_read_only_boot_partition_is_named(node: Node) -> None:
    read_only = "mount --bind /boot/firmware /boot/firmware && mount -o remount,bind,ro /boot/firmware"
    command = node.command("sh", "-c", f"{read_only} && exec {sys.executable} {MODULE}")
    for check in (True, False):
        result = run(command, {"settings": WISH}, check=check)
        assert "mount -o remount,rw /boot/firmware" in result["msg"]
    assert not list((node.root / "run").glob("bramble*"))


def test_a_generated_file_is_edited_with_its_source(node: Node) -> None:
    node.use("debian-bookworm")
    config = node.root / "boot/firmware/config.txt"
    source = node.root / "etc/default/raspi-firmware-custom"
    generated = config.read_text()
    wish: list[dict[str, Any]] = [
        {"setting": "arm_64bit", "value": 1},
        {"setting": "enable_uart", "value": 0},
        {"setting": "upstream_kernel", "state": "absent"},
        {"section": "pi4", "setting": "arm_boost", "value": 1},
    ]
    checked = node.run(wish, check=True)
    assert checked["changed_files"] == ["/etc/default/raspi-firmware-custom", "/boot/firmware/config.txt"]
    assert not source.exists()

    result = node.run(wish)
    (warning,) = result["warnings"]
    assert "upstream_kernel" in json.dumps(warning)
    assert "comes back with the next update of a kernel" in json.dumps(warning)
    assert source.read_text() == "enable_uart=0\n\n[pi4]\narm_boost=1\n\n[all]\n"
    assert "enable_uart=0\n" in config.read_text()
    assert "upstream_kernel" not in config.read_text()
    again = node.run(wish)
    assert not again["changed"]
    assert "warnings" not in again

    # The next update of a kernel.
    config.write_text(generated + source.read_text())
    assert not node.run([wish[0], wish[1], wish[3]])["changed"]


# A process that is killed

EVENTS = "open|os.chmod|os.chown|os.listdir|os.remove|os.rename"


def test_a_kill_at_any_point_leaves_one_of_both_files_and_is_recovered_from(node: Node) -> None:
    options = json.dumps({"ANSIBLE_MODULE_ARGS": {"settings": WISH}})
    seen = set()
    for count in range(1, 100):
        node.config.write_text(OLD)
        node.reboot()
        backup = node.config.with_name("config.txt.bramble-original")
        backup.unlink(missing_ok=True)
        done = subprocess.run(
            node.command(*Moment("", EVENTS, "(^| )/(boot|run)/", count).command(MODULE)),
            input=options,
            capture_output=True,
            text=True,
            env=ENVIRONMENT,
            check=False,
        )
        seen.add(node.config.read_text())
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        # The next run knows that the firmware has read the old file.
        result = node.run(WISH)
        assert result["reboot_required"]
        assert node.config.read_text() == NEW
        assert backup.read_text() == OLD
        assert sorted(path.name for path in node.config.parent.iterdir()) == ["config.txt", backup.name]
    assert count > 8
    assert seen == {OLD, NEW}
