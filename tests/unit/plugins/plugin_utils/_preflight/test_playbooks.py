# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the playbooks have of their own, and how that is told from what is misspelt."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2
import jinja2.meta
import pytest
import yaml
from ansible import constants
from ansible_collections.bramble.pi.plugins.filter import report
from ansible_collections.bramble.pi.plugins.plugin_utils._preflight import check, playbooks

from tests.unit.plugins.plugin_utils._preflight.test_sources import play
from tests.unit.preflight_rack import SPECS

ROOT = Path(__file__).resolve().parents[5]
PLAYBOOKS = sorted(ROOT.glob("playbooks/*.yml"))
#: Keywords whose values are expressions without braces.
BARE = ("when", "that", "until", "changed_when", "failed_when")


def strings(found: Any, key: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(found, dict):
        for name, value in found.items():
            yield from strings(value, name)
    elif isinstance(found, list):
        for value in found:
            yield from strings(value, key)
    elif isinstance(found, str):
        yield key, found


def variables(path: Path) -> set[str]:
    # Filters of the collection are not known to a bare Jinja; what they are called says nothing here.
    environment = jinja2.Environment()
    names: set[str] = set()
    for key, text in strings(yaml.safe_load(path.read_text(encoding="utf-8"))):
        template = f"{{{{ {text} }}}}" if key in BARE else text
        template = re.sub(r"\|\s*(?:\w+\.)*\w+", "| string", template)
        names |= jinja2.meta.find_undeclared_variables(environment.parse(template))
    text = path.read_text(encoding="utf-8")
    defined = {*re.findall(r"register: (\w+)", text), "groups", "hostvars", "inventory_hostname"}
    defined |= {"lookup", "omit"}
    return {name for name in names - defined if not name.startswith(("_", "ansible_"))}


@pytest.mark.parametrize("path", PLAYBOOKS, ids=lambda path: path.stem)
def test_playbooks_use_variables_that_are_declared(path: Path) -> None:
    declared = {name for options in SPECS.values() for name in options}
    # What a role leaves for others; its README has it.
    assert variables(path) - declared - {"control_plane_answering"} == set()


def test_variables_of_playbooks_are_used_and_have_their_prefix() -> None:
    roles = {path.name for path in (ROOT / "roles").iterdir()}
    for playbook, options in playbooks.OPTIONS.items():
        assert playbook not in roles
        assert [name for name in options if not name.startswith(playbook)] == []
        assert set(options) <= variables(ROOT / f"playbooks/{playbook}.yml")


def test_tags_are_those_that_ansible_lists() -> None:
    given = [str(path) for path in [ROOT / "site.yml", *PLAYBOOKS]]
    done = subprocess.run(
        ["ansible-playbook", "-i", "inventories/router", "--list-tags", *given],
        cwd=ROOT,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    listed = re.split(r"^playbook: ", done.stdout, flags=re.MULTILINE)[1:]
    assert len(listed) == len(given)
    for part in listed:
        path, text = part.split("\n", 1)
        tags = {tag for found in re.findall(r"TAGS: \[(.*)\]", text) for tag in re.split(", ?", found) if tag}
        # Where the only task with it is one of a role, tags_in does not have it, and nothing asks for it.
        assert (playbooks.tags_of_run([path]) or set()) | {"always"} == tags | {"always"}, path


@pytest.mark.parametrize(
    ("given", "tag"),
    [
        (["bramble.pi.site"], "kube_packages"),
        (["bramble.pi.replace"], "workers"),
        (["bramble.pi.doctor", "bramble.pi.site"], "workers"),
        ([str(ROOT / "site.yml")], "preflight"),
        (["playbooks/../playbooks/flash.yml"], "flash"),
    ],
)
def test_tags_of_a_run(given: list[str], tag: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert tag in (playbooks.tags_of_run(given) or ())


def test_tags_of_a_user_s_own_playbook_are_not_known(tmp_path: Path) -> None:
    (tmp_path / "mine.yml").write_text("- import_playbook: bramble.pi.site\n", encoding="utf-8")
    for given in ([], ["bramble.pi.site", str(tmp_path / "mine.yml")], ["bramble.pi.none"], ["my.own.site"]):
        assert playbooks.tags_of_run(given) is None


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("mine.yml", "- import_playbook: site.yml\n"),
        ("mine.yml", "- ansible.builtin.import_playbook: bramble.pi.site\n"),
        ("mine.yml", "- hosts: all\n  vars:\n    mine: !unsafe '{{ x }}'\n"),
        ("playbooks/mine.yml", "- ansible.builtin.import_playbook: bramble.pi.site\n"),
        ("playbooks/mine.yml", "- hosts: all\n  vars:\n    mine: !unsafe '{{ x }}'\n"),
    ],
)
def test_a_user_s_own_playbook_may_lie_in_the_checkout(
    name: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "playbooks").mkdir()
    monkeypatch.setattr(playbooks, "FOLDER", tmp_path / "playbooks")
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert playbooks.tags_of_run([str(tmp_path / name)]) is None


OWN = "If it is your own, name it in preflight_known_variables in group_vars/all.yml"
TAGS = {"docker", "os_prep", "always"}


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"variables": ["scan_network", "ansible_user", "mine", "_scan_netwrok", "flash_user"]}, ""),
        # Like start_image, but words that others use.
        ({"variables": ["start_time", "scan_ports"]}, ""),
        (
            {"variables": ["scan_netwrok"]},
            f"-e sets scan_netwrok, which is not known: did you mean scan_network? {OWN}",
        ),
        (
            {"variables": ["kube_package_version"]},
            f"-e sets kube_package_version, which is not known: did you mean kube_packages_version? {OWN}",
        ),
        (
            {"variables": ["netboot_board_otp"]},
            f"-e sets netboot_board_otp, which is not known: did you mean netboot_boards_otp? {OWN}",
        ),
        ({"variables": ["scan_netwrok"], "known_variables": ["scan_netwrok"]}, ""),
        ({"run_tags": ["all"], "skip_tags": []}, ""),
        ({"run_tags": ["docker", "never", "tagged"], "skip_tags": ["untagged"]}, ""),
        (
            {"run_tags": ["Docker"]},
            "'--tags' has 'Docker', which is no tag of this playbook (did you mean docker?); expected one of "
            "docker, os_prep: run it with these, or without '--tags'",
        ),
        (
            {"skip_tags": ["nothing"]},
            "'--skip-tags' has 'nothing', which is no tag of this playbook; expected one of docker, os_prep: "
            "run it with these, or without '--skip-tags'",
        ),
        (
            {"run_tags": ["x"], "tags": {"always"}},
            "'--tags' has 'x', which is no tag of this playbook; expected none, as it has none: run it "
            "without '--tags'",
        ),
        ({"run_tags": ["Docker"], "tags": None}, ""),
    ],
)
def test_command_line(given: dict[str, Any], text: str) -> None:
    options = {"variables": [], "known_variables": [], "run_tags": ["all"], "skip_tags": [], "tags": TAGS}
    assert check.command_line_problems(specs=SPECS, **{**options, **given}) == ([text] if text else [], [])


def test_what_only_begins_like_one_of_ours_is_a_warning() -> None:
    problems, (warning,) = check.command_line_problems(
        specs=SPECS,
        variables=["docker_registry_of_mine"],
        known_variables=[],
        run_tags=[],
        skip_tags=[],
        tags=None,
    )
    assert problems == []
    assert warning.startswith("-e sets docker_registry_of_mine, which begins like a variable of bramble.pi")


def test_tags_of_every_playbook_are_not_of_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(playbooks, "tags_of_run", lambda: TAGS)
    assert len(report.command_line_problems([], ["all"], ["slow"])) == 1
    # As ansible.cfg has it, in its section [tags], or ANSIBLE_SKIP_TAGS.
    monkeypatch.setattr(constants, "TAGS_SKIP", ["slow"])
    monkeypatch.setattr(constants, "TAGS_RUN", ["mine"])
    assert report.command_line_problems([], ["mine"], ["slow"]) == []
    (problem,) = report.command_line_problems([], ["mine", "dokcer"], ["slow"])
    assert "dokcer" in problem


NODES = "control_plane: {hosts: {pi-1: {ansible_host: 192.0.2.1}}}\nworkers: {hosts: {}}\n"


@pytest.mark.parametrize(
    ("playbook", "arguments"),
    [
        ("preflight", ["-e", "kube_package_version=1.36", "-t", "preflght", "-e", "@extra.yml"]),
        ("reset", ["-e", "reset_confrim=yes", "--skip-tags", "worker", "-e", '{"mine": 1}']),
        ("scan", ["-e", "scan_netwrok=192.0.2.0/24"]),
        ("start", ["-e", "strat_nodes=4"]),
        ("virtual_rack_destroy", ["-e", "virtual_rack_remove_cach=true"]),
    ],
)
def test_a_playbook_ends_at_what_is_misspelt(playbook: str, arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "hosts.yml").write_text(NODES, encoding="utf-8")
    (tmp_path / "extra.yml").write_text("own: s3cret\nscan_listn: s3cret\n", encoding="utf-8")
    given = [text.replace("@", f"@{tmp_path}/") for text in arguments]
    code, said = play(playbook, tmp_path / "hosts.yml", *given, ours=True)
    assert code == 2, said
    misspelt = re.findall(r"(\w+)=|\b(worker|preflght)\b", " ".join(arguments))
    for name in [
        *(first or second for first, second in misspelt),
        *(["scan_listn"] if "-t" in given else []),
    ]:
        assert re.search(rf"^- .*\b{name}\b.*did you mean", said, re.MULTILINE), said
    assert "s3cret" not in said


def test_names_of_one_s_own_are_allowed_on_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "hosts.yml").write_text(
        f"{NODES}all: {{vars: {{preflight_known_variables: [scan_netwrok]}}}}\n"
    )
    arguments = ["-e", "scan_netwrok=1 mine=2", "-t", "preflight"]
    code, said = play("preflight", tmp_path / "hosts.yml", *arguments, ours=True)
    assert code == 0, said
    assert "WARNING" not in said
