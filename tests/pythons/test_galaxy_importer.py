# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Galaxy would take the collection: its own importer has nothing to say against it."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import debian

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
# It wants older versions of what the other tools have, so that it gets an environment of its own.
REQUIREMENT = "galaxy-importer>=0.4.44"
# Without containers. ansible-test and ansible-lint are run by other parts of the tests, and stricter.
SETTINGS = """[galaxy-importer]
RUN_ANSIBLE_DOC = True
RUN_ANSIBLE_LINT = False
RUN_ANSIBLE_TEST = False
RUN_FLAKE8 = False
CHECK_CHANGELOG = True
"""


@pytest.fixture(scope="module")
def importer() -> Path:
    """Return the Python that has the importer; made once and kept."""

    def make(folder: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", REQUIREMENT], check=True)

    key = hashlib.sha256(f"{REQUIREMENT} {sys.version}".encode()).hexdigest()[:12]
    kept = debian.kept(folder=debian.CACHE / "tools", kind="galaxy-importer", key=key, make=make)
    return kept / "bin" / "python"


def test_galaxy_has_nothing_to_say_against_it(importer: Path, tmp_path: Path) -> None:
    build = [str(BIN / "ansible-galaxy"), "collection", "build", "--output-path", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, env={**os.environ, "LC_ALL": "C.UTF-8"})
    (archive,) = tmp_path.glob("bramble-pi-*.tar.gz")
    settings = tmp_path / "settings"
    settings.write_text(SETTINGS)
    done = subprocess.run(
        [str(importer), "-m", "galaxy_importer.main", str(archive)],
        cwd=tmp_path,
        env={
            **os.environ,
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "GALAXY_IMPORTER_CONFIG": str(settings),
            "LC_ALL": "C.UTF-8",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "Importer processing completed successfully" in done.stdout
    assert not re.findall(r"^(?:WARNING|ERROR|CRITICAL).*", done.stdout, re.MULTILINE), done.stdout
