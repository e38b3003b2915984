# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every role has to keep: its inputs stand in defaults and in the argument specification, alike."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.bramble.pi.plugins.plugin_utils._preflight.names import REMOVED, RESULTS

ROOT = Path(__file__).resolve().parents[2]
#: The role without tasks, whose defaults several read; each is described in the role whose prefix it has.
SHARED = "cluster_defaults"
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir() and path.name != SHARED)
#: What stands in its defaults alone, and in no specification, so that a new version is a new line.
ALONE = {"kube_packages_version"}


@functools.cache
def load(role: str, path: str) -> Any:
    return yaml.safe_load((ROOT / "roles" / role / path).read_text(encoding="utf-8"))


def entry_points(role: str) -> dict[str, Any]:
    return load(role, "meta/argument_specs.yml")["argument_specs"]


def options(role: str) -> dict[str, Any]:
    return {
        name: option
        for entry in entry_points(role).values()
        for name, option in entry.get("options", {}).items()
    }


def defaults(role: str) -> dict[str, Any]:
    return load(role, "defaults/main.yml") or {}


def computed(role: str) -> list[str]:
    """Name the numbers and booleans whose defaults are templates: no value that a specification can have."""
    return [
        name
        for name, value in {**shared(), **defaults(role)}.items()
        if name in options(role)
        and "{{" in str(value)
        and options(role)[name]["type"] in ("bool", "float", "int")
    ]


def shared() -> dict[str, Any]:
    return defaults(SHARED)


def code(role: str) -> str:
    """Return what Ansible reads of a role when it runs, without comments."""
    folders = ("defaults", "handlers", "tasks", "templates", "vars")
    return "\n".join(
        line
        for path in sorted((ROOT / "roles" / role).rglob("*"))
        if path.is_file() and path.parent.name in folders
        for line in path.read_text(encoding="utf-8").splitlines()
        if not line.lstrip().startswith("#")
    )


def test_there_are_roles() -> None:
    fixed = {"os_prep", "docker", "kube_packages", "nat_headnode", "control_plane", "workers"}
    assert fixed <= set(ROLES)


@pytest.mark.parametrize("role", ROLES)
def test_defaults_and_specification_have_the_same_defaults(role: str) -> None:
    specified = {name: option["default"] for name, option in options(role).items() if "default" in option}
    own = {name: value for name, value in shared().items() if name in options(role) and name not in ALONE}
    expected = {**defaults(role), **own}
    for name in computed(role):
        del expected[name]
        assert "By default" in str(options(role)[name]["description"]), name
    assert expected == specified


def test_shared_defaults_are_described_once_and_read_by_several_roles() -> None:
    described = [name for role in ROLES for name in options(role)]
    assert [name for name in shared() if described.count(name) != 1] == []
    text = {role: code(role) for role in ROLES}
    # Who reads a default that others stand in reads these too.
    made_of = {
        name: [other for other, value in shared().items() if re.search(rf"\b{name}\b", str(value))]
        for name in shared()
    }
    readers = {
        name: [role for role in ROLES if re.search(rf"\b({'|'.join([name, *others])})\b", text[role])]
        for name, others in made_of.items()
    }
    assert {name: roles for name, roles in readers.items() if len(roles) < 2} == {}
    # A default of another role is only seen by those that depend on it.
    depend = [role for role in ROLES if any(role in roles for roles in readers.values())]
    on = [{"role": f"bramble.pi.{SHARED}"}]
    assert {role: load(role, "meta/main.yml")["dependencies"] for role in ROLES} == {
        role: on if role in depend else [] for role in ROLES
    }
    assert load(SHARED, "meta/main.yml")["dependencies"] == []


def test_no_role_has_a_second_default_for_what_is_shared() -> None:
    again = re.compile(rf"\b({'|'.join(shared())}) *\| *(?:ansible\.builtin\.)?d(?:efault)?\(")
    assert {role: found[0] for role in ROLES if (found := again.search(code(role)))} == {}


def test_the_default_version_of_kubernetes_stands_in_one_line() -> None:
    version = shared()["kube_packages_version"]
    quoted = re.compile(rf"""["']{re.escape(version)}["']""")
    lines = [
        f"{path.relative_to(ROOT)}: {line}"
        for folder in ("roles", "playbooks", "plugins/plugin_utils", "plugins/action")
        for path in sorted((ROOT / folder).rglob("*"))
        if path.suffix in (".yml", ".j2", ".py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if quoted.search(line)
    ]
    assert lines == [f'roles/{SHARED}/defaults/main.yml: kube_packages_version: "{version}"']


@pytest.mark.parametrize("role", ROLES)
def test_inputs_without_default_are_named_commented_out_in_defaults(role: str) -> None:
    text = (ROOT / "roles" / role / "defaults/main.yml").read_text(encoding="utf-8")
    for name, option in options(role).items():
        if name in computed(role):
            continue
        if "default" not in option or name in shared():
            assert re.search(rf"^# *{name}:", text, re.MULTILINE), name
        else:
            assert not option.get("required"), f"{name} is required and has a default"


@pytest.mark.parametrize("role", ROLES)
def test_inputs_have_the_role_s_prefix(role: str) -> None:
    # The list of add-ons is what its role is about.
    assert [name for name in options(role) if not name.startswith(f"{role}_") and name != role] == []


def undescribed(entries: dict[str, Any]) -> list[str]:
    return [
        name
        for name, option in entries.items()
        if not option.get("description") or "type" not in option or undescribed(option.get("options", {}))
    ]


@pytest.mark.parametrize("role", ROLES)
def test_everything_is_described(role: str) -> None:
    assert undescribed(options(role)) == []
    assert [name for name, entry in entry_points(role).items() if not entry.get("short_description")] == []
    assert (ROOT / "roles" / role / "README.md").is_file()


@pytest.mark.parametrize("role", [*ROLES, SHARED])
def test_metadata(role: str) -> None:
    galaxy_info = load(role, "meta/main.yml")["galaxy_info"]
    assert galaxy_info["license"] == "GPL-3.0-or-later"
    assert galaxy_info["min_ansible_version"] == "2.19"
    assert galaxy_info["description"]


def test_preflight_looks_at_inputs_that_there_are() -> None:
    known = {name for role in ROLES for name in options(role)}
    sources = (ROOT / "plugins/plugin_utils/_preflight").glob("*.py")
    source = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    roles = "|".join(ROLES)
    used = set(re.findall(rf"\b(?:{roles})_[a-z_]+\b", source))
    # A role's own name is that of a group.
    assert used - known - set(ROLES) - set(REMOVED) - RESULTS == set()


@pytest.mark.parametrize("role", ROLES)
def test_switches_may_come_from_the_command_line(role: str) -> None:
    """`-e switch=true` is a text, which ansible-core refuses as a condition until it is read as a boolean."""
    switches = [name for name, option in options(role).items() if option.get("type") == "bool"]
    for path in (ROOT / "roles" / role).glob("*/*.yml"):
        for line in path.read_text(encoding="utf-8").splitlines():
            # An argument of a module is read as a boolean by the module.
            if path.parent.name not in ("tasks", "handlers") or re.match(
                r"^\s+\w+: \"\{\{ \w+ \}\}\"$", line
            ):
                continue
            for name in switches:
                used = re.search(rf"(?:when:|changed_when:|^\s+-) .*?\b{name}\b(?P<rest>.*)", line)
                assert used is None or used["rest"].startswith(" | bool"), f"{path.name}: {line.strip()}"


def test_host_keys_are_entered_by_the_module_that_ends_the_last_line() -> None:
    """ansible.builtin.known_hosts appends to a last line without an end, which spoils both."""
    files = [*(ROOT / "roles").rglob("*.yml"), *(ROOT / "playbooks").rglob("*.yml")]
    assert [path for path in files if "ansible.builtin.known_hosts" in path.read_text()] == []


def test_private_variables_stay_in_their_role() -> None:
    """What a role leaves for others has a public name, and stands in its README."""
    names = "|".join(sorted(ROLES, key=len, reverse=True))
    private = re.compile(rf"\b__({names})_\w+")
    elsewhere = [
        f"{path.relative_to(ROOT)}: {found[0]}"
        for folder in ("roles", "playbooks", "plugins", "inventories", "molecule")
        for path in sorted((ROOT / folder).rglob("*"))
        if path.suffix in (".yml", ".j2", ".py", ".md")
        for found in private.finditer(path.read_text(encoding="utf-8"))
        if ROOT / "roles" / found[1] not in path.parents
    ]
    assert elsewhere == []


def told_by_nobody(tasks: list[dict[str, Any]], once: bool = False, rescued: bool = False) -> Iterator[str]:
    """Yield the tasks that are run once where a host that is off ends the play without a word."""
    for task in tasks:
        run_once = bool(task.get("run_once", once))
        for part in ("block", "rescue", "always"):
            yield from told_by_nobody(task.get(part, []), run_once, rescued or "rescue" in task)
        caught = rescued or task.get("ignore_errors")
        if run_once and task.get("ignore_unreachable") and not caught:
            yield task["name"]


@pytest.mark.parametrize("role", ROLES)
def test_no_host_that_is_off_ends_a_play_without_a_word(role: str) -> None:
    for path in (ROOT / "roles" / role / "tasks").glob("*.yml"):
        assert list(told_by_nobody(yaml.safe_load(path.read_text()) or [])) == [], path.name


@pytest.mark.parametrize("role", ROLES)
def test_no_kubectl_waits_for_ever(role: str) -> None:
    """An API server that takes the connection and says nothing holds a run up otherwise."""
    for path in (ROOT / "roles" / role).glob("*/*.yml"):
        for words in re.findall(r"\[kubectl, --kubeconfig[^]]*\]|- kubectl\n(?: +- .*\n)+", path.read_text()):
            assert "--request-timeout" in words, f"{path.relative_to(ROOT)}: {words}"
