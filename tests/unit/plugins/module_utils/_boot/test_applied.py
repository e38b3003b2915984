# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A seed takes away what its predecessor brought, and what the image has comes back as the image has it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._boot.applied import (
    KEY,
    Applied,
    applied,
    parse_applied,
    with_removals,
)
from ansible_collections.bramble.pi.plugins.module_utils._boot.folder import FolderBoot
from ansible_collections.bramble.pi.plugins.module_utils._boot.partition import apply_seed, make_seed

from tests.unit.boot_card import read_tree, write_tree

CONFIG = b"[pi4]\narm_boost=1\n[all]\ngpu_mem=64\ndtparam=audio=on\ndtoverlay=vc4-kms-v3d\n"
IMAGE = {
    "config.txt": CONFIG,
    "cmdline.txt": b"console=serial0,115200 console=tty1 root=PARTUUID=1-02 rootwait quiet\n",
    "issue.txt": b"of the image\n",
    "overlays/x.dtbo": b"x",
}


def line(text: bytes) -> list[str]:
    return sorted(text.decode().split())


def after(tmp_path: Path, *seeds: dict[str, Any]) -> dict[str, bytes]:
    """Apply seeds one after the other, each knowing only what the card tells of the one before."""
    image = FolderBoot(path=str(write_tree(tmp_path / "image", IMAGE)))
    card = write_tree(tmp_path / "card", IMAGE)
    before = Applied()
    for asked in seeds:
        files = {name: text.encode() for name, text in asked.get("files", {}).items()}
        seed = make_seed(**{**asked, "files": files})
        merged = with_removals(seed=seed, before=before, image=image)
        apply_seed(boot=FolderBoot(path=str(card)), seed=merged, dry_run=False)
        assert apply_seed(boot=FolderBoot(path=str(card)), seed=merged, dry_run=True).changed == []
        before = parse_applied(content=json.dumps({KEY: applied(seed=seed)}).encode())
    return read_tree(card)


@pytest.mark.parametrize(
    "first",
    [
        {"files": {"notes.txt": "secret", "new/a": "a"}},
        # What the image has itself comes back, and does not go.
        {"files": {"ISSUE.txt": "mine", "overlays/x.dtbo": "y"}},
        {"files": {"config.txt": "[all]\n"}},
        {"config_txt": [{"setting": "dtoverlay", "value": "disable-wifi"}]},
        {"config_txt": [{"setting": "dtoverlay", "value": "vc4-kms-v3d"}]},
        {"config_txt": [{"setting": "gpu_mem", "value": 16}]},
        {"config_txt": [{"setting": "dtparam", "value": "audio=off,spi=on"}]},
        {"config_txt": [{"section": "pi4", "setting": "arm_boost", "value": 0}]},
        {"config_txt": [{"section": "pi4", "setting": "arm_freq", "value": 1500}]},
        {"cmdline": {"present": ["cgroup_enable=memory", "quiet"], "set": {"panic": 10}}},
        {"cmdline": {"set": {"console": "tty3"}}},
    ],
)
def test_what_is_taken_out_is_gone(tmp_path: Path, first: dict[str, Any]) -> None:
    found = after(tmp_path, first, {"files": {"user-data": "new"}})
    assert found.pop("user-data") == b"new"
    assert line(found.pop("cmdline.txt")) == line(IMAGE["cmdline.txt"])
    config = [text for text in found.pop("config.txt").decode().splitlines() if text != "dtoverlay="]
    assert config == CONFIG.decode().splitlines()
    assert found == {name: data for name, data in IMAGE.items() if name not in ("cmdline.txt", "config.txt")}


def test_what_stays_and_what_others_have_put_there_stays(tmp_path: Path) -> None:
    seed = {
        "files": {"notes.txt": "a"},
        "config_txt": [
            {"setting": "gpu_mem", "value": 16},
            {"setting": "dtparam", "value": "audio=off,i2c=on"},
        ],
        "cmdline": {"present": ["cgroup_enable=memory"], "set": {"panic": 10}},
    }
    other = {
        "files": {"Notes.txt": "b"},
        "config_txt": [{"setting": "gpu_mem", "value": 32}, {"setting": "dtparam", "value": "audio=off"}],
        "cmdline": {"present": ["cgroup_enable=memory"], "set": {"panic": 20}},
    }
    found = after(tmp_path, seed, other)
    assert found["notes.txt"] == b"b"
    assert b"gpu_mem=32\n" in found["config.txt"]
    assert b"audio=off" in found["config.txt"]
    assert b"i2c" not in found["config.txt"]
    assert line(found["cmdline.txt"]) == line(IMAGE["cmdline.txt"] + b" cgroup_enable=memory panic=20")


def test_a_file_given_whole_is_left_as_it_is(tmp_path: Path) -> None:
    first = {"config_txt": [{"setting": "dtoverlay", "value": "disable-wifi"}]}
    text = "[all]\ndtoverlay=disable-wifi\n"
    assert after(tmp_path, first, {"files": {"config.txt": text}})["config.txt"] == text.encode()


def test_the_root_file_system_is_left_as_it_is(tmp_path: Path) -> None:
    found = after(tmp_path, {"cmdline": {"set": {"root": "/dev/sda2"}}}, {})
    assert b"root=/dev/sda2" in found["cmdline.txt"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b'{"applied": 1}',
        b'{"applied": {"files": ["../x"], "config_txt": [], "cmdline": []}}',
        b'{"applied": {"files": "abc", "config_txt": [], "cmdline": [1]}}',
        b'{"applied": {"files": [], "config_txt": [{"a": 1}], "cmdline": []}}',
        b'{"applied": {"files": [], "config_txt": [], "cmdline": "quiet"}}',
        b'{"applied": {"files": {}, "config_txt": [], "cmdline": ["a b"]}}',
    ],
)
def test_a_receipt_of_others_takes_nothing_away(content: bytes) -> None:
    assert parse_applied(content=content) == Applied()
