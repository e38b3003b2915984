# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an inventory gives to the role flash in other types than it expects, as YAML and Ansible read it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.plays import loaded_once
from tests.unit.preflight_rack import check_row, found

ROOT = Path(__file__).parents[3]
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1lq5CLZ0mP3n7m8yq0wEwTtQzZJ4h2v0r8bD0x9q1X you@laptop"
SECRETS = ("12345678", "342391", "8675309", "hunter22")

#: A host's variables as they stand in an inventory, and what is said of them; None where all is well.
CASES: dict[str, tuple[str, list[str] | None]] = {
    "fine": (
        "nat_headnode_wifi_ssid: '2024'\nnat_headnode_wifi_psk: '01234567'\nnat_headnode_wifi_country: 'NO'\n"
        "nat_headnode_wifi_hidden: true\nos_prep_kernel_cmdline: [quiet, 'no']\n"
        "flash_files: {notes.txt: '5'}\n"
        "flash_config_txt: [{setting: gpu_mem, value: 16}, {setting: start_x, state: absent}]\n"
        "flash_user_data: {packages: [htop], runcmd: [[ls, -l]], growpart: {mode: false}, ntp: {enabled: 1}}",
        None,
    ),
    "command-line": ("nat_headnode_wifi_hidden: 'false'", None),
    "psk-digits": (
        "nat_headnode_wifi_psk: 12345678\nnat_headnode_wifi_ssid: hjemme\nnat_headnode_wifi_country: DE",
        ["nat_headnode_wifi_psk is a number; expected text: put it in quotes: set nat_headnode_wifi_psk"],
    ),
    "psk-octal": (
        "nat_headnode_wifi_psk: 01234567",
        ["nat_headnode_wifi_psk is a number; expected text: put it in"],
    ),
    "ssid-digits": (
        "nat_headnode_wifi_ssid: 2024",
        ["nat_headnode_wifi_ssid is the number 2024; expected text"],
    ),
    "country-no": (
        "nat_headnode_wifi_country: NO",
        ["nat_headnode_wifi_country is the boolean false; expected text"],
    ),
    "hidden": (
        "nat_headnode_wifi_hidden: maybe",
        ["nat_headnode_wifi_hidden is the text 'maybe'; expected true or false"],
    ),
    "hidden-null": (
        "nat_headnode_wifi_hidden:",
        ["nat_headnode_wifi_hidden is null; expected true or false"],
    ),
    "user-digits": (
        "flash_user: 1000",
        [
            "flash_user is the number 1000; expected text: put it in quotes: set flash_user, or "
            "ansible_user where it comes from"
        ],
    ),
    "timezone": ("flash_timezone: no", ["flash_timezone is the boolean false"]),
    "timezone-null": ("flash_timezone:", ["flash_timezone is null; expected text: set flash_timezone"]),
    "hostname-date": (
        "os_prep_hostname: 2026-01-02",
        ["os_prep_hostname is the date 2026-01-02; expected text"],
    ),
    "gateway": ("node_network_gateway: 192.168", ["node_network_gateway is the number 192.168"]),
    "address-list": (
        "node_network_address: [10.0.0.5/24]",
        ["node_network_address is a list; expected text: set node_"],
    ),
    "device-mapping": (
        "flash_device: {a: b}",
        ["flash_device is a mapping; expected text: set flash_device"],
    ),
    "resolver-digits": (
        "node_network_resolvers: [1.1]",
        ["node_network_resolvers has the number 1.1 as entry 1"],
    ),
    "resolvers-null": (
        "node_network_resolvers:",
        ["node_network_resolvers is null; expected a list of texts"],
    ),
    "search-no": ("node_network_search: [lan, no]", ["node_network_search has the boolean false as entry 2"]),
    "search-text": (
        "node_network_search: lan",
        [
            "node_network_search is the text 'lan'; expected a list of texts, such as ['…'], or [] for none: "
            "set node_network_search"
        ],
    ),
    "cmdline-text": ("os_prep_kernel_cmdline: cgroup_enable=memory", ["os_prep_kernel_cmdline is the text"]),
    "cmdline-bool": (
        "os_prep_kernel_cmdline: [quiet, no]",
        ["os_prep_kernel_cmdline has the boolean false as"],
    ),
    "key-text": (f"flash_authorized_keys: {KEY}", ["flash_authorized_keys is text; expected a list"]),
    "key-null": ("flash_authorized_keys: [null]", ["flash_authorized_keys has null as entry 1"]),
    "hash-number": ("flash_password_hash: 8675309", ["flash_password_hash is a number; expected text"]),
    "files-number": ("flash_files: {notes.txt: 8675309}", ["notes.txt of flash_files is a number"]),
    "files-null": ("flash_files: {ssh: }", ["ssh of flash_files is null; expected text: set flash_files"]),
    "files-key": ("flash_files: {5: five}", ["flash_files has the number 5 as a key"]),
    "files-list": ("flash_files: [a]", ["flash_files is a list; expected a mapping"]),
    "user-data-null": ("flash_user_data:", ["flash_user_data is null; expected a mapping"]),
    "runcmd": (
        "flash_user_data: {runcmd: echo hunter22}",
        ["runcmd of flash_user_data is text; expected a list: set flash_user_data"],
    ),
    "users-null": ("flash_user_data: {users: }", ["users of flash_user_data is null; expected a list"]),
    "checksum": ("flash_image_checksum: 1234", ["flash_image_checksum is the number 1234; expected text"]),
    "image": ("flash_image: 8675309", ["flash_image is a number; expected text"]),
    "config-text": (
        "flash_config_txt: dtparam=audio=off",
        ["flash_config_txt is the text 'dtparam=audio=off'"],
    ),
    "config-null": ("flash_config_txt:", ["flash_config_txt is null; expected a list of mappings"]),
    "config-entry": (
        "flash_config_txt: [dtparam=audio=off]",
        ["flash_config_txt: entry 1 is the text 'dtparam=audio=off'; expected a mapping"],
    ),
    "config-nameless": (
        "flash_config_txt: [{value: audio=off}]",
        ["flash_config_txt: setting of entry 1 is null; expected text, as in {setting: dtparam"],
    ),
    "config-stat": (
        "flash_config_txt: [{setting: start_x, stat: absent}]",
        ["flash_config_txt: entry 1 has the key 'stat'; expected only section, setting, value, state"],
    ),
    "config-sections": (
        "flash_config_txt: [{setting: a, value: 1, sections: pi4}]",
        ["flash_config_txt: entry 1 has the key 'sections'"],
    ),
    "config-bool": (
        "flash_config_txt: [{setting: a, value: on}]",
        ["flash_config_txt: value is the boolean true for a; expected text or a whole number"],
    ),
    "config-float": ("flash_config_txt: [{setting: a, value: 1.30}]", ["value is the number 1.3 for a"]),
    "two": (
        "flash_timezone: no\nnode_network_search: lan",
        ["flash_timezone is the boolean false", "node_network_search is the text 'lan'"],
    ),
}


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Have the role read the inputs of every host, each by itself as no mistake is to hide another."""
    folder = tmp_path_factory.mktemp("flash")
    hosts = "".join(
        f"    {name}:\n{textwrap.indent(variables, '      ')}\n" for name, (variables, _said) in CASES.items()
    )
    common = {"flash_image": "/srv/pi.img", "ansible_user": "pi", "ansible_connection": "local"}
    (folder / "hosts.yml").write_text(f"all:\n  vars: {json.dumps(common)}\n  hosts:\n{hosts}")
    tasks: list[dict[str, Any]] = [
        {"ansible.builtin.include_role": {"name": "bramble.pi.flash", "tasks_from": "values"}},
        {
            "bramble.pi.flash_nodes": {"nodes": ["{{ item }}"]},
            "loop": "{{ ansible_play_hosts }}",
            "ignore_errors": True,
            "register": "read",
            "run_once": True,
        },
        {
            "ansible.builtin.copy": {
                "content": "{{ read.results | items2dict('item', 'problems') | to_json }}",
                "dest": f"{folder}/said.json",
            },
            "vars": {"ansible_python_interpreter": sys.executable},
            "run_once": True,
        },
    ]
    play = {"hosts": loaded_once("all"), "gather_facts": False, "tasks": tasks}
    (folder / "play.yml").write_text(json.dumps([play]))
    home = folder / "home"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh/id_ed25519.pub").write_text(f"{KEY}\n")
    done = subprocess.run(
        [
            Path(sys.executable).with_name("ansible-playbook"),
            "-i",
            folder / "hosts.yml",
            folder / "play.yml",
        ],
        cwd=ROOT,
        env={**os.environ, "HOME": str(home), "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections")},
        capture_output=True,
        text=True,
        check=False,
    )
    print(done.stdout[-3000:], done.stderr[-3000:])
    found: dict[str, list[str]] = json.loads((folder / "said.json").read_text())
    return found


@pytest.mark.parametrize("name", CASES)
def test_inputs_of_other_types_are_named(said: dict[str, list[str]], name: str) -> None:
    assert name in said, "the role ended with an error"
    desired = CASES[name][1] or []
    assert len(said[name]) == len(desired), said[name]
    for problem, part in zip(said[name], desired):
        assert problem.startswith(f"{name}: ")
        assert part in problem
    assert not [secret for secret in SECRETS if secret in " ".join(said[name])]


@pytest.mark.parametrize("name", CASES)
def test_preflight_names_them_before(name: str) -> None:
    variables, said_later = CASES[name]
    problems, warnings = found(hosts={"pi-1": yaml.safe_load(variables)})
    assert (len(problems), warnings) == (len(said_later or []), [])
    for problem in problems:
        assert re.match(r"pi-1: .*(flash|nat_headnode|node_network|os_prep)_\w+", problem)


@pytest.mark.parametrize(
    ("variables", "part"),
    [
        ({"flash_files": {"con.txt": "x"}}, "flash_files: "),
        ({"flash_files": {"A.txt": "x", "a.TXT": "y"}}, "flash_files: 'a.TXT' and 'A.txt' are one file"),
        ({"flash_files": {"a": "x", "a/b": "y"}}, "flash_files: 'a' is a file and, for 'a/b', a folder"),
    ],
)
def test_preflight_names_what_a_boot_partition_cannot_hold(variables: dict[str, Any], part: str) -> None:
    check_row(variables, part, host="pi-1")
    check_row(dict.fromkeys(variables, "{{ later }}"), None, host="pi-1")
