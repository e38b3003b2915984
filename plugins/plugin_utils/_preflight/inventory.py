# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the checks need of Ansible: the roles' options, the hosts' variables and the files that they name."""

from __future__ import annotations

import datetime
import re
from collections.abc import Collection, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import jinja2.runtime
from ansible.module_utils.common.yaml import yaml_load
from ansible_collections.bramble.pi.plugins.plugin_utils._add_ons import entries
from ansible_collections.bramble.pi.plugins.plugin_utils._preflight import playbooks
from ansible_collections.bramble.pi.plugins.plugin_utils._preflight.rack import UNKNOWN, Undefined
from jinja2.exceptions import UndefinedError

#: What is defined in a task or a play.
LATER = ("hostvars", "item", "omit", "play_hosts", "role_name", "role_names", "role_path", "vars")
ROLES = Path(__file__).resolve().parents[3] / "roles"
#: What a head joins the outside by, and what any card may be written with.
WIFI = (
    "nat_headnode_wifi_ssid",
    "nat_headnode_wifi_psk",
    "nat_headnode_wifi_country",
    "nat_headnode_wifi_hidden",
)
#: What several roles read: some of its values stand there alone.
SHARED_DEFAULTS = ROLES / "cluster_defaults/defaults/main.yml"


def read_options() -> dict[str, dict[str, dict[str, Any]]]:
    """Read the options of all roles and playbooks, by role or playbook, each with its default."""
    shared = yaml_load(SHARED_DEFAULTS.read_text(encoding="utf-8"))
    specs = dict(playbooks.OPTIONS)
    for path in sorted(ROLES.glob("*/meta/argument_specs.yml")):
        entry_points = yaml_load(path.read_text(encoding="utf-8"))["argument_specs"].values()
        specs[path.parts[-3]] = {
            name: {"default": shared[name], **option} if name in shared else option
            for entry in entry_points
            for name, option in entry.get("options", {}).items()
        }
    return specs


def evaluated(value: Any) -> Any:
    """Evaluate a value to its ends; what cannot be known yet raises UndefinedError."""
    if isinstance(value, jinja2.runtime.Undefined):
        value._fail_with_undefined_error()
    if isinstance(value, Mapping):
        return {key: evaluated(item) for key, item in value.items()}
    if isinstance(value, (Sequence, Set)) and not isinstance(value, (str, bytes)):
        return [evaluated(item) for item in value]
    if value is not None and not isinstance(value, (str, int, float, datetime.date, bytes)):
        # Such as omit, which is not a value.
        raise UndefinedError
    return value


def _undefined(error: UndefinedError, options: Collection[str]) -> Undefined | None:
    """Name the variable that is not defined; None for what roles or Ansible define only later.

    Facts, what the roles have as defaults, and what belongs to a task or a play are not known here.
    """
    match = re.fullmatch(r"'(\w+)' is undefined", str(error.message))
    name = match.group(1) if match else ""
    known = not name or name in options or name in LATER or name.startswith(("_", "ansible_"))
    return None if known else Undefined(name)


def read_variables(
    hostvars: Mapping[str, Any], checked: Collection[str], *, of_cards: Collection[str] = ()
) -> dict[str, Any]:
    """Read the variables of a host, with the values of those that are checked.

    Others are not evaluated: they may ask a vault, or a person. A name that is not a string, such as 5, is
    none of ours; Ansible has a warning for it. What is used for cards alone may have a secret in it that only
    runs of the playbook flash are given; that is the Wi-Fi network as well where no running head joins it.
    """
    undefined = {}
    variables: dict[str, Any] = dict.fromkeys((name for name in hostvars if isinstance(name, str)), UNKNOWN)
    for name in checked:
        if name in hostvars:
            try:
                variables[name] = evaluated(hostvars[name])
            except UndefinedError as error:
                found = _undefined(error, checked)
                if found:
                    undefined[name] = found
    later = {*of_cards} if variables.get("nat_headnode_uplink") == "wifi" else {*of_cards, *WIFI}
    return {**variables, **{name: found for name, found in undefined.items() if name not in later}}


def named_files(hosts: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Read the files on the controller that the inventory names; those that are not there are left out."""
    texts = {}
    for variables in hosts.values():
        for path in (variables.get("rack_services_bootptab"), *_manifests(variables.get("add_ons"))):
            if isinstance(path, str) and path and path not in texts:
                try:
                    texts[path] = Path(path).expanduser().read_text(encoding="utf-8", errors="replace")
                except (OSError, RuntimeError, ValueError):
                    # No such file or home, or a name that no file can have: its check reports it.
                    continue
    return texts


def _manifests(add_ons: Any) -> list[str | None]:
    try:
        return [entries.path_of(url) for url in entries.urls(entries.read(add_ons))]
    except entries.EntryError:
        return []  # check_add_ons reports it.
