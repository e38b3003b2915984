# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._boot.layout import (
    BootLayoutError,
    find_cmdline,
    read_config,
)

FIXTURES = Path(__file__).parents[3] / "fixtures" / "cmdline"


class Tree:
    """The files below a folder that stands for the root."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def read(self, path: str) -> str | None:
        file = self.root / path.lstrip("/")
        return file.read_text() if file.is_file() else None

    def exists(self, path: str) -> bool:
        return os.path.lexists(self.root / path.lstrip("/"))

    def write(self, path: str, text: str = "") -> None:
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


LAYOUTS = {
    "raspios-bullseye": ("boot", "/boot/cmdline.txt"),
    "raspios-bookworm": ("firmware", "/boot/firmware/cmdline.txt"),
    "raspios-trixie": ("firmware", "/boot/firmware/cmdline.txt"),
    "raspios-trixie-zero2": ("firmware", "/boot/firmware/cmdline.txt"),
    "ubuntu-18.04": ("firmware", "/boot/firmware/nobtcmd.txt"),
    "ubuntu-20.04": ("firmware", "/boot/firmware/cmdline.txt"),
    "ubuntu-22.04": ("firmware", "/boot/firmware/cmdline.txt"),
    "ubuntu-24.04": ("firmware", "/boot/firmware/cmdline.txt"),
    "ubuntu-24.04-desktop": ("firmware", "/boot/firmware/cmdline.txt"),
    "ubuntu-25.10": ("ab", "/boot/firmware/current/cmdline.txt"),
    "hypriotos": ("boot", "/boot/cmdline.txt"),
    "debian-bullseye": ("raspi-firmware", "/boot/firmware/cmdline.txt"),
    "debian-bookworm": ("raspi-firmware", "/boot/firmware/cmdline.txt"),
}


def test_a_comment_goes_on_to_the_end_of_its_line(tree: Tree) -> None:
    tree.write("/boot/firmware/config.txt", "# a\u2028os_prefix=x/\x0ccmdline=y.txt\r\narm_64bit=1\r\n")
    config = read_config(files=tree, partition="/boot/firmware")
    assert (config.os_prefix, config.cmdline) == ("", "cmdline.txt")


def test_every_fixture_is_in_the_table() -> None:
    assert {path.name for path in FIXTURES.iterdir() if path.is_dir()} == set(LAYOUTS)


@pytest.mark.parametrize("system", LAYOUTS)
def test_the_file_that_counts_is_found(system: str) -> None:
    layout = find_cmdline(files=Tree(FIXTURES / system))
    assert (layout.name, layout.path) == LAYOUTS[system]
    assert layout.pending is None


def test_the_reason_names_what_decided() -> None:
    assert "os_prefix=current/" in find_cmdline(files=Tree(FIXTURES / "ubuntu-25.10")).why
    assert "cmdline=nobtcmd.txt" in find_cmdline(files=Tree(FIXTURES / "ubuntu-18.04")).why
    assert "z50-raspi-firmware" in find_cmdline(files=Tree(FIXTURES / "debian-bookworm")).why


def test_debian_has_the_line_in_a_file_of_its_own() -> None:
    layout = find_cmdline(files=Tree(FIXTURES / "debian-bookworm"))
    assert layout.source == "/etc/default/raspi-extra-cmdline"
    assert find_cmdline(files=Tree(FIXTURES / "raspios-bookworm")).source is None


@pytest.mark.parametrize(
    ("state", "is_pending"),
    [("unknown\n", True), ("trying\n", True), ("bad\n", False), ("good\n", False), (None, False)],
)
def test_boot_assets_on_trial_have_a_line_of_their_own(
    tree: Tree, state: str | None, is_pending: bool
) -> None:
    tree.write("/boot/firmware/config.txt", "[all]\nos_prefix=current/\n[tryboot]\nos_prefix=new/\n")
    tree.write("/boot/firmware/current/cmdline.txt")
    tree.write("/boot/firmware/new/cmdline.txt")
    if state is not None:
        tree.write("/boot/firmware/new/state", state)
    expected = "/boot/firmware/new/cmdline.txt" if is_pending else None
    assert find_cmdline(files=tree).pending == expected


def test_a_trial_without_a_line_of_its_own_is_none(tree: Tree) -> None:
    tree.write("/boot/firmware/config.txt", "os_prefix=current/\n[tryboot]\nos_prefix=new/\n")
    tree.write("/boot/firmware/current/cmdline.txt")
    tree.write("/boot/firmware/new/state", "unknown")
    assert find_cmdline(files=tree).pending is None


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("", ("", "cmdline.txt", None)),
        ("# os_prefix=a/\n#cmdline=b\n", ("", "cmdline.txt", None)),
        (" os_prefix = current/ \r\n", ("current/", "cmdline.txt", None)),
        ("os_prefix=a/\nos_prefix=b/\n", ("b/", "cmdline.txt", None)),
        ("os_prefix=test-\n", ("test-", "cmdline.txt", None)),
        ("[tryboot]\nos_prefix=new/\n[all]\nos_prefix=current/\n", ("current/", "cmdline.txt", "new/")),
        ("[none]\ncmdline=other.txt\n", ("", "cmdline.txt", None)),
        ("[tryboot]\n[pi4]\nos_prefix=x/\n", ("", "cmdline.txt", None)),
        # The same under a condition and without one is no question.
        ("cmdline=a.txt\n[pi4]\ncmdline=a.txt\n", ("", "a.txt", None)),
        ("include more.txt\n", ("", "included.txt", None)),
        ("[none]\ninclude more.txt\n", ("", "cmdline.txt", None)),
        ("include missing.txt\n", ("", "cmdline.txt", None)),
        ("include config.txt\ncmdline=b.txt\n", ("", "b.txt", None)),
    ],
)
def test_config_is_read_as_by_the_firmware(
    tree: Tree, config: str, expected: tuple[str, str, str | None]
) -> None:
    tree.write("/boot/config.txt", config)
    tree.write("/boot/more.txt", "cmdline=included.txt\n")
    assert tuple(read_config(files=tree, partition="/boot")) == expected


def test_a_line_for_some_boards_is_not_guessed_at(tree: Tree) -> None:
    tree.write("/boot/firmware/config.txt", "cmdline=cmdline.txt\n[pi4]\ncmdline=pi4.txt\n")
    tree.write("/boot/firmware/cmdline.txt")
    with pytest.raises(BootLayoutError, match=r"cmdline=pi4\.txt under \[pi4\].*Set 'path'"):
        find_cmdline(files=tree)


def test_a_prefix_without_a_folder_is_ignored_as_by_the_firmware(tree: Tree) -> None:
    tree.write("/boot/firmware/config.txt", "os_prefix=gone/\n")
    tree.write("/boot/firmware/cmdline.txt")
    layout = find_cmdline(files=tree)
    assert layout.path == "/boot/firmware/cmdline.txt"
    assert "os_prefix=gone/ is ignored" in layout.why


def test_a_prefix_with_a_folder_is_not_given_up(tree: Tree) -> None:
    tree.write("/boot/firmware/config.txt", "os_prefix=current/\n")
    tree.write("/boot/firmware/current/vmlinuz")
    tree.write("/boot/firmware/cmdline.txt")
    with pytest.raises(BootLayoutError, match=r"looked for /boot/firmware/current/cmdline\.txt\. Mount"):
        find_cmdline(files=tree)


@pytest.mark.parametrize(
    "path", ["/boot/firmware/current/cmdline.txt", "/boot/firmware/cmdline.txt", "/boot/cmdline.txt"]
)
def test_without_config_the_file_is_found_where_it_is(tree: Tree, path: str) -> None:
    tree.write(path)
    layout = find_cmdline(files=tree)
    assert layout.path == path
    assert "no config.txt" in layout.why


def test_the_boot_partition_is_not_left_for_a_file_elsewhere(tree: Tree) -> None:
    tree.write("/boot/firmware/config.txt")
    tree.write("/boot/cmdline.txt", "DO NOT EDIT THIS FILE\n")
    with pytest.raises(BootLayoutError, match=r"looked for /boot/firmware/cmdline\.txt\. Mount"):
        find_cmdline(files=tree)


def test_a_link_to_nowhere_is_found(tree: Tree) -> None:
    tree.write("/boot/firmware/other")
    (tree.root / "boot/cmdline.txt").symlink_to("firmware/cmdline.txt")
    assert find_cmdline(files=tree).path == "/boot/cmdline.txt"


def test_nothing_found_names_every_place(tree: Tree) -> None:
    with pytest.raises(BootLayoutError) as caught:
        find_cmdline(files=tree)
    assert "/boot/firmware/cmdline.txt, /boot/cmdline.txt" in str(caught.value)
    assert "'path'" in str(caught.value)
