# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is fetched, from where, for whom; molecule/image_cache does it with real runtimes and a registry."""

from __future__ import annotations

import hashlib
import json
import tarfile
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._common.download import DownloadError
from ansible_collections.bramble.pi.plugins.module_utils._containers.fetch import ImageFetch
from ansible_collections.bramble.pi.plugins.module_utils._containers.images import ContainerImagesError
from ansible_collections.bramble.pi.plugins.module_utils._containers.runtime import RUNTIMES

HELLO = "10.0.0.1:5000/hello:1"
URL = "http://10.0.0.2:8470"


def configuration(name: str, architecture: str) -> bytes:
    return json.dumps({"architecture": architecture, "name": name}).encode()


def image_id(name: str, architecture: str) -> str:
    return f"sha256:{hashlib.sha256(configuration(name, architecture)).hexdigest()}"


def write_archive(path: Path, *images: tuple[str, str]) -> None:
    """Write an archive as docker does."""
    files = {f"{number}.json": configuration(*image) for number, image in enumerate(images)}
    manifest = [
        {"Config": f"{number}.json", "RepoTags": [name]}
        for number, (name, _architecture) in enumerate(images)
    ]
    with tarfile.open(path, "w") as archive:
        for member, content in {**files, "manifest.json": json.dumps(manifest).encode()}.items():
            entry = tarfile.TarInfo(member)
            entry.size = len(content)
            archive.addfile(entry, BytesIO(content))


class Source:
    """The node that fetches, with a docker of amd64 and a registry."""

    def __init__(
        self, directory: Path, nodes: dict[str, Any], *archives: dict[str, Any], **parameters: Any
    ) -> None:
        self.parameters: dict[str, Any] = {
            "check_mode": False,
            "source": "pi-1",
            "nodes": nodes,
            "directory": str(directory / "served"),
            "url": URL,
            "archives": [{"sha256": None, **archive} for archive in archives],
            "pull": True,
            **parameters,
        }
        #: Of each name the architectures that the registry has, and the one that docker has.
        self.registry: dict[str, list[str]] = {HELLO: ["amd64", "arm64"]}
        self.images: dict[str, str] = {}
        self.pulled: list[tuple[str, str]] = []
        self.warnings: list[str] = []

    def run(self, command: list[str]) -> tuple[int, str, str]:
        if command[0] == "dpkg":
            return 0, "amd64\n", ""
        return getattr(self, command[2])(*command[3:])

    def ls(self, *_options: str) -> tuple[int, str, str]:
        return 0, "\n".join(image_id(name, of) for name, of in self.images.items()), ""

    def inspect(self, *arguments: str) -> tuple[int, str, str]:
        if arguments[0] == "--format":
            name = arguments[-1]
            return (0, image_id(name, self.images[name]), "") if name in self.images else (1, "", "none")
        entries = [
            {"Id": image_id(name, of), "RepoTags": [name], "Architecture": of}
            for name, of in self.images.items()
        ]
        return 0, json.dumps([entry for entry in entries if entry["Id"] in arguments]), ""

    def pull(self, *arguments: str) -> tuple[int, str, str]:
        name, of = arguments[-1], arguments[-2].partition("/")[2]
        if of not in self.registry.get(name, []):
            return 1, "", f"no matching manifest for linux/{of} in the manifest list entries"
        self.images[name] = of
        self.pulled.append((name, of))
        return 0, "", ""

    def save(self, _option: str, path: str, name: str) -> tuple[int, str, str]:
        write_archive(Path(path), (name, self.images[name]))
        return 0, "", ""

    def tag(self, given: str, name: str) -> tuple[int, str, str]:
        self.images[name] = next(of for of in ("amd64", "arm64") if image_id(name, of) == given)
        return 0, "", ""

    def rm(self, name: str) -> tuple[int, str, str]:
        self.images.pop(name, None)
        return 0, "", ""


def node(architecture: str, **ids: str | None) -> dict[str, Any]:
    images = [{"name": HELLO, "variable": "image_cache_images", "id": found} for found in ids.values()]
    return {"architecture": architecture, "images": images}


RACK = {
    "pi-1": node("amd64", hello=None),
    "pi-2": node("amd64", hello=None),
    "pi-3": node("arm64", hello=None),
    "pi-4": node("arm64", hello=None),
}


def fetch(source: Source) -> ImageFetch:
    work = ImageFetch(
        runtime=RUNTIMES["dockershim"],
        run=source.run,
        has=lambda program: True,
        warn=source.warnings.append,
        **source.parameters,
    )
    work.fetch()
    return work


def ids(archives: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    return {name: entry["ids"] for name, (entry,) in archives.items()}


def test_each_architecture_is_fetched_once(tmp_path: Path) -> None:
    source = Source(tmp_path, RACK)
    work = fetch(source)
    # The source's own comes last, as docker gives the name to the last.
    assert source.pulled == [(HELLO, "arm64"), (HELLO, "amd64")]
    assert source.images == {HELLO: "amd64"}
    assert work.fetched == [f"{HELLO} for arm64", f"{HELLO} for amd64"]
    archives = work.archives()
    assert ids(archives) == {
        "pi-2": {HELLO: image_id(HELLO, "amd64")},
        "pi-3": {HELLO: image_id(HELLO, "arm64")},
        "pi-4": {HELLO: image_id(HELLO, "arm64")},
    }
    (entry,) = archives["pi-3"]
    name = str(entry["src"]).removeprefix(f"{URL}/")
    assert entry["sha256"] == hashlib.sha256((tmp_path / "served" / name).read_bytes()).hexdigest()
    # What a run left that did not come to its end is not fetched again.
    again = fetch(source)
    assert (again.fetched, again.changed, len(source.pulled)) == ([], False, 2)
    assert again.archives() == archives


def test_nothing_is_done_without_need(tmp_path: Path) -> None:
    own = image_id(HELLO, "amd64")
    work = fetch(Source(tmp_path, {"pi-1": node("amd64", hello=own), "pi-2": node("amd64", hello=own)}))
    assert (work.fetched, work.archives(), work.changed) == ([], {}, False)
    assert not (tmp_path / "served").exists()


def test_the_source_s_version_counts(tmp_path: Path) -> None:
    own = image_id(HELLO, "amd64")
    source = Source(
        tmp_path,
        {
            "pi-1": node("amd64", hello=own),
            "pi-2": node("amd64", hello="sha256:old"),
            "pi-3": node("amd64", hello=own),
        },
    )
    source.images = {HELLO: "amd64"}
    work = fetch(source)
    assert source.pulled == []
    assert ids(work.archives()) == {"pi-2": {HELLO: own}}


def test_an_image_whose_layers_were_thrown_away_is_fetched_again(tmp_path: Path) -> None:
    own = image_id(HELLO, "amd64")
    source = Source(tmp_path, {"pi-1": node("amd64", hello=own), "pi-2": node("amd64", hello=None)})
    source.images = {HELLO: "amd64"}
    save = source.save
    source.save = lambda *arguments: save(*arguments) if source.pulled else (1, "", "no reader")  # type: ignore[method-assign]
    work = fetch(source)
    assert source.pulled == [(HELLO, "amd64")]
    assert source.images == {HELLO: "amd64"}
    assert ids(work.archives()) == {"pi-2": {HELLO: own}}


def test_no_archive_is_made_for_the_source_alone(tmp_path: Path) -> None:
    work = fetch(Source(tmp_path, {"pi-1": node("amd64", hello=None)}))
    assert work.fetched == [f"{HELLO} for amd64"]
    assert work.archives() == {}
    assert list((tmp_path / "served").iterdir()) == []


def test_an_image_of_another_architecture_leaves_the_own_one(tmp_path: Path) -> None:
    source = Source(tmp_path, {"pi-3": node("arm64", hello=None)})
    source.images = {HELLO: "amd64"}
    fetch(source)
    assert source.images == {HELLO: "amd64"}
    source = Source(tmp_path / "other", {"pi-3": node("arm64", hello=None)})
    (tmp_path / "other").mkdir()
    fetch(source)
    assert source.images == {}


@pytest.mark.parametrize("sha256", [None, "0" * 64])
def test_says_that_nobody_vouches_for_what_comes_over_http(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sha256: str | None
) -> None:
    def download(*, url: str, path: str, sha256: str | None, **_variables: str) -> None:
        write_archive(Path(path), (HELLO, "arm64"))

    monkeypatch.setattr(
        "ansible_collections.bramble.pi.plugins.module_utils._containers.fetch.download", download
    )
    nodes = {"pi-3": node("arm64", hello=None)}
    source = Source(tmp_path, nodes, {"src": "http://mirror/one.tar", "sha256": sha256}, pull=False)
    fetch(source)
    assert ["http://mirror/one.tar came over http" in warning for warning in source.warnings] == (
        [] if sha256 else [True]
    )


def test_archives_come_before_the_registry(tmp_path: Path) -> None:
    write_archive(tmp_path / "one.tar", (HELLO, "arm64"), ("other:1", "arm64"))
    write_archive(tmp_path / "two.tar", (HELLO, "amd64"))
    given = [{"src": str(tmp_path / name)} for name in ("one.tar", "two.tar")]
    source = Source(tmp_path, RACK, *given, pull=False)
    archives = fetch(source).archives()
    assert ids(archives) == {
        # Its runtime does not have it yet.
        "pi-1": {HELLO: image_id(HELLO, "amd64")},
        "pi-2": {HELLO: image_id(HELLO, "amd64")},
        "pi-3": {HELLO: image_id(HELLO, "arm64")},
        "pi-4": {HELLO: image_id(HELLO, "arm64")},
    }
    assert archives["pi-3"][0]["src"] == f"{URL}/given-0-one.tar"
    assert archives["pi-1"][0]["src"] == f"{URL}/given-1-two.tar"
    assert source.pulled == []


def test_check_mode_changes_nothing(tmp_path: Path) -> None:
    write_archive(tmp_path / "one.tar", (HELLO, "arm64"))
    source = Source(tmp_path, RACK, {"src": str(tmp_path / "one.tar")}, check_mode=True)
    work = fetch(source)
    assert work.fetched == [f"{HELLO} for amd64"]
    assert set(work.archives()) == {"pi-2", "pi-3", "pi-4"}
    assert source.pulled == []
    assert not (tmp_path / "served").exists()


def test_names_what_is_not_available(tmp_path: Path) -> None:
    source = Source(tmp_path, RACK)
    source.registry = {HELLO: ["amd64"]}
    with pytest.raises(ContainerImagesError) as caught:
        fetch(source)
    assert str(caught.value) == (
        f"{HELLO} for arm64, needed by pi-3, pi-4, is not available: 'docker image pull --quiet "
        f"--platform linux/arm64 {HELLO}' ended with 1: no matching manifest for linux/arm64 in the "
        "manifest list entries. Correct image_cache_images, or name an archive that has it for arm64 in "
        "image_cache_archives"
    )
    write_archive(tmp_path / "one.tar", (HELLO, "amd64"))
    with pytest.raises(
        ContainerImagesError, match=r"for arm64, .* is not available: .*one\.tar has it only for amd64"
    ):
        fetch(Source(tmp_path, RACK, {"src": str(tmp_path / "one.tar")}, pull=False))
    with pytest.raises(
        ContainerImagesError, match="it is in none of image_cache_archives, and image_cache_pull is"
    ):
        fetch(Source(tmp_path, RACK, pull=False))


def test_names_archives_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "text.tar").write_text("no archive")
    for source, message in (
        (
            "/no/such.tar",
            r"/no/such\.tar is not there: put it on this node, or correct src in image_cache_archives",
        ),
        (str(tmp_path / "text.tar"), "cannot be read as an archive of images"),
    ):
        with pytest.raises(ContainerImagesError, match=message):
            fetch(Source(tmp_path, RACK, {"src": source}))
    write_archive(tmp_path / "one.tar", (HELLO, "arm64"))
    with pytest.raises(
        DownloadError,
        match=r"one\.tar has the sha256 .*; expected 0+: set sha256 in image",
    ):
        fetch(Source(tmp_path, RACK, {"src": str(tmp_path / "one.tar"), "sha256": "0" * 64}))
