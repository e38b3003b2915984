# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of variables beside an inventory that Ansible never opens, without a word."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator
from pathlib import Path

from ansible import constants

#: How like a group's name that of a file has to be to count as a misspelling of it.
_MISSPELT = 0.8


def problems(source: Path, groups: Collection[str]) -> Iterator[str]:
    """Say which files beside an inventory, a file or a folder, are not read.

    ``groups``: the names of all groups.
    """
    base = source if source.is_dir() else source.parent
    for folder in (base / "group_vars", base / "host_vars"):
        if folder.is_dir():
            yield from _shadowed(folder)
    if (base / "group_vars").is_dir():
        yield from _misspelt(base / "group_vars", groups)


def _endings() -> list[str]:
    """List what a name may end in, in Ansible's order: it reads the first one that exists."""
    return ["", *constants.config.get_config_value("YAML_FILENAME_EXTENSIONS")]


def _stem(path: Path) -> str:
    """Return the name of the host or group that a file is for."""
    return path.stem if path.suffix in _endings()[1:] else path.name


def _shadowed(folder: Path) -> Iterator[str]:
    for name in sorted({_stem(path) for path in folder.iterdir()}):
        paths = [path for ending in _endings() if (path := folder / f"{name}{ending}").exists()]
        for path in paths[1:]:
            place = f"move it to {paths[0]}/" if paths[0].is_dir() else f"put its variables into {paths[0]}"
            yield f"{path} is not read, as {paths[0]} is read instead; expected one of them: {place}"


def _misspelt(folder: Path, groups: Collection[str]) -> Iterator[str]:
    """Name files for a group that there is not and that is almost another one, which has no file."""
    with_files = {_stem(path) for path in folder.iterdir()}
    without_files = sorted(name for name in groups if name not in with_files)
    for path in sorted(folder.iterdir()):
        if _stem(path) not in groups:
            like = difflib.get_close_matches(_stem(path), without_files, n=1, cutoff=_MISSPELT)
            if like:
                expected = f"{like[0]}{path.suffix if path.is_file() else ''}"
                yield (
                    f"{path} is not read, as there is no group {_stem(path)}; expected the name of a group, "
                    f"such as {expected}: rename it, or remove it"
                )
