# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The structure that docs/architecture.md draws: rooms on floors, imports that only run downwards."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

from scripts.draw_rooms import DRAWING, FLOORS, PLUGINS, ROOT, drawing, imports, room_of, source_files

FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
#: The longest that a file gets.
LINES = 450
DOCUMENTS = (
    "docs/architecture.md",
    "docs/coverage.md",
    "docs/development.md",
    "molecule/README.md",
    "CONTRIBUTING.md",
)
#: Calls that no pure file has; what is left of os only splits and joins names.
ACTS = re.compile(
    r"(open|run|read_text|write_text|replace_file|read_file|output_of|open_url|open_image|download|Changes|Systemd)$"
    r"|os\.(?!path\.(abspath|basename|dirname|expanduser|join)$)"
    r"|(fcntl|glob|shutil|socket|subprocess|tempfile|threading|self\._run)\.|time\.sleep"
    r"|.*\.(run|run_command|read_text|write_text|read_bytes|write_bytes)$"
)


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


#: Who a host is and where it is reached: read in one place, so that all say the same of it.
IDENTITY = (
    "ansible_connection",
    "ansible_host",
    "ansible_port",
    "control_plane_cri_socket",
    "node_network_address",
    "os_prep_address",
    "os_prep_hostname",
    "rack_services_mac",
    "workers_cri_socket",
)
IDENTITY_ROOM = "plugin_utils/_inventory/identity.py"
#: Who else may read which of them, and why. A role may read its own inputs.
READERS = {
    # Checks the address with its prefix.
    "plugin_utils/_preflight/rack_network.py": {"node_network_address"},
    # Writes the prefix as well on a card, and the name with which a play includes the role.
    "flash/vars/main.yml": {"node_network_address", "os_prep_hostname"},
    # Moves the host, and says where it is reached from then on.
    "node_network/tasks/main.yml": {"ansible_host"},
    # Makes the hosts.
    "virtual_rack/vars/main.yml": {"ansible_host"},
    "virtual_rack/templates/inventory.yml.j2": {"ansible_host"},
}


def identity_read(path: Path) -> set[str]:
    """Name the variables of a host's identity that code takes by their names."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Subscript):
            taken: list[ast.expr] = [node.slice]
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("get", "value"):
            taken = node.args
        else:
            continue
        found |= {each.value for each in taken if isinstance(each, ast.Constant) and each.value in IDENTITY}
    return found


def identity_in_jinja(path: Path) -> set[str]:
    """Name those that a role or a playbook reads; to set one is another thing."""
    text = re.sub(r"^\s*#.*|^[\s-]*\w+:(?=\s)", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return set(re.findall(rf"\b({'|'.join(IDENTITY)})\b", text))


@pytest.mark.parametrize("path", source_files(), ids=name_of)
def test_who_a_host_is_is_read_in_one_place(path: Path) -> None:
    if name_of(path) != IDENTITY_ROOM:
        assert identity_read(path) <= READERS.get(name_of(path), set())


def test_roles_and_playbooks_ask_who_a_host_is() -> None:
    wrong = {}
    for path in [*ROOT.glob("roles/*/*/*"), *ROOT.glob("playbooks/*.yml")]:
        parts = path.relative_to(ROOT / path.relative_to(ROOT).parts[0])
        if path.suffix not in (".yml", ".j2") or "meta" in parts.parts:
            continue
        allowed = READERS.get(str(parts), set())
        found = {name for name in identity_in_jinja(path) if not name.startswith(f"{parts.parts[0]}_")}
        if found - allowed:
            wrong[str(parts)] = found - allowed
    assert wrong == {}, "ask the filter bramble.pi.rack_host"


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


def test_what_is_in_rooms_is_called() -> None:
    code = {path: path.read_text(encoding="utf-8") for path in source_files()}
    named = Counter(word for text in code.values() for word in re.findall(r"\w+", text))
    # What has a test and no other caller is a rule that nobody follows.
    uncalled = [
        f"{name_of(path)}: {node.name}"
        for path, text in code.items()
        if path.parent.name.startswith("_")
        for node in ast.parse(text).body
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and named[node.name] == 1
    ]
    assert uncalled == []


def test_the_drawing_is_that_of_the_code() -> None:
    assert DRAWING.read_text(encoding="utf-8") == drawing(), "run scripts/draw_rooms.py"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_what_the_documents_name_is_there(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    folders = "plugins|roles|playbooks|tests|molecule|scripts|inventories|docs"
    named = re.findall(rf"`((?:{folders})/[\w./-]*)`", text)
    assert [path for path in named if not (ROOT / path).exists()] == []
    # Files of rooms and their tests, named from the room on.
    in_rooms = re.findall(r"`(_[a-z_]+/\w+\.py)`", text)
    assert [name for name in in_rooms if not files_named(name)] == []
    assert named or in_rooms


def test_functions_that_the_documents_name_are_there() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = re.findall(r"`(_[a-z_]+/\w+\.py)`:\s((?:`[\w.]+\(\)`(?:,?\s(?:and\s)?)?)+)", text)
    assert named
    for name, functions in named:
        code = files_named(name)[0].read_text(encoding="utf-8")
        for function in re.findall(r"(\w+)\(\)", functions):
            assert re.search(rf"^ *(def|class) {function}\b", code, re.MULTILINE), f"{name}: {function}"


def test_pure_and_acting_files_are_those_of_the_table() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+_utils/_\w+)` \| (.*) \|(.*) \|$", text, re.MULTILINE)
    pure = {f"{room}/{name}.py" for room, names, _acting in rows for name in re.findall(r"`(\w+)`", names)}
    acting = {f"{room}/{name}.py" for room, _pure, names in rows for name in re.findall(r"`(\w+)`", names)}
    files = {name_of(path) for path in source_files() if path.parent.name.startswith("_")}
    assert (pure & acting, pure | acting) == (set(), files)
    assert {name: found for name in sorted(pure) if (found := acts(PLUGINS / name))} == {}


def acts(path: Path) -> list[str]:
    """Name the calls of a file that touch more than its arguments."""
    calls = [
        ast.unparse(node.func)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
    ]
    return [call for call in calls if ACTS.match(call)]


def files_named(name: str) -> list[Path]:
    """Find a file of a room, or a test of one, by its name from the room on."""
    tests = ROOT / "tests" / "unit" / "plugins"
    return [path for folder in (PLUGINS, tests) for path in folder.glob(f"*_utils/{name}")]
