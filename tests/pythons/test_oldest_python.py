# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs on nodes is imported by the oldest Python that one may have, and nothing is there but that."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import ansible
import pytest

from tests import debian

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
FOLDERS = ("modules", "module_utils")
# Each in a process of its own, as on a node; one that needs what another one has imported is found so.
IMPORT_ALL = """
import os, sys, traceback
assert sys.version_info[:2] == (3, 9), sys.version
failed = 0
for name in sys.stdin.read().split():
    child = os.fork()
    if child == 0:
        try:
            __import__(name)
        except BaseException:
            print(name, traceback.format_exc(), sep=": ", flush=True)
            os._exit(1)
        os._exit(0)
    failed += os.waitpid(child, 0)[1] != 0
sys.exit(failed != 0)
"""


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return the command of Python 3.9, which Debian 11 has, beside what Ansible takes to a node."""
    root = debian.root("bullseye", variant="extract", packages=["python3.9"])
    libraries = tmp_path_factory.mktemp("node")
    # AnsiballZ takes along what a module imports of these, and empty files that make packages of folders.
    shutil.copytree(Path(ansible.__file__).parent / "module_utils", libraries / "ansible" / "module_utils")
    (libraries / "ansible" / "__init__.py").touch()
    for folder in FOLDERS:
        shutil.copytree(
            PLUGINS / folder,
            libraries / "ansible_collections" / "bramble" / "pi" / "plugins" / folder,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    inside = debian.inside(root, mounts={libraries: "/mnt"}, environment={"PYTHONPATH": "/mnt"})
    return [*inside, "/usr/bin/python3.9"]


def import_all(system: list[str], names: list[str]) -> str:
    """Import each; return what went wrong."""
    done = subprocess.run(
        [*system, "-c", IMPORT_ALL],
        input="\n".join(names),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert (done.returncode == 0) == (not done.stdout), (done.returncode, done.stdout)
    return done.stdout


def test_code_for_nodes_is_imported_by_python_3_9(system: list[str]) -> None:
    names = [
        f"ansible_collections.bramble.pi.plugins.{path.relative_to(PLUGINS).with_suffix('').as_posix()}"
        for folder in FOLDERS
        for path in sorted((PLUGINS / folder).rglob("*.py"))
    ]
    assert len(names) > 50
    assert not import_all(system, [name.replace("/", ".").removesuffix(".__init__") for name in names])


def test_what_only_newer_pythons_have_is_found(system: list[str]) -> None:
    # tomllib came with 3.11; PyYAML is on no node.
    for name in ("tomllib", "yaml"):
        assert f"No module named '{name}'" in import_all(system, [name])
