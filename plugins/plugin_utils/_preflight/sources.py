# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether Ansible has read the whole inventory: what it could not read is a warning to it, and left out."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from ansible.errors import AnsibleError
from ansible.inventory.data import InventoryData
from ansible.inventory.manager import IGNORED
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import inventory_loader
from ansible_collections.bramble.pi.plugins.plugin_utils._preflight import variable_files, yaml_inventory

#: What Ansible reads where no inventory is given.
DEFAULT = "/etc/ansible/hosts"
#: Names of files that are an inventory, or part of one; a folder may hold others beside them.
YAML = (".yml", ".yaml", ".json")
OTHERS = (".ini", ".toml")
NAMES = ("hosts", "inventory")
VAULT = "$ANSIBLE_VAULT"


def _files(folder: Path) -> Iterator[Path]:
    """Find the files of a folder that Ansible tries to read."""
    for path in sorted(folder.iterdir()):
        if not IGNORED.search(os.fsencode(path.name)):
            if path.is_dir():
                yield from _files(path)
            else:
                yield path


def _is_read_otherwise(path: Path) -> bool:
    """Tell whether Ansible reads a file that is not YAML: as INI under any name, as TOML under its own."""
    reader = inventory_loader.get("toml" if path.suffix == ".toml" else "ini")
    try:
        reader.parse(InventoryData(), DataLoader(), str(path))
    except (AnsibleError, OSError, TypeError, ValueError):
        return False
    return True


def _file_problems(path: Path, *, named: bool) -> Iterator[str]:
    """Say what Ansible has not read of a file, which is ``named`` or one of a folder that is."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        yield f"it cannot be read ({error.strerror}); expected a file that the user of Ansible can read"
        return
    except UnicodeDecodeError:
        if named or path.suffix in (*YAML, *OTHERS):
            yield "it is not text in UTF-8; expected an inventory"
        return
    # A script is run by Ansible, and what is encrypted is opened by it.
    if (text.startswith("#!") and os.access(path, os.X_OK)) or text.startswith(VAULT):
        return
    sure = named or path.stem in NAMES
    meant = sure or path.suffix in (*YAML, *OTHERS)
    data: object = None
    found: list[str] = []
    if path.suffix in ("", *YAML):
        try:
            data, duplicates = yaml_inventory.load(text)
        except yaml_inventory.YamlInventoryError as error:
            tab = "; indent with blanks, not with tabs" if "\t" in text else ""
            found = [f"{error}; expected YAML that goes on to its end{tab}"]
        else:
            if isinstance(data, Mapping) and "plugin" in data:
                return  # Settings of a plugin, which asks elsewhere.
            if isinstance(data, Mapping) and not sure and not yaml_inventory.is_inventory(data):
                return  # Variables, or settings of something else.
            found = list(yaml_inventory.problems(data, duplicates))
            meant = meant or yaml_inventory.is_inventory(data)
    elif meant:
        found = ["it is neither INI nor TOML that Ansible reads; expected an inventory"]
    if meant and found and (isinstance(data, Mapping) or not _is_read_otherwise(path)):
        yield from found


def needed_problems(
    sources: Sequence[str], groups: Mapping[str, Sequence[str]], needed: Sequence[str]
) -> list[str]:
    """Say that none of the groups that a playbook works on has a host."""
    if not needed or any(groups.get(group) for group in needed):
        return []
    names = f"group {needed[0]}" if len(needed) == 1 else f"groups {', '.join(needed)}"
    return [
        f"the inventory {', '.join(sources)} has no host in the {names}; expected one at least: put it there "
        "in hosts.yml, or run ansible-playbook with -i and the path of another inventory"
    ]


def problems(sources: Sequence[str], *, groups: Collection[str], optional: bool) -> list[str]:
    """Say what of the sources of an inventory was not read.

    ``groups``: the names of all groups; ``optional``: there may be no inventory.
    """
    found: list[str] = []
    for source in sources:
        path = Path(source)
        if "," in source:
            continue  # A list of hosts.
        if not path.exists():
            if source == DEFAULT:
                if not optional:
                    found.append(
                        "no inventory is given; expected the folder or file of the rack's: run "
                        "ansible-playbook -i my-rack"
                    )
            else:
                found.append(
                    f"the inventory {source} does not exist; expected a folder or file: run "
                    "ansible-playbook with -i and its path"
                )
            continue
        files = list(_files(path)) if path.is_dir() else [path]
        if not files:
            found.append(f"the inventory {source} is a folder without files; expected hosts.yml in it")
        for file in files:
            found += [
                f"the inventory {file}: {text}" for text in _file_problems(file, named=not path.is_dir())
            ]
        found += variable_files.problems(path, groups)
    # Two sources may lie in one folder.
    return list(dict.fromkeys(found))
