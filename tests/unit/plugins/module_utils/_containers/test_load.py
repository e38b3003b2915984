# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is imported and what is refused; molecule/kube_packages does it with real runtimes."""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._common.download import DownloadError
from ansible_collections.bramble.pi.plugins.module_utils._containers.images import ContainerImagesError
from ansible_collections.bramble.pi.plugins.module_utils._containers.load import ImageArchives
from ansible_collections.bramble.pi.plugins.module_utils._containers.runtime import RUNTIMES

CONTENT = b"a.example/one:1 busybox"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Docker:
    """A docker whose archives hold names of images."""

    def __init__(self) -> None:
        self.images = ["k8s.gcr.io/pause:3.2"]
        self.imports: list[str] = []

    def __call__(self, command: list[str]) -> tuple[int, str, str]:
        if command[0] == "dpkg":
            return 0, "amd64\n", ""
        if "ls" in command:
            return 0, "\n".join(f"sha256:{name}" for name in self.images), ""
        if "inspect" in command:
            return 0, json.dumps([self.inspected(name) for name in self.images]), ""
        if "rm" in command:
            return 1, "", f"Error: No such image: {command[-1]}"
        content = Path(command[-1]).read_text()
        if content == "broken":
            return 1, "", "unexpected EOF"
        self.imports.append(command[-1])
        self.images += content.split()
        return 0, "", ""

    def inspected(self, name: str) -> dict[str, Any]:
        name, _equals, architecture = name.partition("=")
        return {
            "Id": f"sha256:{name}",
            "RepoTags": [name.removeprefix("docker.io/library/")],
            "Architecture": architecture or "amd64",
        }


def ensure(
    docker: Docker,
    *archives: dict[str, Any],
    check_mode: bool = False,
    installed: bool = True,
    warn: Callable[[str], None] = lambda _text: None,
) -> list[str]:
    return ImageArchives(
        runtime=RUNTIMES["dockershim"],
        run=docker,
        has=lambda program: installed,
        check_mode=check_mode,
        archives=[{"sha256": None, "ids": {}, **archive} for archive in archives],
        variable="kube_packages_image_archives",
        warn=warn,
    ).ensure()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve an archive."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "images.tar").write_bytes(CONTENT)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()


@pytest.fixture
def archive(tmp_path: Path) -> str:
    path = tmp_path / "images.tar"
    path.write_bytes(CONTENT)
    return str(path)


def test_imports_what_is_missing(archive: str, server: str) -> None:
    docker = Docker()
    archives = (
        {"src": "/there/is/none", "images": ["k8s.gcr.io/pause:3.2"]},
        {"src": f"{server}/images.tar", "images": ["a.example/one:1"], "sha256": SHA256.upper()},
        {"src": archive, "images": ["docker.io/library/busybox:latest"], "sha256": SHA256},
    )
    assert ensure(docker, *archives) == ["a.example/one:1"]
    assert len(docker.imports) == 1
    assert not Path(docker.imports[0]).exists(), "a download is to be removed"
    assert ensure(docker, *archives) == []


def test_says_that_nobody_vouches_for_what_comes_over_http(archive: str, server: str) -> None:
    warnings: list[str] = []
    url = {"src": f"{server}/images.tar", "images": ["a.example/one:1"]}
    ensure(Docker(), {**url, "sha256": SHA256}, warn=warnings.append)
    ensure(Docker(), {"src": archive, "images": ["a.example/one:1"]}, warn=warnings.append)
    assert warnings == []
    ensure(Docker(), url, warn=warnings.append)
    (warning,) = warnings
    assert warning.startswith(f"{server}/images.tar came over http and was not checked")
    assert warning.endswith("set sha256 beside it in kube_packages_image_archives")


def test_imports_from_a_path(archive: str) -> None:
    docker = Docker()
    assert ensure(docker, {"src": archive, "images": ["busybox", "a.example/one:1"]}) == [
        "busybox",
        "a.example/one:1",
    ]
    assert docker.imports == [archive]


@pytest.mark.parametrize("installed", [True, False])
def test_check_mode_imports_nothing(archive: str, installed: bool) -> None:
    docker = Docker()
    item = {"src": archive, "images": ["busybox"]}
    assert ensure(docker, item, check_mode=True, installed=installed) == ["busybox"]
    assert docker.imports == []


def test_names_what_cannot_be_imported(tmp_path: Path, archive: str) -> None:
    broken = tmp_path / "broken.tar"
    broken.write_text("broken")
    cases = [
        (
            {"src": str(broken), "images": ["x"]},
            r"broken\.tar cannot be imported: 'docker image load .*' ended with 1: unexpected",
        ),
        (
            {"src": "/no/such.tar", "images": ["x"]},
            r"/no/such\.tar is not there, needed for x: put it on",
        ),
        (
            {"src": archive, "images": ["busybox", "y:1"]},
            r"images\.tar was imported, and y:1 for amd64 is still .* in kube_packages_image_archives",
        ),
        ({"src": archive, "images": ["x@sha256:00"]}, "image 'x@sha256:00' is not valid"),
    ]
    for item, message in cases:
        with pytest.raises(ContainerImagesError, match=message):
            ensure(Docker(), item)


def test_another_architecture_or_id_is_not_there(archive: str) -> None:
    item = {"src": archive, "images": ["a.example/one:1"]}
    docker = Docker()
    docker.images = ["a.example/one:1=arm64"]
    assert ensure(docker, item) == ["a.example/one:1"]
    docker = Docker()
    docker.images = ["a.example/one:1"]
    assert ensure(docker, {**item, "ids": {"a.example/one:1": "sha256:a.example/one:1"}}) == []
    another = {**item, "ids": {"a.example/one:1": "sha256:another"}}
    assert ensure(docker, another, check_mode=True) == ["a.example/one:1"]


def test_refuses_other_content(archive: str, server: str) -> None:
    for source in (archive, f"{server}/images.tar"):
        docker = Docker()
        with pytest.raises(DownloadError, match=f"sha256 {SHA256}; expected 0+: set sha256 in kube_packages"):
            ensure(docker, {"src": source, "images": ["busybox"], "sha256": "0" * 64})
        assert docker.imports == []


def test_names_what_cannot_be_downloaded(server: str) -> None:
    with pytest.raises(DownloadError, match=r"none\.tar cannot be fetched: HTTP Error 404"):
        ensure(Docker(), {"src": f"{server}/none.tar", "images": ["busybox"]})
    with pytest.raises(DownloadError, match=r"cannot be fetched: .*refused"):
        ensure(Docker(), {"src": "http://127.0.0.1:9/x.tar", "images": ["busybox"]})
