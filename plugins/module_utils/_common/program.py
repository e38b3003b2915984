# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs that run without a controller: this collection's own code, as what Python runs by its path."""

from __future__ import annotations

import ast
import inspect
import io
import os
import sys
import zipfile
from collections.abc import Iterator
from types import ModuleType

from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.files import (
    read_text,
    replace_file,
    write_text,
)

_PACKAGE = "ansible_collections."
#: The same files make the same program.
_DATE = (2020, 1, 1, 0, 0, 0)


def sources(start: ModuleType) -> dict[str, str]:
    """Return the files that a module's code imports, one after the other, by their name in the program."""
    found = {"__main__.py": f"from {start.__name__} import main\n\nmain()\n"}
    left = [start.__name__]
    while left:
        name = left.pop()
        module = sys.modules[name]
        path = name.replace(".", "/")
        path = f"{path}/__init__.py" if hasattr(module, "__path__") else f"{path}.py"
        if path in found:
            continue
        found[path] = _source(module)
        parts = name.split(".")
        for number in range(1, len(parts)):
            found.setdefault("/".join([*parts[:number], "__init__.py"]), "")
        left += [each for each in _imported(found[path]) if each in sys.modules]
    return found


def _source(module: ModuleType) -> str:
    try:
        return inspect.getsource(module)
    except (OSError, TypeError):
        # A package without a file of its own, or an empty one.
        return ""


def _imported(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(_PACKAGE):
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def program(start: ModuleType) -> bytes:
    """Return the program that begins with a module's main(), a zip archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in sorted(sources(start).items()):
            archive.writestr(zipfile.ZipInfo(name, _DATE), text)
    return buffer.getvalue()


def install(start: ModuleType, path: str, changes: Changes) -> None:
    """Have the program there, as one file."""
    expected = program(start)
    try:
        with open(path, "rb") as file:
            present = file.read()
    except FileNotFoundError:
        present = None
    if present != expected and changes.note(f"write {path}"):
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        replace_file(path, expected, mode=0o755)


def install_folder(start: ModuleType, path: str, changes: Changes) -> None:
    """Have the program there, as a folder: of one that runs often, Python keeps what it has compiled."""
    expected = sources(start)
    present = {
        os.path.relpath(os.path.join(folder, name), path): read_text(os.path.join(folder, name)) or ""
        for folder, _folders, names in os.walk(path)
        for name in names
        if name.endswith(".py")
    }
    if present != expected and changes.note(f"write {path}"):
        for name in present.keys() - expected.keys():
            os.unlink(os.path.join(path, name))
        for name, text in expected.items():
            if present.get(name) != text:
                write_text(os.path.join(path, name), text)
