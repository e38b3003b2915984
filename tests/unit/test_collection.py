# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection as a user gets it: built, installed into an empty folder, used from there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

from scripts.test_runner.parts import copy_collection

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


def offline() -> list[str]:
    """Return a prefix that takes the network away, where this user may do that."""
    prefix = ["unshare", "--net"]
    usable = subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode == 0
    return prefix if usable else []


def run(*command: str, cwd: Path, **environment: str) -> str:
    """Run a command of ansible-core without a network and return what it printed."""
    done = subprocess.run(
        [*offline(), str(BIN / command[0]), *command[1:]],
        cwd=cwd,
        env={**os.environ, "LC_ALL": "C.UTF-8", "ANSIBLE_FORCE_COLOR": "0", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the collection."""
    folder = tmp_path_factory.mktemp("build")
    run("ansible-galaxy", "collection", "build", "--output-path", str(folder), cwd=ROOT)
    version = yaml.safe_load((ROOT / "galaxy.yml").read_text())["version"]
    return folder / f"bramble-pi-{version}.tar.gz"


@pytest.fixture(scope="session")
def installed(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the built file into an empty folder, which becomes the only place for collections."""
    folder = tmp_path_factory.mktemp("installed")
    run("ansible-galaxy", "collection", "install", str(archive), "-p", str(folder), cwd=folder)
    return folder


def use(installed: Path, *command: str) -> str:
    """Run a command that knows the installed collection and no checkout."""
    return run(*command, cwd=installed, ANSIBLE_COLLECTIONS_PATH=str(installed))


def test_archive_holds_the_collection_and_nothing_of_the_checkout(archive: Path) -> None:
    with tarfile.open(archive) as tar:
        names = tar.getnames()
    assert {name.split("/", maxsplit=1)[0] for name in names} == {
        "CONTRIBUTING.md",
        "FILES.json",
        "LICENSE",
        "MANIFEST.json",
        "README.md",
        "changelogs",
        "docs",
        "inventories",
        "meta",
        "playbooks",
        "plugins",
        "requirements.txt",
        "roles",
        "site.yml",
    }
    assert [name for name in names if "virtual" in name] == []


def test_archive_does_not_depend_on_other_collections() -> None:
    assert yaml.safe_load((ROOT / "galaxy.yml").read_text())["dependencies"] == {}


@pytest.mark.parametrize("example", ["router", "nat", "netboot"])
def test_installed_site_playbook_is_found(installed: Path, example: str) -> None:
    inventory = installed / "ansible_collections" / "bramble" / "pi" / "inventories" / example
    output = use(installed, "ansible-playbook", "bramble.pi.site", "-i", str(inventory), "--list-tags")
    for role in ("os_prep", "docker", "kube_packages", "control_plane", "workers"):
        assert role in output


def test_installed_preflight_validates_an_inventory(installed: Path) -> None:
    inventory = installed / "ansible_collections" / "bramble" / "pi" / "inventories" / "router"
    output = use(installed, "ansible-playbook", "bramble.pi.preflight", "-i", str(inventory))
    assert "failed=0" in output
    assert "DEPRECATION" not in output


def test_ansible_builder_reads_what_the_installed_collection_needs(installed: Path) -> None:
    found = yaml.safe_load(use(installed, "ansible-builder", "introspect", str(installed)))
    names = {re.split("[>=]", line)[0] for line in found["python"]}
    # ansible-core is the definition's own business.
    assert names == {"jmespath", "netaddr", "cryptography"}
    assert {"openssh-client [platform:dpkg]", "zstd", "mtools", "age"} <= {
        line.partition("  #")[0] for line in found["system"]
    }


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Put the checkout's files into a bare repository of git, and return its URL."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout")
    folder = tmp_path_factory.mktemp("git")
    checkout = copy_collection(folder)
    author = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    for command in (
        ["git", "checkout", "--quiet", "-b", "main"],
        ["git", "add", "--all"],
        ["git", *author, "commit", "--quiet", "-m", "All of it"],
        ["git", "clone", "--quiet", "--bare", ".", str(folder / "bramble.pi.git")],
    ):
        subprocess.run(command, cwd=checkout, check=True)
    return f"file://{folder}/bramble.pi.git"


@pytest.mark.parametrize("form", ["url", "requirements"])
def test_what_the_readme_installs_from_git_writes_an_inventory(
    form: str, repository: str, tmp_path: Path
) -> None:
    readme = (ROOT / "README.md").read_text()
    url = "https://github.com/bramble-pi/bramble.pi"
    if form == "url":
        (line,) = re.findall(r"^ +ansible-galaxy (collection install git\+\S+)$", readme, re.MULTILINE)
        arguments = line.replace(url, repository).split()
    else:
        (block,) = re.findall(r"```yaml\n(   collections:\n.*?)   ```", readme, re.DOTALL)
        (tmp_path / "requirements.yml").write_text(block.replace(url, repository))
        arguments = ["collection", "install", "-r", "requirements.yml"]
    home = {"HOME": str(tmp_path), "ANSIBLE_HOME": str(tmp_path / ".ansible")}
    run("ansible-galaxy", *arguments, cwd=tmp_path, **home)
    output = run(
        *("ansible-playbook", "bramble.pi.start", "-e", "start_image_list="),
        *("-e", "start_network=192.168.7.0/24", "-e", "start_search=none"),
        cwd=tmp_path,
        **home,
    )
    assert "ansible-playbook -i my-rack bramble.pi.site" in output
    assert (tmp_path / "my-rack/hosts.yml").exists()
    assert not (tmp_path / ".ansible/collections/ansible_collections/bramble/pi/tests").exists()


def test_readme_installs_what_the_requirements_name() -> None:
    names = set(re.findall(r"^([a-z-]+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE))
    # ansible-core brings it.
    expected = names - {"cryptography"}
    for page in ("README.md", "docs/start.md"):
        # Not the file of the requirements itself, which a checkout has.
        (line,) = re.findall(r"^ +pip install ((?!-r).*)", (ROOT / page).read_text(), re.MULTILINE)
        assert {re.split("[>=]", name.strip("'"))[0] for name in line.split()} == expected


MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("*.py"))
PUBLIC = [name for name in MODULES if not name.startswith("virtual_rack_")]


@pytest.fixture(scope="module")
def documentation(installed: Path) -> dict[str, str]:
    """Return what ansible-doc shows of each module; one run of it, as most of its time is its start."""
    output = use(installed, "ansible-doc", *(f"bramble.pi.{name}" for name in PUBLIC))
    _before, *parts = re.split(r"^> MODULE \S*bramble\.pi\.(\w+)", output, flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2]))


@pytest.mark.parametrize("module", PUBLIC)
def test_installed_module_has_documentation(documentation: dict[str, str], module: str) -> None:
    output = documentation[module]
    for heading in ("ATTRIBUTES", "EXAMPLES", "RETURN VALUES", "check_mode"):
        assert heading in output
