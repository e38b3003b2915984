# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the playbooks have beside their roles, variables of their own and tags, and what a run was given."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from ansible import context
from ansible.module_utils.common.yaml import yaml_load
from ansible.parsing.dataloader import DataLoader
from ansible.utils.vars import load_extra_vars

FOLDER = Path(__file__).resolve().parents[3] / "playbooks"
_COLLECTION = "bramble.pi."

#: The variables that belong to no role, by playbook, in the form of a role's options.
OPTIONS: dict[str, dict[str, dict[str, Any]]] = {
    "netboot_boards": {
        # A pattern of hosts.
        "netboot_boards": {"type": "raw"},
        "netboot_boards_settings": {"type": "dict"},
        "netboot_boards_otp": {"type": "bool"},
    },
    "scan": {
        "scan_from": {"type": "str"},
        "scan_network": {"type": "str"},
        "scan_listen": {"type": "int"},
        "scan_file": {"type": "path"},
    },
    "start": {
        "start_folder": {"type": "str"},
        "start_shape": {"type": "str"},
        "start_search": {"type": "str"},
        "start_nodes": {"type": "str"},
        "start_address": {"type": "str"},
        "start_user": {"type": "str"},
        "start_wifi_ssid": {"type": "str"},
        "start_wifi_country": {"type": "str"},
        "start_wifi_psk": {"type": "str"},
        "start_network": {"type": "str"},
        "start_gateway": {"type": "str"},
        "start_boards": {"type": "list"},
        "start_image": {"type": "str"},
        "start_image_list": {"type": "str"},
        "start_timezone": {"type": "str"},
    },
}


def extra_variables() -> list[str]:
    """Name the variables that this run was given with -e."""
    # Ansible has read them, and keeps them: no file is read again, nor opened with a password.
    return [name for name in load_extra_vars(DataLoader()) if isinstance(name, str)]


def _ours(playbook: str) -> Path | None:
    """Find the file of a playbook of this collection; one of the user's own is none.

    In a checkout one may lie beside site.yml, or beside ours in playbooks/.
    """
    path = Path(playbook)
    if playbook.startswith(_COLLECTION):
        path = FOLDER / f"{playbook[len(_COLLECTION) :]}.yml"
    path = path.resolve()
    ours = path.parent == FOLDER or path == FOLDER.parent / "site.yml"
    return path if ours and path.is_file() else None


def _tags(found: Any, path: Path) -> Iterator[str]:
    if isinstance(found, list):
        for entry in found:
            yield from _tags(entry, path)
    elif isinstance(found, dict):
        for key, value in found.items():
            if key == "tags":
                yield from [value] if isinstance(value, str) else value
            elif key == "ansible.builtin.import_playbook":
                yield from tags_in(path.parent / value)
            else:
                yield from _tags(value, path)


def tags_in(path: Path) -> Iterator[str]:
    """Read the tags of a playbook of this collection, and of those that it imports; roles add none."""
    yield from _tags(yaml_load(path.read_text(encoding="utf-8")), path)


def tags_of_run(playbooks: Sequence[str] | None = None) -> set[str] | None:
    """Return the tags of the playbooks that this run was given; None if one is the user's own.

    What a user's own playbook includes, and with which tags, is known only once it is there.
    """
    given = context.CLIARGS.get("args", ()) if playbooks is None else playbooks
    found = [_ours(str(playbook)) for playbook in given]
    if not found or None in found:
        return None
    try:
        return {tag for path in found if path for tag in tags_in(path)}
    except (OSError, yaml.YAMLError):
        return None  # Ours have nothing that cannot be read so: it is the user's own.
