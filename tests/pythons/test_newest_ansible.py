# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The newest ansible-core, which needs a newer Python than a machine may have, takes the collection."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests import debian

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ("router", "nat", "netboot")
MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("[!_]*.py"))
PLAYBOOKS = [f"/mnt/{path.relative_to(ROOT)}" for path in (ROOT / "site.yml", *ROOT.glob("playbooks/*.yml"))]


class Newest:
    """A Debian 13 with the newest ansible-core, and the checkout in it."""

    def __init__(self, *, libraries: Path, checkout: Path) -> None:
        self.root = debian.root("trixie", variant="minbase", packages=["python3", "openssh-client"])
        environment = {
            "PYTHONPATH": "/opt/ansible",
            "ANSIBLE_DEPRECATION_WARNINGS": "true",
            "ANSIBLE_COLLECTIONS_PATH": "/mnt/.collections",
            # The checkout is not root's own there, and what is open to all is not read.
            "ANSIBLE_CONFIG": "/mnt/ansible.cfg",
        }
        self._inside = debian.inside(
            self.root, mounts={libraries: "/opt/ansible", checkout: "/mnt"}, environment=environment
        )

    def run(self, command: str, *arguments: str, code: int = 0) -> str:
        """Run one of Ansible's commands; nothing that it says may be a deprecation of ours."""
        done = subprocess.run(
            [*self._inside, "/usr/bin/python3", "-m", "ansible", command, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stdout
        assert "DEPRECAT" not in done.stdout, done.stdout
        return done.stdout


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the newest of what requirements.txt names, for Python 3.13."""
    wheels, libraries = (tmp_path_factory.mktemp(name) for name in ("wheels", "libraries"))
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    # pip asks what this machine has it ask. It takes what fits the Python that is named,
    options = ["--python-version", "3.13", "--only-binary", ":all:", "--dest", str(wheels)]
    subprocess.run([*pip, "download", *options, "-r", str(ROOT / "requirements.txt")], check=True)
    # which it would not install for it. A wheel is a zip file of what is to lie there.
    for wheel in wheels.iterdir():
        with zipfile.ZipFile(wheel) as file:
            file.extractall(libraries)
    return libraries


@pytest.fixture(scope="module")
def newest(libraries: Path) -> Newest:
    return Newest(libraries=libraries, checkout=ROOT)


def test_it_is_newer_than_this_machines(newest: Newest) -> None:
    said = newest.run("playbook", "--version")
    found = re.search(r"core (\d+)\.(\d+)", said)
    assert found is not None, said
    assert (int(found[1]), int(found[2])) >= (2, 21)
    assert "python version = 3.13" in said


def test_playbooks_are_understood(newest: Newest) -> None:
    said = newest.run("playbook", "--syntax-check", "-i", "/mnt/inventories/router", *PLAYBOOKS)
    for playbook in PLAYBOOKS:
        assert f"playbook: {playbook}" in said


@pytest.mark.parametrize("example", EXAMPLES)
def test_preflight_accepts_the_examples(newest: Newest, example: str) -> None:
    said = newest.run("playbook", "-i", f"/mnt/inventories/{example}", "/mnt/playbooks/preflight.yml")
    assert "failed=0" in said


def test_modules_have_documentation(newest: Newest) -> None:
    told = json.loads(newest.run("doc", "--json", *(f"bramble.pi.{name}" for name in MODULES)))
    assert set(told) == {f"bramble.pi.{name}" for name in MODULES}
    for module in told.values():
        assert module["examples"]
        assert module["return"]
