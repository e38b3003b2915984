# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller in a container: its image runs, and what an execution environment is made of is accepted."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from scripts.test_runner.parts import copy_collection
from tests import debian

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


@pytest.mark.long
def test_the_image_of_the_controller_writes_an_inventory(tmp_path: Path) -> None:
    if os.geteuid() != 0 or not shutil.which("podman") or not shutil.which("mmdebstrap"):
        pytest.skip("needs root, podman and mmdebstrap")
    base, image = "localhost/bramble-test-base", "localhost/bramble-test-controller"
    context = copy_collection(tmp_path / "checkout")
    # Stands for the image that the file names, as that comes from a registry.
    # The same as for the newest ansible-core.
    root = debian.root("trixie", variant="minbase", packages=["python3", "openssh-client"])
    settings = root / "etc/apt/apt.conf.d/99-this-machine"
    settings.write_text("\n".join(debian.apt_settings()) + "\n")
    # Without podman's own limits, which may be above what this machine may set.
    environment = {**os.environ, "CONTAINERS_CONF": str(ROOT / "roles/virtual_rack/files/containers.conf")}

    def podman(*arguments: str) -> str:
        done = subprocess.run(
            ["podman", *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        print(done.stdout)
        assert done.returncode == 0, f"podman {arguments[0]} ended with {done.returncode}"
        return done.stdout

    try:
        archive = tmp_path / "base.tar"
        subprocess.run(["tar", "-C", str(root), "-cf", str(archive), "."], check=True)
        podman("import", "--quiet", str(archive), base)
        recipe = str(context / "meta/Containerfile")
        podman(
            *("build", "--network", "host", "--from", base, "--tag", image, "--file", recipe, str(context))
        )
        rack = tmp_path / "rack"
        rack.mkdir()
        answers = ["search=none", "network=192.0.2.0/24", "gateway=192.0.2.1", "timezone=Europe/Berlin"]
        answers += ["nodes=3", "image=https://192.0.2.9/os.img.xz"]
        said = podman(
            *("run", "--rm", "--network", "none", "--volume", f"{rack}:/rack", image),
            *("ansible-playbook", "bramble.pi.start"),
            *(word for answer in answers for word in ("-e", f"start_{answer}")),
        )
        assert "preflight accepts it" in said
        assert "all" in yaml.safe_load((rack / "my-rack/hosts.yml").read_text())
        programs = podman(
            *("run", "--rm", "--network", "none", image, "sh", "-c"),
            "for name in ssh sshpass zstd gzip xz mcopy lsblk ip age git; do command -v $name; done",
        )
        assert len(programs.split()) == 10
    finally:
        settings.unlink()
        for name in (image, base):
            podman("rmi", "--force", "--ignore", name)
