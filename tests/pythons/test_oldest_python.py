# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs on nodes is imported by the oldest Python that one may have, and nothing is there but that.

With BRAMBLE_NODE_RELEASE=trixie it is another Debian's Python.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import ansible
import pytest

from tests import debian

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
FOLDERS = ("modules", "module_utils")
#: The Pythons of nodes, by the Debian that has them.
PYTHONS = {"bullseye": "3.9", "bookworm": "3.11", "trixie": "3.13"}
RELEASE = os.environ.get("BRAMBLE_NODE_RELEASE", "bullseye")
PYTHON = PYTHONS[RELEASE]
# Each in a process of its own, as on a node; one that needs what another one has imported is found so.
IMPORT_ALL = """
import os, sys, traceback
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
    """Return the command of the release's Python, beside what Ansible takes to a node."""
    root = debian.root(RELEASE, variant="extract", packages=[f"python{PYTHON}"])
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
    return [*inside, f"/usr/bin/python{PYTHON}"]


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


def test_code_for_nodes_is_imported(system: list[str]) -> None:
    names = [
        f"ansible_collections.bramble.pi.plugins.{path.relative_to(PLUGINS).with_suffix('').as_posix()}"
        for folder in FOLDERS
        for path in sorted((PLUGINS / folder).rglob("*.py"))
    ]
    assert len(names) > 50
    assert not import_all(system, [name.replace("/", ".").removesuffix(".__init__") for name in names])


def test_what_no_node_has_is_found(system: list[str]) -> None:
    # tomllib came with 3.11; PyYAML is on no node.
    for name in ("tomllib", "yaml") if PYTHON == "3.9" else ("yaml",):
        assert f"No module named '{name}'" in import_all(system, [name])
