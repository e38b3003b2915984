# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What GitHub runs is what there is here, with no more rights than it takes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.test_runner.parts import JOBS
from tests.pythons.test_oldest_python import PYTHONS

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
#: Whose major versions are trusted; others are named by a whole commit.
TRUSTED = "actions"
#: Rights beyond reading the repository, and secrets, by workflow and job.
MORE_RIGHTS = {("docs", "publish"): {"pages": "write", "id-token": "write"}}
SECRETS = {"release": {"GALAXY_TOKEN"}}


def load(name: str) -> dict[str, Any]:
    workflow: dict[str, Any] = yaml.safe_load((ROOT / ".github" / "workflows" / f"{name}.yml").read_text())
    return workflow


def parts() -> set[str]:
    """Return the parts of `make test`."""
    return {job.part for job in JOBS if not job.part.endswith("-long")}


def commands(job: dict[str, Any]) -> list[str]:
    """Return what a job runs, once for each part of its matrix."""
    run = [step["run"] for step in job["steps"] if "run" in step]
    matrix = job.get("strategy", {}).get("matrix", {})
    return [each.replace("${{ matrix.part }}", part) for each in run for part in matrix.get("part", [""])]


def test_there_are_workflows() -> None:
    assert [path.stem for path in WORKFLOWS] == ["docs", "release", "test"]


def test_each_part_of_the_tests_is_a_job() -> None:
    jobs = load("test")["jobs"].values()
    run = [each.removeprefix("make ") for job in jobs for each in commands(job) if each.startswith("make ")]
    assert sorted(each for each in run if each != "setup") == sorted(parts())


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_commands_are_of_what_there_is(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE)) | parts()
    for job in load(path.stem)["jobs"].values():
        for command in commands(job):
            assert "${{" not in command or re.search(r"\$\{\{ matrix\.\w+ \}\}", command), command
            assert set(re.findall(r"^make (\S+)", command, re.MULTILINE)) <= targets, command


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_named_by_a_version(path: Path) -> None:
    for used in re.findall(r"uses: (\S+)", path.read_text()):
        assert re.fullmatch(rf"{TRUSTED}/[\w-]+@v\d+|[\w-]+/[\w/-]+@[0-9a-f]{{40}}", used), used


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_rights_are_those_that_it_takes(path: Path) -> None:
    workflow = load(path.stem)
    assert workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        assert job.get("permissions", {}) == MORE_RIGHTS.get((path.stem, name), {})
        assert job["timeout-minutes"]
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"] == {"persist-credentials": False}
    assert set(re.findall(r"secrets\.(\w+)", path.read_text())) == SECRETS.get(path.stem, set())
    # Its code would run with the rights and secrets of the repository.
    assert "pull_request_target" not in workflow["on"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_where_a_secret_is_nothing_else_is_installed(path: Path) -> None:
    for job in load(path.stem)["jobs"].values():
        if "secrets." not in str(job):
            continue
        run = "\n".join(commands(job))
        assert re.findall(r"pip install (.*)", run) == ["ansible-core"]
        assert not re.search(r"\bmake\b|scripts/", run)


def test_versions_are_those_that_are_supported() -> None:
    matrix = load("test")["jobs"]["versions"]["strategy"]["matrix"]
    oldest = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text())["requires_ansible"]
    assert oldest == f">={matrix['core'][0]}.0"
    # Each version of ansible-core has one Debian that it runs on, and one whose Python the nodes have.
    assert [row["core"] for row in matrix["include"]] == matrix["core"]
    assert [row["nodes"] for row in matrix["include"]] == list(PYTHONS)
