# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The structure that docs/architecture.md draws: rooms on floors, imports that only run downwards."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scripts.draw_rooms import DRAWING, FLOORS, PLUGINS, ROOT, drawing, imports, room_of, source_files

FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
#: The longest that a file gets.
LINES = 450


def name_of(path: Path) -> str:
    return str(path.relative_to(PLUGINS))


@pytest.mark.parametrize("path", source_files(), ids=name_of)
def test_imports_run_downwards(path: Path) -> None:
    room = room_of(path.relative_to(PLUGINS).parts)
    upwards = [
        f"{path.name}:{found.line} imports {found.module}.{found.name}"
        for found in imports(path)
        if found.room != room and FLOOR[found.room] >= FLOOR[room]
    ]
    assert upwards == []


def test_imports_within_a_room_make_no_circle() -> None:
    graph = {
        ".".join(path.relative_to(PLUGINS).with_suffix("").parts): {
            target
            for found in imports(path)
            for target in (found.module, f"{found.module}.{found.name}")
            if (PLUGINS / (target.replace(".", "/") + ".py")).exists()
        }
        for path in source_files()
    }
    # What imports nothing that is left can be taken away; a circle is what stays.
    while free := {name for name, targets in graph.items() if not targets & graph.keys()}:
        graph = {name: targets for name, targets in graph.items() if name not in free}
    assert graph == {}


@pytest.mark.parametrize("path", source_files(), ids=name_of)
def test_modules_are_imported_by_their_subject_s_name(path: Path) -> None:
    for found in imports(path):
        is_module = (PLUGINS / found.module.replace(".", "/") / f"{found.name}.py").exists()
        if is_module and found.alias is not None:
            # Its subject stays; what stands before it says whose.
            assert found.alias.endswith(f"_{found.name}"), f"{path.name}:{found.line}"


@pytest.mark.parametrize("folder", ["module_utils", "plugin_utils"])
def test_every_file_is_in_a_room(folder: str) -> None:
    assert [path.name for path in (PLUGINS / folder).glob("*.py")] == []
    rooms = {f"{folder}/{path.name}" for path in (PLUGINS / folder).glob("_[a-z]*")}
    assert rooms == {room for room in FLOOR if room.startswith(folder)}


def test_files_are_short_enough_to_be_read() -> None:
    lengths = {name_of(path): path.read_text(encoding="utf-8").count("\n") for path in source_files()}
    assert {name: length for name, length in lengths.items() if length > LINES} == {}


@pytest.mark.parametrize("folder", ["module_utils", "plugin_utils"])
def test_tests_mirror_the_rooms(folder: str) -> None:
    tests = ROOT / "tests" / "unit" / "plugins" / folder
    assert [path.name for path in tests.glob("*.py")] == []
    rooms = {f"{folder}/{test.parent.name}" for test in tests.rglob("test_*.py")}
    assert rooms - FLOOR.keys() == set()


def test_the_drawing_is_that_of_the_code() -> None:
    assert DRAWING.read_text(encoding="utf-8") == drawing(), "run scripts/draw_rooms.py"


def test_what_the_documents_name_is_there() -> None:
    for document in ("docs/architecture.md", "docs/coverage.md", "docs/development.md", "CONTRIBUTING.md"):
        text = (ROOT / document).read_text(encoding="utf-8")
        named = re.findall(
            r"`((?:plugins|roles|playbooks|tests|molecule|scripts|inventories|docs)/[\w./-]*)`", text
        )
        assert named, document
        assert [path for path in named if not (ROOT / path).exists()] == [], document
