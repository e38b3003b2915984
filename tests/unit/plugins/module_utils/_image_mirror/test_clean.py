# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian's docker-registry as a mirror: what is kept, what goes, what is served without the one outside."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import random
import shutil
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.unattended import run_command
from ansible_collections.bramble.pi.plugins.module_utils._containers.mirrors import Mirror
from ansible_collections.bramble.pi.plugins.module_utils._image_mirror import (
    authority,
    blobs,
    clean,
    configuration,
    upkeep,
)

from tests import debian

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
LAYER = 300_000
NAMES = ("one", "two", "three")
OWN = (os.getuid(), os.getgid())


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def wait_for(what: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


class Registry:
    """A docker-registry of Debian's package, that runs or does not."""

    def __init__(self, folder: Path, url: str) -> None:
        self.program = debian.package("docker-registry", release="bookworm") / "usr/bin/docker-registry"
        self.folder = folder
        self.url = url
        self.log = folder / "log"
        self.context: ssl.SSLContext | None = None
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(exist_ok=True)

    def start(self, text: str) -> None:
        file = self.folder / "configuration.json"
        file.write_text(text)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([self.program, "serve", file], stdout=log, stderr=log)
        wait_for(self.answers)

    def answers(self) -> bool:
        try:
            self.get("")
        except (OSError, http.client.HTTPException):
            return False
        return True

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def ask(self, method: str, url: str, data: bytes | None = None, **headers: str) -> Any:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(url, data, named, method=method)
        with urllib.request.urlopen(request, context=self.context, timeout=20) as answer:
            return answer.headers, answer.read()

    def get(self, path: str) -> bytes:
        return bytes(self.ask("GET", f"{self.url}/v2/{path}", Accept=MANIFEST)[1])

    def push(self, name: str, layer: bytes) -> None:
        described = []
        for content in (json.dumps({"rootfs": {}, "name": name}).encode(), layer):
            digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
            where = self.ask("POST", f"{self.url}/v2/{name}/blobs/uploads/", b"")[0]["Location"]
            self.ask("PUT", f"{where}&digest={digest}", content, Content_Type="application/octet-stream")
            described.append(
                {"mediaType": "application/octet-stream", "size": len(content), "digest": digest}
            )
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": described[0],
            "layers": described[1:],
        }
        self.ask(
            "PUT", f"{self.url}/v2/{name}/manifests/1", json.dumps(manifest).encode(), Content_Type=MANIFEST
        )

    def pull(self, name: str) -> int:
        """Pull an image as a node does that has nothing of it, and return how large it is."""
        manifest = json.loads(self.get(f"{name}/manifests/1"))
        parts = [self.get(f"{name}/blobs/{part}") for part in blobs.parts_of(json.dumps(manifest).encode())]
        assert [len(part) for part in parts] == [
            part["size"] for part in (manifest["config"], *manifest["layers"])
        ]
        return sum(map(len, parts))

    def pulls(self, name: str) -> bool:
        try:
            self.pull(name)
        except urllib.error.HTTPError:
            return False
        return True

    def content(self) -> list[str]:
        """Return which contents were fetched from it."""
        return [
            use.reference
            for use in blobs.uses(self.log.read_text().splitlines())
            if use.reference.startswith("sha256:")
        ]


class Rack:
    """A registry outside with three images, and the mirror of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.outside = Registry(folder / "outside", f"http://127.0.0.1:{free_port()}")
        self.mirror = Registry(folder / "mirror", f"https://127.0.0.1:{free_port()}")
        self.mirrored = Mirror("images.test", self.outside.url, self.mirror.url)
        self.root = f"{self.data}/images.test"
        #: How large all images are together.
        self.full = 0
        self.start_outside()
        chance = random.Random(7)
        for name in NAMES:
            self.outside.push(name, chance.randbytes(LAYER))

    def start_outside(self) -> None:
        content = {
            "version": "0.1",
            "storage": {"filesystem": {"rootdirectory": str(self.folder / "upstream")}},
            "http": {"addr": self.outside.url.partition("//")[2]},
        }
        self.outside.start(json.dumps(content))

    def start_mirror(self, *, online: bool = True) -> None:
        changes = Changes(check_mode=False)
        authority.Authority(run=run_command, changes=changes).ensure(hosts=["127.0.0.1"], owner=OWN)
        self.mirror.context = ssl.create_default_context(cafile=authority.CA)
        self.mirror.start(configuration.configuration(self.mirrored, data=str(self.data), online=online))

    def stored(self) -> int:
        return len(list(clean.find(str(self.data))))

    def fetch_all(self) -> None:
        """Have all images in the mirror, used one after the other an hour ago."""
        for name in NAMES:
            self.mirror.pull(name)
        # It stores what it hands on at its own pace.
        wait_for(lambda: self.stored() == 3 * len(NAMES))
        for number, name in enumerate(NAMES):
            link = Path(self.root, f"docker/registry/v2/repositories/{name}/_manifests/tags/1/current/link")
            path = Path(clean.blob_path(self.root, link.read_text()))
            for digest in (link.read_text(), *blobs.parts_of(path.read_bytes())):
                os.utime(clean.blob_path(self.root, digest), (time.time() - 3600 + number,) * 2)
        self.full = clean.space(str(self.data)).used

    def clean(self, images: int) -> int:
        """Clean as the timer does, with room for so many images; return how many blobs went."""
        clean.touch(self.root, blobs.uses(self.mirror.log.read_text().splitlines()))
        bound = self.full - (len(NAMES) - images) * LAYER
        return clean.clean(str(self.data), bound=bound)[0]


@pytest.fixture
def rack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rack]:
    for module, names in (
        (authority, ("CA", "CA_KEY", "CERTIFICATE", "KEY")),
        (configuration, ("CERTIFICATE", "KEY")),
    ):
        for name in names:
            monkeypatch.setattr(module, name, str(tmp_path / "tls" / name))
    rack = Rack(tmp_path)
    try:
        yield rack
    finally:
        rack.mirror.stop()
        rack.outside.stop()


def test_what_one_has_pulled_others_get_also_without_the_registry_outside(rack: Rack) -> None:
    rack.start_mirror()
    assert rack.mirror.pull("one") > LAYER
    wait_for(lambda: rack.stored() == 3)
    wait_for(lambda: len(rack.outside.content()) >= 2)
    time.sleep(0.5)
    fetched = rack.outside.content()
    rack.mirror.pull("one")
    assert rack.outside.content() == fetched
    # The registry outside goes away: while the mirror runs,
    rack.outside.stop()
    assert not upkeep.reaches(rack.outside.url, attempts=1)
    rack.mirror.pull("one")
    # and before it is started again.
    rack.mirror.stop()
    rack.start_mirror(online=False)
    rack.mirror.pull("one")
    assert not rack.mirror.pulls("two")
    with pytest.raises(urllib.error.HTTPError, match="405"):
        rack.mirror.push("mine", b"x")
    rack.start_outside()
    assert upkeep.reaches(rack.outside.url)
    rack.mirror.stop()
    rack.start_mirror()
    rack.mirror.pull("two")


def test_what_was_used_least_recently_goes_and_the_rest_still_pulls(rack: Rack) -> None:
    rack.start_mirror()
    rack.fetch_all()
    rack.mirror.log.write_text("")
    # Of this image a node has all parts already, and only asks whether it has changed.
    rack.mirror.get("one/manifests/1")
    assert rack.clean(3) == 0
    assert rack.clean(2) >= 1
    assert rack.clean(2) == 0
    rack.outside.stop()
    assert [rack.mirror.pulls(name) for name in NAMES] == [True, False, True]
    # What went comes again, while the mirror goes on running.
    rack.start_outside()
    assert rack.mirror.pulls("two")
    wait_for(lambda: rack.stored() == 3 * len(NAMES))
    rack.outside.stop()
    assert rack.mirror.pulls("two")


# At the first link, and at a later one.
@pytest.mark.parametrize("moment", [pytest.param(0, marks=pytest.mark.long), 3])
def test_a_cleaning_that_is_killed_is_done_by_the_next(
    rack: Rack, moment: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rack.start_mirror()
    rack.fetch_all()
    rmtree, left = shutil.rmtree, [moment]

    def dying(*arguments: Any, **options: Any) -> None:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        rmtree(*arguments, **options)

    monkeypatch.setattr(clean.shutil, "rmtree", dying)
    with pytest.raises(KeyboardInterrupt):
        rack.clean(1)
    monkeypatch.setattr(clean.shutil, "rmtree", rmtree)
    found = clean.space(str(rack.data))
    bound = 2 * LAYER
    clean.clean(str(rack.data), bound=bound)
    assert clean.space(str(rack.data)).used <= bound < found.used
    assert [rack.mirror.pulls(name) for name in NAMES] == [True, True, True]


def test_what_nobody_goes_on_fetching_goes(tmp_path: Path) -> None:
    uploads = tmp_path / "images.test/docker/registry/v2/repositories/one/_uploads"
    for name, age in (("old", 7200), ("new", 60)):
        (uploads / name).mkdir(parents=True)
        (uploads / name / "data").write_bytes(b"x")
        os.utime(uploads / name / "data", (time.time() - age,) * 2)
    assert clean.clean(str(tmp_path), bound=10**9)[0] == 0
    assert [path.name for path in uploads.iterdir()] == ["new"]


def test_uses_are_noted_once_and_again_after_a_kill(tmp_path: Path) -> None:
    digest = f"sha256:{'0a' * 32}"
    path = Path(clean.blob_path(f"{tmp_path}/quay.io", digest))
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x")
    os.utime(path, (1, 1))
    line = f'10.0.0.7 - - [30/Nov/2025:19:48:58 +0000] "GET /v2/a/blobs/{digest} HTTP/1.1" 200 1 "" "x"'
    commands: list[list[str]] = []

    def journal(command: list[str]) -> tuple[int, str, str]:
        commands.append(command)
        return 0, f"{line}\n-- cursor: s=1\n", ""

    clean.note_uses(str(tmp_path), "quay.io", run=journal)
    clean.note_uses(str(tmp_path), "quay.io", run=journal)
    assert path.stat().st_atime == 1764532138
    assert path.stat().st_mtime == 1
    assert [any("after-cursor=s=1" in word for word in command) for command in commands] == [False, True]
    # A journal that does not know the place any more is read from its beginning.
    clean.note_uses(str(tmp_path), "quay.io", run=lambda _command: (1, "", "Failed to seek"))
    clean.note_uses(str(tmp_path), "quay.io", run=journal)
    assert not any("after-cursor" in word for word in commands[-1])
