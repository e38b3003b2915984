# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives are unpacked, Docker's packages installed; molecule/containerd does it with real ones."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._common import apt_repository
from ansible_collections.bramble.pi.plugins.module_utils._common.apt import AptError, Package
from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._containers import origin
from ansible_collections.bramble.pi.plugins.module_utils._containers.base import (
    Host,
    RuntimeStateError,
    Wishes,
)
from ansible_collections.bramble.pi.plugins.module_utils._containers.runtime import RUNTIMES

VERSION = "#!/bin/sh\necho containerd github.com/containerd/containerd/v2 v2.3.1 0e4b4a3\n"
RUNC = b"#!/bin/sh\necho runc version 1.3.3\n"
KEY = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQEN\n-----END PGP PUBLIC KEY BLOCK-----\n"
PROGRAMS = {"bin/containerd": VERSION, "bin/ctr": "c", "bin/containerd-shim-runc-v2": "s", "LICENSE": "l"}


def archive(files: dict[str, str]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(text), 0o755
            tar.addfile(member, io.BytesIO(text.encode()))
    return packed.getvalue()


class Node:
    """A node below a folder, with what is to be downloaded."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.installed: dict[str, Package] = {}
        self.log: list[str] = []
        self.simulated = ""
        #: What the installed containerd says.
        self.there = ""
        #: What apt-get update, and apt-get install --simulate, fail with.
        self.refused = {"update": "", "--simulate": ""}
        self.files = {
            "containerd": archive(PROGRAMS),
            "runc": RUNC,
            "cni_plugins": archive({"./bridge": "b", "./loopback": "l", "etc/other": "o"}),
        }
        #: The commands and files before which the module is killed.
        self.killed_at = ""
        monkeypatch.setattr(origin, "download", self.download)
        monkeypatch.setattr(apt_repository, "download", lambda *, path, **_more: Path(path).write_text(KEY))
        monkeypatch.setattr(apt_repository, "_OTHER_SOURCES", ())
        monkeypatch.setattr(origin, "replace_file", self.replace_file)

    def replace_file(self, path: str, data: bytes, **more: object) -> None:
        self.die_at(path)
        _REPLACE_FILE(path, data, **more)  # type: ignore[arg-type]

    def die_at(self, what: str) -> None:
        if self.killed_at and self.killed_at in what:
            self.killed_at = ""
            raise KeyboardInterrupt

    def download(self, *, url: str, path: str, sha256: str, variable: str, checksum_variable: str) -> None:
        part = url.rpartition("/")[2]
        assert (variable, checksum_variable) == (f"docker_{part}_url", f"docker_{part}_sha256")
        self.log.append(f"download {part}")
        self.die_at(f"download {part}")
        Path(path).write_bytes(self.files[part])
        assert hashlib.sha256(self.files[part]).hexdigest() == sha256

    def __call__(self, command: list[str]) -> tuple[int, str, str]:
        if command[:2] == ["env", "containerd"]:
            return (0, self.there, "") if self.there else (127, "", "env: 'containerd': No such file")
        if command[0] == "env":
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            return done.returncode, done.stdout, done.stderr
        words = [word for word in command if not word.startswith(("-", "DPkg", "Dpkg", "Dir::", "APT::"))]
        self.log.append(" ".join(words))
        self.die_at(self.log[-1])
        for word, said in self.refused.items():
            if said and word in command:
                return 100, "", said
        return 0, self.simulated if "--simulate" in command else "", ""

    def wishes(self, **changed: object) -> Wishes:
        archives = {
            part: {"url": f"http://x/{part}", "sha256": hashlib.sha256(data).hexdigest()}
            for part, data in self.files.items()
        }
        repository = {"url": "https://download.docker.com/linux/{distribution}", "key": ""}
        return Wishes(archives=archives, docker_repository=repository, **changed)  # type: ignore[arg-type]

    def ensure(self, source: Callable[..., object], *, check_mode: bool = False, **more: object) -> list[str]:
        changes = Changes(check_mode=check_mode, run=self, root=str(self.root))
        host = Host(self, lambda _program: True, changes, str(self.root))
        source(host=host, wishes=self.wishes(**more), installed=self.installed)
        return changes.sentences

    def tree(self) -> set[str]:
        return {str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.is_file()}


_REPLACE_FILE = origin.replace_file


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text("ID=debian\nVERSION_CODENAME=trixie\n")
    return Node(tmp_path, monkeypatch)


UNPACKED = {
    "etc/os-release",
    "etc/systemd/system/containerd.service.d/bramble.conf",
    "opt/cni/bin/bridge",
    "opt/cni/bin/loopback",
    "usr/local/bin/containerd",
    "usr/local/bin/containerd-shim-runc-v2",
    "usr/local/bin/ctr",
    "usr/local/lib/bramble-containerd/receipt.json",
    "usr/local/sbin/runc",
}


def test_unpacks_archives_in_four_steps(node: Node) -> None:
    announced = node.ensure(origin.from_archive, check_mode=True)
    assert node.tree() == {"etc/os-release"}
    assert node.ensure(origin.from_archive) == announced
    assert node.tree() == UNPACKED
    assert os.access(node.root / "usr/local/bin/containerd", os.X_OK)
    before = list(node.log)
    assert node.ensure(origin.from_archive, check_mode=True) == []
    assert node.ensure(origin.from_archive) == []
    assert node.log == before


@pytest.mark.parametrize(
    "moment", ["download runc", "bin/containerd", "bin/ctr", "sbin/runc", "cni/bin/bridge", "daemon-reload"]
)
def test_a_run_that_was_killed_is_done_again(node: Node, moment: str) -> None:
    node.killed_at = moment
    with pytest.raises(KeyboardInterrupt):
        node.ensure(origin.from_archive)
    assert node.killed_at == ""
    since = len(node.log)
    assert node.ensure(origin.from_archive)
    assert node.tree() == UNPACKED
    assert node.log.count("download containerd") == 1, "what had come stays"
    assert "systemctl daemon-reload" in node.log[since:], "systemd knows of the drop-in"
    assert node.ensure(origin.from_archive) == []


def test_plugins_of_a_package_are_left_alone(node: Node) -> None:
    node.installed = {"kubernetes-cni": Package("1.9.1-1.1", held=True, broken=False)}
    node.ensure(origin.from_archive)
    assert {path for path in UNPACKED if "cni" not in path} == node.tree()
    # Taken out again, it leaves the node without.
    node.installed = {}
    node.ensure(origin.from_archive)
    assert node.tree() == UNPACKED


def test_a_newer_release_takes_the_place(node: Node) -> None:
    node.ensure(origin.from_archive)
    node.files["runc"] = newer = RUNC + b"#\n"
    assert node.ensure(origin.from_archive) == ["Install http://x/runc"]
    assert (node.root / "usr/local/sbin/runc").read_bytes() == newer


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<html>", "docker_containerd_url cannot be unpacked: .*; expected a release archive"),
        (archive({"containerd": VERSION}), "has no bin/containerd; expected containerd-VERSION-linux-ARCH"),
        (
            archive({"bin/containerd": "\x7fELF"}),
            "does not run here, it says: .*; expected one for the node's",
        ),
        (archive({"bin/containerd": "#!/bin/sh\necho nerdctl\n"}), "it says: nerdctl; expected one"),
    ],
)
def test_refuses_an_archive_before_anything_is_replaced(node: Node, content: bytes, message: str) -> None:
    node.files["containerd"] = content
    with pytest.raises(RuntimeStateError, match=message):
        node.ensure(origin.from_archive)
    assert not {path for path in node.tree() if "/bin/" in path and "bramble-containerd" not in path}


@pytest.mark.parametrize("content", [b"\x7fELF of another one", b"#!/bin/sh\necho whale\n"])
def test_refuses_a_runc_before_anything_is_replaced(node: Node, content: bytes) -> None:
    node.files["runc"] = content
    with pytest.raises(RuntimeStateError, match="the runc of docker_runc_url does not run here, it says: "):
        node.ensure(origin.from_archive)
    assert not {path for path in node.tree() if path.startswith(("usr/local/bin", "usr/local/sbin"))}


def test_installs_from_docker_in_four_steps(node: Node) -> None:
    node.installed = {"docker.io": Package("26.1.5", held=False, broken=False)}
    announced = node.ensure(origin.from_docker, check_mode=True)
    assert node.tree() == {"etc/os-release"}
    assert node.ensure(origin.from_docker) == announced
    assert "Install containerd.io docker-ce docker-ce-cli" in announced
    assert node.log[-1] == "apt-get install containerd.io=2.* docker-ce docker-ce-cli"
    source = (node.root / "etc/apt/sources.list.d/docker.sources").read_text()
    assert "URIs: https://download.docker.com/linux/debian\nSuites: trixie\nComponents: stable\n" in source
    node.installed = {
        name: Package("2.2.1-1", held=False, broken=False) for name in origin.sources.DOCKERS_OWN
    }
    before = list(node.log)
    assert node.ensure(origin.from_docker, check_mode=True) == []
    assert node.ensure(origin.from_docker) == []
    assert node.log == before


def test_names_what_apt_would_take_along(node: Node) -> None:
    node.simulated = "Remv containerd [1.7.24]\nRemv whale [1]\n"
    with pytest.raises(RuntimeStateError, match="beside whale, which apt would remove; expected none"):
        node.ensure(origin.from_docker)
    assert not any(line.startswith("apt-get install") and "simulate" not in line for line in node.log[:-1])


def test_archives_are_proved_before_the_node_is_drained(node: Node) -> None:
    node.ensure(origin.prepare, containerd_source="archive")
    kept = {f"usr/local/lib/bramble-containerd/{part}.download" for part in node.files}
    assert node.tree() == {"etc/os-release", *kept}
    before = list(node.log)
    node.ensure(origin.from_archive)
    assert node.tree() == UNPACKED
    assert node.log == [*before, "systemctl daemon-reload"], "nothing is downloaded again"
    node.ensure(origin.prepare, containerd_source="archive")
    assert node.tree() == UNPACKED


@pytest.mark.parametrize(
    ("part", "text"), [("containerd", "cannot be unpacked"), ("runc", "does not run here")]
)
def test_an_archive_that_does_not_run_is_refused_before_the_drain(node: Node, part: str, text: str) -> None:
    node.files[part] = b"\x7fELF of another one"
    with pytest.raises(RuntimeStateError, match=f"docker_{part}_url {text}"):
        node.ensure(origin.prepare, containerd_source="archive")
    assert not {path for path in node.tree() if path.startswith(("usr/local/bin", "usr/local/sbin"))}


SOURCE = {"etc/apt/sources.list.d/docker.sources", "etc/apt/keyrings/docker.asc"}
NO_SUITE = "E: The repository 'https://x trixie Release' does not have a Release file."


@pytest.mark.parametrize(
    ("refused", "simulated", "text", "left"),
    [
        ({}, "", "", SOURCE),
        ({}, "Remv whale [1]\n", "beside whale, which apt would remove", SOURCE),
        # Plain apt-get update would fail with it.
        ({"update": NO_SUITE}, "", "does not have a Release file", set()),
        ({"--simulate": "E: Version '2.*' for 'containerd.io' was not found"}, "", "was not found", SOURCE),
        # What dpkg was interrupted at is finished by the installation itself.
        ({"--simulate": "E: Unmet dependencies."}, "", "", SOURCE),
    ],
)
def test_dockers_packages_are_simulated_before_the_node_is_drained(
    node: Node, refused: dict[str, str], simulated: str, text: str, left: set[str]
) -> None:
    node.refused, node.simulated = refused, simulated
    if text:
        with pytest.raises((RuntimeStateError, AptError), match=text):
            node.ensure(origin.prepare, containerd_source="docker")
    else:
        node.ensure(origin.prepare, containerd_source="docker")
    assert node.tree() == {"etc/os-release", *left}
    installs = [line for line in node.log if line.startswith("apt-get install")]
    assert len(installs) == (0 if "update" in refused else 1), "simulated, and no more"


@pytest.mark.parametrize("source", ["os", "docker"])
def test_an_archive_that_was_killed_before_its_receipt_is_one(node: Node, source: str) -> None:
    node.killed_at = "daemon-reload"
    with pytest.raises(KeyboardInterrupt):
        node.ensure(origin.from_archive)
    assert not [path for path in node.tree() if path.endswith("receipt.json")]

    def refuse(*, installed: object, **more: Any) -> None:
        del installed
        origin.refuse(runtime=RUNTIMES["containerd"], **more)

    with pytest.raises(RuntimeStateError, match="containerd runs from a release archive"):
        node.ensure(refuse, containerd_source=source)
    node.ensure(refuse, containerd_source="archive")


def test_a_source_of_the_users_own_is_enough_for_packages_that_are_there(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = node.root / "docker.list"
    own.write_text(
        "deb [signed-by=/usr/share/docker.gpg] https://download.docker.com/linux/debian trixie stable\n"
    )
    monkeypatch.setattr(apt_repository, "_OTHER_SOURCES", (str(own),))
    node.installed = {
        name: Package("2.2.1-1", held=False, broken=False) for name in origin.sources.DOCKERS_OWN
    }
    assert node.ensure(origin.from_docker) == []
    own.unlink()
    assert len(node.ensure(origin.from_docker)) == len(SOURCE)


@pytest.mark.parametrize(
    ("there", "unfit", "text"),
    [
        ("", None, ""),
        ("1.7.24~ds1", None, ""),
        ("2.3.1", "", ""),
        (
            "2.3.2",
            None,
            r"docker_containerd_url is 2\.3\.1, and 2\.3\.2 is installed; expected that one or newer",
        ),
        (
            "",
            "Kubernetes 1.40 needs containerd 3.0",
            r"^Kubernetes 1\.40 needs containerd 3\.0, by docker_conta",
        ),
    ],
)
def test_a_containerd_that_is_too_old_is_refused(
    node: Node, there: str, unfit: str | None, text: str
) -> None:
    node.there = there and f"containerd github.com/containerd/containerd {there} x\n"
    more: dict[str, Any] = {
        "unfit": None if unfit is None else lambda minor: unfit if minor == (2, 3) else "other"
    }
    for source in (origin.prepare, origin.from_archive):
        if text:
            with pytest.raises(RuntimeStateError, match=text):
                node.ensure(source, containerd_source="archive", **more)
            assert not {path for path in node.tree() if path.startswith("usr/local/bin")}
        else:
            node.ensure(source, containerd_source="archive", **more)
