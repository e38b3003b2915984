# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import datetime
import functools
from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.plugin_utils._preflight import check, values
from ansible_collections.bramble.pi.plugins.plugin_utils._preflight.inventory import read_options
from ansible_collections.bramble.pi.plugins.plugin_utils._preflight.rack import UNKNOWN

ARCHIVES = {
    "type": "list",
    "elements": "dict",
    "options": {"src": {"type": "str", "required": True}, "sha256": {"type": "str"}},
}
SWAP = {"type": "str", "default": "off", "choices": ["off", "keep"]}
TEXTS = {"type": "list", "elements": "str", "default": []}


@pytest.mark.parametrize(
    ("option", "value", "typed"),
    [
        ({"type": "bool"}, "true", True),
        ({"type": "bool"}, "no", False),
        ({"type": "bool"}, 1, True),
        ({"type": "int"}, "22", 22),
        ({"type": "int"}, 22.0, 22),
        ({"type": "str"}, "22", "22"),
        ({"type": "str"}, "", ""),
        # YAML reads the word off as false.
        (SWAP, False, "off"),
        (TEXTS, ["1", "b"], ["1", "b"]),
        ({"type": "list", "elements": "int"}, ["1"], [1]),
        ({"type": "raw"}, [{}], [{}]),
        (ARCHIVES, [{"src": "/a"}], [{"src": "/a", "sha256": None}]),
        ({"type": "str"}, "{{ later }}", UNKNOWN),
        ({"type": "int"}, UNKNOWN, UNKNOWN),
    ],
)
def test_what_ansible_accepts_is_accepted_and_has_its_type(
    option: dict[str, Any], value: Any, typed: Any
) -> None:
    assert values.read_value("variable", value, option) == (typed, [])


SET = "set variable in group_vars or host_vars"


@pytest.mark.parametrize(
    ("option", "value", "text"),
    [
        ({"type": "int"}, "many", f"variable is 'many'; expected an integer: {SET}"),
        ({"type": "int"}, float("inf"), f"variable is inf; expected an integer: {SET}"),
        ({"type": "int"}, True, f"variable is true; expected an integer: {SET}"),
        ({"type": "int", "default": 1}, None, f"variable is null; expected an integer: {SET}"),
        ({"type": "bool"}, "perhaps", f"variable is 'perhaps'; expected true or false: {SET}"),
        ({"type": "str"}, ["a"], f"variable is ['a']; expected a string: {SET}"),
        ({"type": "str"}, {"a": 1}, f"variable is {{'a': 1}}; expected a string: {SET}"),
        ({"type": "str"}, True, f"variable is true; expected a string in quotes: {SET}"),
        ({"type": "str"}, 12345678, f"variable is 12345678; expected a string in quotes: {SET}"),
        ({"type": "str"}, 20.1, f"variable is 20.1; expected a string in quotes: {SET}"),
        (
            {"type": "str"},
            datetime.date(2026, 1, 2),
            f"variable is 2026-01-02; expected a string in quotes: {SET}",
        ),
        ({"type": "str"}, None, f"variable is null; expected a string: {SET}, or leave it out"),
        (
            {"type": "str", "default": ""},
            None,
            f"variable is null; expected a string: {SET}, or leave it out",
        ),
        ({"type": "bool"}, None, f"variable is null; expected true or false: {SET}, or leave it out"),
        ({"type": "raw"}, None, f"variable is null; expected a value: {SET}, or leave it out"),
        (SWAP, None, f"variable is null; expected one of off, keep: {SET}, or leave it out"),
        (
            TEXTS,
            "a,b",
            f"variable is 'a,b'; expected a list of strings: {SET}, or on the command line as JSON",
        ),
        (TEXTS, "", f"variable is ''; expected a list of strings: {SET}, or on the command line as JSON"),
        (TEXTS, [1.1], f"entry 1 of variable is 1.1; expected a string in quotes: {SET}"),
        (TEXTS, ["quiet", False], f"entry 2 of variable is false; expected a string in quotes: {SET}"),
        ({"type": "dict"}, "a=1", f"variable is 'a=1'; expected a dictionary: {SET}, or on the command line"),
        ({"type": "dict"}, None, f"variable is null; expected a dictionary: {SET}, or leave it out"),
        (ARCHIVES, [{"src": 5}], f"src of entry 1 of variable is 5; expected a string in quotes: {SET}"),
        (ARCHIVES, [{"src": "/a", "sha256": None}], "sha256 of entry 1 of variable is null; expected a str"),
        (
            ARCHIVES,
            [{"src": "/a", "sha": "0"}],
            "variable is [{'src': '/a', 'sha': '0'}]; expected a list of d",
        ),
        (
            {"type": "str", "no_log": True},
            12345678,
            f"variable is a secret that is not shown here; expected a string in quotes: {SET}",
        ),
        ({"type": "path"}, [], f"variable is []; expected a path: {SET}"),
        (SWAP, True, f"variable is true; expected one of off, keep: {SET}"),
        (SWAP, "on", f"variable is 'on'; expected one of off, keep: {SET}"),
        (TEXTS, 1, f"variable is 1; expected a list of strings: {SET}"),
        (TEXTS, None, f"variable is null; expected a list of strings: {SET}"),
        (TEXTS, {"a": 1}, f"variable is {{'a': 1}}; expected a list of strings: {SET}"),
        (TEXTS, ["a", None], f"entry 2 of variable is null; expected a string: {SET}"),
        (TEXTS, [["a"]], f"entry 1 of variable is ['a']; expected a string: {SET}"),
        (
            {"type": "list", "elements": "int"},
            ["a"],
            "variable is ['a']; expected a list of integers (Elements value for option 'variable' is of type",
        ),
        (ARCHIVES, [{"src": ["/a"]}], f"src of entry 1 of variable is ['/a']; expected a string: {SET}"),
        (
            ARCHIVES,
            [{"sha256": "0"}],
            "variable is [{'sha256': '0'}]; expected a list of dictionaries (missing required arguments: src",
        ),
        ({"type": "dict"}, [1], f"variable is [1]; expected a dictionary: {SET}"),
        ({"type": "str"}, ["a" * 500], f"variable is ['{'a' * 118}…; expected a string: {SET}"),
    ],
)
def test_what_is_of_another_type_is_named(option: dict[str, Any], value: Any, text: str) -> None:
    typed, (finding,) = values.read_value("variable", value, option)
    assert typed is UNKNOWN
    assert not finding.warning
    assert finding.message.startswith(text)


SPECS = {role: options for role, options in read_options().items() if role != "virtual_rack"}
OPTIONS = {name: option for options in SPECS.values() for name, option in options.items()}
#: One of each kind that YAML has.
KINDS: list[Any] = [
    None,
    True,
    1,
    1.5,
    float("inf"),
    "text",
    "",
    [],
    [1],
    [None],
    [[]],
    {},
    {"a": 1},
    {1: 1, "a": 1},
    datetime.date(2026, 1, 2),
]
#: A rack in which every check has something to look at.
HOSTS: dict[str, dict[str, Any]] = {
    "pi-1": {
        "ansible_host": "203.0.113.7",
        "os_prep_address": "192.168.1.101",
        "rack_services_bootptab": "/bootptab",
        "rack_services_dhcp_range": "192.168.1.150-192.168.1.199",
        "remote_access_proxy": True,
        "remote_access_proxy_networks": ["192.168.1.0/24"],
    },
    "pi-2": {
        "ansible_host": "192.168.1.102",
        "netboot_tree_serial": "6a1b9c04",
        "rack_services_mac": "b8:27:eb:00:00:02",
    },
    "pi-3": {"ansible_host": "192.168.1.103", "node_network_address": "192.168.1.103/24"},
}
GROUPS = {
    "control_plane": ["pi-1"],
    "workers": ["pi-2", "pi-3"],
    "nat_headnode": ["pi-1"],
    "netboot": ["pi-2"],
    "netboot_server": ["pi-1"],
    "node_network": ["pi-3"],
}


def validated(hosts: dict[str, dict[str, Any]]) -> tuple[list[str], list[str]]:
    arguments = {"preflight_node_network": "192.168.1.0/24", "preflight_known_variables": []}
    for variables in hosts.values():
        arguments.update({name: variables[name] for name in arguments if name in variables})
    return check.validate(
        groups=GROUPS,
        hosts=hosts,
        specs=SPECS,
        files={"/bootptab": "%%\npi-2 1 b8:27:eb:00:00:02 192.168.1.102 boot\n"},
        node_network=arguments["preflight_node_network"],
        known_variables=arguments["preflight_known_variables"],
    )


def of_all(name: str, value: Any) -> dict[str, dict[str, Any]]:
    return {host: {**variables, name: value} for host, variables in HOSTS.items()}


def test_the_rack_has_no_problem() -> None:
    assert validated(of_all("my_own", UNKNOWN)) == ([], [])


ALL = {**OPTIONS, **values.CONNECTION}


def check_a_rack_with(name: str, value: Any) -> None:
    """Whatever a variable holds, on one host or on all, the answer is lines, and one names a mistake once."""
    typed, findings = values.read_value(name, value, ALL[name])
    for hosts in (of_all(name, value), {**HOSTS, "pi-2": {**HOSTS["pi-2"], name: value}}):
        problems, warnings = validated(hosts)
        assert all(isinstance(line, str) and line for line in [*problems, *warnings]), name
        for finding in findings:
            assert any(finding.message in line for line in (warnings if finding.warning else problems))
        if typed is UNKNOWN:
            again = [line for line in problems if f"{name} is" in line or f"no {name}" in line]
            assert len(again) == len([finding for finding in findings if f"{name} is" in finding.message])


@functools.cache
def of_another_type(name: str) -> list[int]:
    """Return the numbers of the kinds that are not of the option's type."""
    read = [values.read_value(name, value, ALL[name]) for value in KINDS]
    assert all(findings for typed, findings in read if typed is UNKNOWN), name
    return [number for number, (typed, _findings) in enumerate(read) if typed is UNKNOWN]


@pytest.mark.parametrize("number", range(len(KINDS)), ids=[repr(value) for value in KINDS])
def test_every_option_may_hold_anything(number: int) -> None:
    """All checks but the first know no value of another type: of these each option has one, in turn."""
    for turn, name in enumerate(ALL):
        others = of_another_type(name)
        if number not in others or number == others[turn % len(others)]:
            check_a_rack_with(name, KINDS[number])


@pytest.mark.long
@pytest.mark.parametrize("value", KINDS, ids=repr)
def test_every_option_may_hold_each_of_these(value: Any) -> None:
    for name in ALL:
        check_a_rack_with(name, value)
