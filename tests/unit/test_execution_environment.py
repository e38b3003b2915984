# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an execution environment is made of: ansible-builder accepts it, and Debian has the packages."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
BINDEP = ROOT / "meta/bindep.txt"
#: Messages of what runs on the controller that name a package.
NAMED = re.compile(
    r'(?:package="|_Tool\("[^"]*", \([^)]*\), "|[Ii]nstall the package |the package )([a-z0-9][a-z0-9-]+)'
)
ROOMS = ("module_utils/_boot", "module_utils/_os_image", "module_utils/_sd_card", "plugin_utils/_cards")


def packages(platform: str) -> set[str]:
    """Return the packages of a platform."""
    rows = (line.split(maxsplit=1) for line in BINDEP.read_text().splitlines() if not line.startswith("#"))
    return {row[0] for row in rows if len(row) == 1 or f"platform:{platform}" in row[1]}


def builder(*arguments: str, folder: Path) -> str:
    """Run ansible-builder."""
    done = subprocess.run(
        [str(BIN / "ansible-builder"), *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_the_definition_of_the_documentation_is_accepted(tmp_path: Path) -> None:
    (block,) = re.findall(r"```yaml\n(version: 3\n.*?)```", (ROOT / "docs/start.md").read_text(), re.DOTALL)
    (tmp_path / "execution-environment.yml").write_text(block)
    builder("create", folder=tmp_path)
    recipe = (tmp_path / "context/Containerfile").read_text()
    assert "debian:trixie" in recipe
    assert "python3-venv" in recipe
    # It runs ensurepip, which Debian refuses for its own Python; python3-pip is there already.
    assert "pip_install $PYCMD" not in recipe
    assert re.search(r"apt-get install .*python3-pip", recipe)


def test_packages_that_messages_name_are_there() -> None:
    named = {
        package
        for room in ROOMS
        for path in (ROOT / "plugins" / room).glob("*.py")
        for package in NAMED.findall(path.read_text())
    }
    assert {"gzip", "mtools", "openssh-client", "util-linux", "xz-utils", "zstd"} <= named
    assert named - packages("dpkg") == set()


def test_debian_has_each_package() -> None:
    if shutil.which("apt-cache") is None:
        pytest.skip("not a Debian")
    names = sorted(packages("dpkg"))
    policy = subprocess.run(
        ["apt-cache", "policy", *names],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
    ).stdout
    candidates = dict(re.findall(r"^(\S+):\n  Installed: .*\n  Candidate: (.*)$", policy, re.MULTILINE))
    assert {
        name: candidates.get(name, "(none)") for name in names if candidates.get(name, "(none)") == "(none)"
    } == {}
