# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module itself, in a process of its own: real images, a real server, real kills."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._os_image.data_map import ImageMap

from tests.seed import chance
from tests.unit.image_server import ImageServer, image_server
from tests.unit.kill import Moment, moment_name
from tests.unit.python_server import run_python

REPOSITORY = Path(__file__).parents[4]
MODULE = REPOSITORY / "plugins/modules/os_image.py"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(REPOSITORY / ".collections")}

MIB = 1 << 20
BOOT = 4 * MIB
BOOT_SIZE = 4 * MIB
KEYS = {
    "path",
    "map",
    "size",
    "data_bytes",
    "sha256",
    "name",
    "source",
    "archive_sha256",
    "verified",
    "verified_by",
    "boot_image",
    "boot_partition",
    "init_format",
    "layout",
}


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def packed(*command: str, content: bytes) -> bytes:
    return subprocess.run(command, input=content, capture_output=True, check=True).stdout


def make_image(folder: Path, files: dict[str, str], *, data: int = 3 * MIB, size: int = 16 * MIB) -> bytes:
    """Make an image as Raspberry Pi OS has it: a boot partition with FAT, then the root."""
    disk, boot = folder / "disk", folder / "boot"
    disk.write_bytes(bytes(size))
    script = f"label: dos\n{BOOT // 512},{BOOT_SIZE // 512},c\n{(BOOT + BOOT_SIZE) // 512},,83\n"
    subprocess.run(["sfdisk", "--quiet", disk], input=script, text=True, check=True)
    boot.write_bytes(bytes(BOOT_SIZE))
    subprocess.run(["mkfs.vfat", "-F16", "-s1", boot], check=True, capture_output=True)
    for name, text in files.items():
        (folder / name).write_text(text)
        subprocess.run(["mcopy", "-i", boot, folder / name, "::"], check=True)
    image = bytearray(disk.read_bytes())
    image[BOOT : BOOT + BOOT_SIZE] = boot.read_bytes()
    image[BOOT + BOOT_SIZE + MIB :][:data] = bytes(data)
    start = BOOT + BOOT_SIZE + MIB
    image[start : start + data] = random.Random(1).randbytes(data)
    return bytes(image)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    files = {"issue.txt": "Raspberry Pi reference 2025-11-24\n", "user-data": "#cloud-config\n"}
    return make_image(tmp_path_factory.mktemp("image"), files)


@pytest.fixture(scope="module")
def packed_image(image: bytes) -> bytes:
    return packed("xz", "-0", content=image)


def warning(result: dict[str, Any]) -> str:
    """Return the warnings."""
    return "\n".join(str(each["event"]["msg"]) for each in result["warnings"])


def zipped(**members: bytes) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return target.getvalue()


class Cache:
    """A cache, and runs of the module that use it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.images = folder / "images"
        self.environment = ENVIRONMENT

    def arguments(self, options: dict[str, Any], *, check: bool) -> str:
        return json.dumps(
            {
                "ANSIBLE_MODULE_ARGS": {
                    **{key: str(value) for key, value in options.items()},
                    "cache_dir": str(self.folder),
                    "_ansible_check_mode": check,
                }
            }
        )

    def start(
        self, *, check: bool = False, command: Sequence[str] = (sys.executable, str(MODULE)), **options: Any
    ) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment,
        )
        assert process.stdin
        process.stdin.write(self.arguments(options, check=check))
        process.stdin.close()
        process.stdin = None
        return process

    def end(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        output, errors = process.communicate()
        assert output, errors
        result: dict[str, Any] = json.loads(output)
        return result

    def whole(self, *, check: bool = False, **options: Any) -> dict[str, Any]:
        """Run the module to its end."""
        text = self.arguments(options, check=check)
        done = run_python([MODULE], text=text, environment=self.environment)
        assert done.stdout, done.stderr
        result: dict[str, Any] = json.loads(done.stdout)
        return result

    def run(self, *, check: bool = False, **options: Any) -> dict[str, Any]:
        result = self.whole(check=check, **options)
        assert not result.get("failed"), result
        return result

    def refuse(self, **options: Any) -> str:
        """Expect a refusal that leaves the images in the cache as they were; return the message."""
        before = self.names()
        result = self.whole(**options)
        assert result.get("failed"), result
        assert "Traceback" not in result["msg"]
        assert self.names() == before
        return str(result["msg"])

    def names(self) -> set[str]:
        return {
            str(path.relative_to(self.images))
            for path in self.images.rglob("*")
            if path.is_file() and path.name != ".lock"
        }

    def assert_holds(self, result: dict[str, Any], image: bytes) -> None:
        """Compare everything that is in the cache with the image."""
        found = result["image"]
        assert set(found) == KEYS
        assert found["sha256"] == sha256(image)
        assert found["size"] == len(image)
        assert found["boot_partition"] == {"offset": BOOT, "size": BOOT_SIZE}
        unpacked = subprocess.run(["zstd", "-dc", found["path"]], capture_output=True, check=True).stdout
        assert unpacked == image
        assert Path(found["boot_image"]).read_bytes() == image[: BOOT + BOOT_SIZE]
        assert os.stat(found["boot_image"]).st_blocks * 512 < MIB, "sparse"
        image_map = ImageMap.from_json(Path(found["map"]).read_text())
        assert (image_map.size, image_map.sha256) == (len(image), sha256(image))
        assert image_map.data_bytes == found["data_bytes"]
        rebuilt = bytearray(len(image))
        for offset, length in image_map.data:
            rebuilt[offset : offset + length] = image[offset : offset + length]
        assert rebuilt == image
        desired = {f"{sha256(image)}.{end}" for end in ("img.zst", "json", "boot.img")} | {"index.json"}
        assert self.names() == desired


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


@pytest.fixture
def server(packed_image: bytes) -> Iterator[ImageServer]:
    with image_server() as serving:
        serving.files["/pi.img.xz"] = packed_image
        yield serving


def test_check_apply_check_apply(
    cache: Cache, server: ImageServer, image: bytes, packed_image: bytes
) -> None:
    options: dict[str, Any] = {"src": f"{server.url}/pi.img.xz", "checksum": f"sha256:{sha256(packed_image)}"}

    checked = cache.run(check=True, **options)
    assert checked["changed"]
    assert checked["changes"] == [f"Download {server.url}/pi.img.xz", "Keep it in the cache"]
    assert set(checked["image"]) == KEYS
    assert checked["image"]["path"] is None
    assert server.requests == []
    assert not cache.folder.exists()

    applied = cache.run(**options)
    assert applied["changed"]
    assert applied["changes"] == checked["changes"]
    cache.assert_holds(applied, image)
    expected = {
        "name": "pi.img",
        "source": options["src"],
        "archive_sha256": sha256(packed_image),
        "verified": True,
        "verified_by": "given",
        "init_format": "cloudinit-rpi",
        "layout": "raspios",
    }
    assert {key: applied["image"][key] for key in expected} == expected
    assert "warnings" not in applied
    assert stat.S_IMODE(cache.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(cache.images.stat().st_mode) == 0o700

    server.requests.clear()
    for check in (True, False):
        again = cache.run(check=check, **options)
        assert not again["changed"]
        assert again["changes"] == []
        assert again["image"] == applied["image"]
    assert server.requests == [], "nothing is asked for again"


FORMATS: dict[str, Callable[[bytes], bytes]] = {
    "raw": lambda image: image,
    "xz": lambda image: packed("xz", "-0", "-T2", "--block-size=3MiB", content=image),
    "gzip": lambda image: packed("gzip", "-1", content=image),
    "zstd": lambda image: packed("zstd", "-1", content=image),
    "zip": lambda image: zipped(**{"pi.img": image}),
}


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format(cache: Cache, server: ImageServer, tmp_path: Path, image: bytes, kind: str) -> None:
    content = FORMATS[kind](image)
    # The name does not count.
    path = tmp_path / "pi.bin"
    path.write_bytes(content)
    local = cache.run(src=path, checksum=sha256(content))
    cache.assert_holds(local, image)
    assert local["image"]["archive_sha256"] == sha256(content)

    server.files["/pi.bin"] = content
    remote = Cache(tmp_path / "remote")
    remote.assert_holds(remote.run(src=f"{server.url}/pi.bin", checksum="none"), image)


def test_checksums_beside_the_image(
    cache: Cache, server: ImageServer, packed_image: bytes, image: bytes
) -> None:
    url, right, wrong = f"{server.url}/pi.img.xz", sha256(packed_image), "0" * 64
    assert "pi.img.xy cannot be fetched: HTTP Error 404" in cache.refuse(src=f"{server.url}/pi.img.xy")
    message = cache.refuse(src=url)
    assert f"no checksum for {url} (looked for {url}.sha256 and {server.url}/SHA256SUMS)" in message
    assert "flash_image_checksum" in message

    server.files["/SHA256SUMS"] = f"{wrong} *other.img.xz\n".encode()
    assert "flash_image_checksum" in cache.refuse(src=url)
    server.files["/pi.img.xz.sha256"] = f"{wrong}  other.img.xz\n".encode()
    assert "has checksums for other.img.xz; expected one for pi.img.xz" in cache.refuse(src=url)
    server.files["/pi.img.xz.sha256"] = f"{wrong}\n".encode()
    assert f"has the sha256 {right}; expected {wrong}: set 'checksum' (flash_image_checksum" in cache.refuse(
        src=url
    )
    assert server.gets("/pi.img.xz") == [None]
    del server.files["/pi.img.xz.sha256"]
    server.statuses["/pi.img.xz.sha256"] = 403

    server.files["/SHA256SUMS"] += f"{right} *pi.img.xz\n".encode()
    cache.assert_holds(cache.run(src=url), image)
    assert server.gets("/pi.img.xz") == [None, None]
    assert not cache.run(src=url)["changed"]
    assert server.gets("/pi.img.xz") == [None, None]

    # The one image is found whatever form its checksum has.
    for checksum in (right, f"{server.url}/SHA256SUMS"):
        assert not cache.run(src=url, checksum=checksum)["changed"]
    assert server.gets("/pi.img.xz") == [None, None]

    server.statuses = {"/pi.img.xz.sha256": 503, "/SHA256SUMS": 503}
    result = cache.run(src=url)
    assert not result["changed"]
    assert "503: Service Unavailable; expected a server that is not busy" in warning(result)
    assert "The image that is in the cache from an earlier run is taken" in warning(result)
    assert "SHA256SUMS cannot be fetched: HTTP Error 503" in cache.refuse(
        src=f"{url}?x", checksum=f"{server.url}/SHA256SUMS"
    )


NO_IMAGES: list[tuple[dict[str, str], str]] = [
    ({"src": "http://[::1/pi.img"}, "is not a URL: its host cannot be read"),
    ({"src": "https://a..b/pi.img"}, "is not a URL: its host is 'a..b'"),
    ({"src": f"https://{'a' * 64}.org/pi.img"}, "which is not a host name"),
    ({"src": "HTTPS://example.org:x/pi.img"}, "is not a URL: its port"),
    ({"src": "http://example.org/%00.img", "checksum": "http://a..b/"}, "'http://a..b/' is not a URL"),
    ({"src": "http://example.org/a.img", "image_list": "http://[::1/"}, "'http://[::1/' is not a URL"),
]


@pytest.mark.parametrize(("options", "message"), NO_IMAGES)
def test_addresses_that_nobody_can_ask(cache: Cache, options: dict[str, str], message: str) -> None:
    for check in (True, False):
        said = cache.refuse(check=check, **options)
        assert message in said
        assert "of the role flash)" in said


@pytest.mark.parametrize(
    "name", ["blüte x.img.xz", "bl%C3%BCte%20x.img.xz", "a%2f..", "%00.img", f"{'ü' * 150}.xz"]
)
def test_names_that_are_not_those_of_files(
    cache: Cache, server: ImageServer, packed_image: bytes, image: bytes, name: str
) -> None:
    server.files[f"/{quote(unquote(name), safe='') if '/' not in unquote(name) else name}"] = packed_image
    url = f"{server.url.replace('http', 'HTTP')}/{name}"
    cache.assert_holds(cache.run(src=url, checksum="none"), image)
    assert not cache.run(src=url, checksum="none")["changed"]


SUMS_OF_OTHERS = [
    "{wrong}  my-pi.img\n",
    "{wrong}  pi.img.xz\n",
    "{wrong}  pi.img/other\n",
    "# pi.img is elsewhere\n{wrong}  other\n",
    "\xff\xfe pi.img",
    "",
]
SUMS = [
    "SHA2-256(pi.img)= {right}\n",
    "\ufeff{right}  pi.img\n{wrong}  other\n",
    "{wrong}  old/pi.img\n{right}  ./pi.img\n",
    "{right}  ./pi.img\n{wrong}  old/pi.img\n",
]


@pytest.mark.parametrize("text", [*SUMS_OF_OTHERS, *SUMS])
def test_checksums_beside_a_file(cache: Cache, tmp_path: Path, image: bytes, text: str) -> None:
    path = tmp_path / "pi.img"
    path.write_bytes(image)
    sums = text.format(right=sha256(image), wrong="0" * 64)
    (tmp_path / "SHA256SUMS").write_bytes(sums.encode("latin-1" if "\xff" in sums else "utf-8"))
    result = cache.run(src=path)
    assert result["image"]["verified"] == (text in SUMS)
    assert ("warnings" in result) == (text in SUMS_OF_OTHERS)


def test_two_checksums_for_one_name(cache: Cache, server: ImageServer, packed_image: bytes) -> None:
    right, wrong = sha256(packed_image), "0" * 64
    for text in (
        f"{right}  a/pi.img.xz\n{wrong}  b/pi.img.xz\n",
        f"{wrong} *pi.img.xz\n{right} *pi.img.xz\n",
    ):
        server.files["/SHA256SUMS"] = text.encode()
        for checksum in ("", f"{server.url}/SHA256SUMS"):
            message = cache.refuse(src=f"{server.url}/pi.img.xz", checksum=checksum)
            assert "SHA256SUMS has 2 different checksums for pi.img.xz" in message
            assert "flash_image_checksum" in message


def test_a_server_that_is_busy_or_confused(
    cache: Cache, server: ImageServer, packed_image: bytes, image: bytes
) -> None:
    options: dict[str, Any] = {"src": f"{server.url}/pi.img.xz", "checksum": sha256(packed_image)}
    server.headers["Content-Length"] = "abc"
    assert "sent with the Content-Length 'abc'; expected a number" in cache.refuse(**options)
    server.headers.clear()
    server.redirects["/latest"] = "http://a..b/pi.img.xz"
    message = cache.refuse(src=f"{server.url}/latest", checksum="none")
    assert "/latest is redirected from" in message
    assert "to 'http://a..b/pi.img.xz', which is not a URL" in message
    server.busy = [(503, "0"), (503, "0")]
    cache.assert_holds(cache.run(**options), image)


def test_zips_of_other_programs(cache: Cache, tmp_path: Path, image: bytes) -> None:
    path = tmp_path / "pi.zip"
    path.write_bytes(zipped(**{"pi.img": image}).replace(b"\x08\x00", b"\x09\x00"))
    message = cache.refuse(src=path)
    assert "is a zip with the compression method 9 (Deflate64), which is not supported" in message
    assert "unpack it" in message
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("pi.img", image)
        archive.comment = b"PK\x05\x06" + bytes(18) + b"?"
    cache.assert_holds(cache.run(src=path), image)


def test_latest(cache: Cache, server: ImageServer, packed_image: bytes, image: bytes) -> None:
    """A link to the newest image has its checksum beside where it leads to, and is followed again."""
    server.redirects["/latest"] = "/pi.img.xz"
    server.files["/pi.img.xz.sha256"] = f"{sha256(packed_image)}  pi.img.xz\n".encode()
    options: dict[str, Any] = {"src": f"{server.url}/latest"}
    cache.assert_holds(cache.run(**options), image)
    assert not cache.run(**options)["changed"]
    newer = packed("xz", "-1", content=image)
    server.files["/2.img.xz"] = newer
    server.files["/2.img.xz.sha256"] = sha256(newer).encode()
    server.redirects["/latest"] = "/2.img.xz"
    result = cache.run(**options)
    assert result["changed"]
    assert result["image"]["archive_sha256"] == sha256(newer)
    assert result["image"]["verified_by"] == "http"
    assert "came over http" in warning(result)


def test_without_a_checksum(cache: Cache, server: ImageServer, tmp_path: Path, image: bytes) -> None:
    path = tmp_path / "pi.img"
    path.write_bytes(image)
    for run in (1, 2):
        result = cache.run(src=path)
        assert result["changed"] == (run == 1)
        assert not result["image"]["verified"]
        assert "was not checked" in warning(result)
        assert "flash_image_checksum" in warning(result)
    result = cache.run(src=f"{server.url}/pi.img.xz", checksum="none")
    assert result["changed"]
    assert "was not checked" in warning(result)
    assert not cache.run(src=f"{server.url}/pi.img.xz", checksum="none")["changed"]
    assert len(server.requests) == 1


def test_a_file_that_changed(cache: Cache, tmp_path: Path, image: bytes) -> None:
    path = tmp_path / "pi.img"
    path.write_bytes(image)
    (tmp_path / "SHA256SUMS").write_text(f"{sha256(image)}  pi.img\n")
    assert cache.run(src=path)["image"]["verified"]
    changed = bytearray(image)
    changed[-1] = 1
    path.write_bytes(changed)
    wrong = sha256(bytes(changed))
    os.utime(path, ns=(1, 1))
    assert f"pi.img has the sha256 {wrong}; expected {sha256(image)}" in cache.refuse(src=path)
    assert cache.run(src=path, checksum="none")["image"]["sha256"] == wrong


def test_image_list(cache: Cache, server: ImageServer, tmp_path: Path, image: bytes) -> None:
    url = f"{server.url}/pi.img.xz"
    entry: dict[str, Any] = {
        "url": url,
        "extract_size": len(image),
        "extract_sha256": sha256(image),
        "image_download_sha256": "",
        "init_format": "systemd",
    }

    def listed(**changes: Any) -> Path:
        path = tmp_path / "list.json"
        path.write_text(json.dumps({"os_list": [{"subitems": [{**entry, **changes}]}]}))
        return path

    message = cache.refuse(src=url, image_list=listed(extract_size=5))
    assert f"has unpacked the size {len(image)}; expected 5" in message
    message = cache.refuse(src=url, image_list=listed(extract_sha256="0" * 64))
    assert f"has unpacked the sha256 {sha256(image)}; expected 0000" in message
    result = cache.run(src=url, image_list=listed())
    cache.assert_holds(result, image)
    assert result["image"]["init_format"] == "systemd"
    assert result["image"]["verified"]
    server.files["/list"] = listed().read_bytes()
    for check in (False, True):
        result = cache.run(check=check, src=url, image_list=listed(init_format="cloudinit-rpi"))
        assert not result["changed"]
        assert result["image"]["init_format"] == "cloudinit-rpi"
    result = cache.run(src=url, image_list=f"{server.url}/list", init_format="cloudinit")
    assert not result["changed"]
    assert result["image"]["init_format"] == "cloudinit"
    assert "list.json has 1 images, and none with" in cache.refuse(src=f"{url}x", image_list=listed())
    assert "image_list is '/none', and there is no such file" in cache.refuse(src=url, image_list="/none")


@pytest.mark.parametrize("name", ["rpi-preseed", "something-newer"])
def test_a_format_of_the_list_that_is_not_known(cache: Cache, tmp_path: Path, name: str) -> None:
    def listed(issue: str, files: dict[str, str]) -> dict[str, Any]:
        path, image_list = tmp_path / f"{issue}.img", tmp_path / f"{issue}.json"
        made = make_image(tmp_path, {"issue.txt": f"Raspberry Pi reference {issue}\n", **files})
        path.write_bytes(made)
        entry = {"url": str(path), "init_format": name, "extract_sha256": sha256(made)}
        image_list.write_text(json.dumps({"os_list": [entry]}))
        return {"src": path, "image_list": image_list}

    # cloud-init is there all the same.
    both = listed("2026-09-15", {"user-data": "#cloud-config\n", "rpi-preseed.toml": "# empty\n"})
    for check in (False, True):
        result = cache.run(check=check, **both)
        assert result["image"]["init_format"] == "cloudinit-rpi"
        assert f"is '{name}' in {both['image_list']}" in warning(result)
    # Nothing shows that anything else than the list's format is read.
    for files in ({}, {"rpi-preseed.toml": "# empty\n"}):
        alone = listed(f"2027-01-0{len(files)}", files)
        for _again in range(2):
            message = cache.end(cache.start(**alone))["msg"]
            assert "no user-data; expected" in message
            assert "flash_init_format to" in message
        assert files or f"is '{name}' in {alone['image_list']}" in message
        result = cache.run(**alone, init_format="systemd")
        assert result["image"]["init_format"] == "systemd"


def test_extract_checksum(cache: Cache, tmp_path: Path, image: bytes, packed_image: bytes) -> None:
    path = tmp_path / "pi.img.xz"
    path.write_bytes(packed_image)
    message = cache.refuse(src=path, extract_checksum="0" * 64)
    assert f"{path} has unpacked the sha256 {sha256(image)}; expected 0000" in message
    assert "'extract_checksum'" in message
    result = cache.run(src=path, extract_checksum=sha256(image))
    assert result["image"]["verified"]


def test_unknown_system(cache: Cache, tmp_path: Path) -> None:
    image = make_image(tmp_path, {"readme": "nothing"})
    path = tmp_path / "pi.img"
    path.write_bytes(image)
    for _again in range(2):
        failed = cache.end(cache.start(src=path))
        assert "Set flash_init_format to cloudinit" in failed["msg"]
    result = cache.run(src=path, init_format="cloudinit")
    assert (result["image"]["init_format"], result["image"]["layout"]) == ("cloudinit", None)


@pytest.fixture(scope="module")
def refusals(image: bytes, packed_image: bytes) -> dict[str, tuple[bytes, str]]:
    half = len(packed_image) // 2
    corrupt = packed_image[:half] + b"\0" * 9 + packed_image[half + 9 :]
    without_fat = image[:BOOT] + bytes(BOOT_SIZE) + image[BOOT + BOOT_SIZE :]
    return {
        "truncated": (packed_image[:half], "is truncated or corrupt: xz -dc -T0 ended with 1; expected 0"),
        "corrupt": (corrupt, "is truncated or corrupt: xz -dc -T0 ended with 1; expected 0"),
        "garbage": (packed_image + b"x", "is truncated or corrupt: xz"),
        "several": (zipped(a=image, b=b"x"), "is a zip with 2 files (a, b); expected one, the image"),
        "bzip2": (packed("bzip2", "-1c", content=image), "is a bzip2 archive; expected a raw image, or one"),
        "no-table": (
            image[BOOT : BOOT + BOOT_SIZE],
            "is not a disk image but a FAT file system without a part",
        ),
        "zeros": (packed("gzip", "-1", content=bytes(MIB)), "is not a disk image but nothing but zeros"),
        "html": (b"<!doctype html><p>Please log in", "is not a disk image but a web page (HTML)"),
        "empty": (b"", "is not a disk image but an empty file"),
        "twice": (packed("xz", "-0", content=packed_image), "is not a disk image but an xz archive"),
        "beyond": (
            image[: 12 * MIB],
            f"partition 2 ends at byte {len(image)}, and the image at byte {12 * MIB}",
        ),
        "no-fat": (
            without_fat,
            "is not an image for a Raspberry Pi: none of its partitions (1 (0c), 2 (83)) has a",
        ),
    }


def test_refuses_by_name(
    cache: Cache, server: ImageServer, tmp_path: Path, refusals: dict[str, tuple[bytes, str]]
) -> None:
    for name, (content, message) in refusals.items():
        path = tmp_path / f"{name}.img"
        path.write_bytes(content)
        seen = cache.refuse(src=path)
        assert message in seen
        assert seen.startswith(str(path))
        assert seen.endswith("; or set 'src' (flash_image of the role flash) to another image")
    assert cache.names() == set()

    for name in ("truncated", "html", "bzip2"):
        server.files[f"/{name}"], message = refusals[name]
        assert message in cache.refuse(src=f"{server.url}/{name}", checksum="none")
    assert cache.names() == set(), "what was fetched for nothing is removed"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"src": "/no/such.img"},
            "src is '/no/such.img', and there is no such file; expected the path of an",
        ),
        ({"src": "/"}, "there is no such file"),
        ({"src": "ftp://example.org/pi.img"}, "or a URL that begins with http:// or https://. Correct 'src'"),
        ({"src": "/etc/passwd", "checksum": "abc/def"}, "checksum is 'abc/def', and there is no such file"),
        ({"src": "/etc/passwd", "checksum": "md5:abc"}, "expected a SHA-256 checksum"),
        ({"src": "/etc/passwd", "extract_checksum": "abc"}, "extract_checksum is 'abc'; expected a SHA-256"),
        ({"src": "http://127.0.0.1:9/pi.img"}, "http://127.0.0.1:9/pi.img.sha256 cannot be fetched: "),
    ],
)
def test_refuses_bad_options(cache: Cache, options: dict[str, str], message: str) -> None:
    assert message in cache.refuse(**options)
    if "127.0.0.1" not in message:
        assert message in cache.end(cache.start(check=True, **options))["msg"]
    assert not cache.folder.exists()


def test_damage_is_noticed(cache: Cache, tmp_path: Path, image: bytes) -> None:
    path = tmp_path / "pi.img"
    path.write_bytes(image)
    options: dict[str, Any] = {"src": path, "checksum": sha256(image)}
    first = cache.run(**options)
    found = {key: Path(first["image"][key]) for key in ("path", "map", "boot_image")}
    damages: list[Callable[[], Any]] = [
        lambda: os.truncate(found["path"], 100_000),
        found["path"].unlink,
        found["map"].unlink,
        lambda: found["map"].write_text("{"),
        lambda: found["map"].write_text('{"schema": 0}'),
        found["boot_image"].unlink,
        lambda: os.truncate(found["boot_image"], 5),
        (cache.images / "index.json").unlink,
        lambda: (cache.images / "index.json").write_text("["),
        lambda: (cache.images / "index.json").write_text('{"a": [1]}'),
    ]
    for damage in damages:
        damage()
        applied = cache.run(**options)
        assert applied["changed"]
        assert applied["image"] == first["image"]
        cache.assert_holds(applied, image)
    found["map"].unlink()
    assert cache.run(check=True, **options)["changed"]


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    while not condition():
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.001)


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def size(pattern: str, folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob(pattern))


def test_killed_while_downloading(
    cache: Cache, server: ImageServer, image: bytes, packed_image: bytes
) -> None:
    options: dict[str, Any] = {"src": f"{server.url}/pi.img.xz", "checksum": sha256(packed_image)}
    server.rate = 4 * MIB
    process = cache.start(**options)
    wait_for(lambda: size("downloads/*/*.part", cache.images) > MIB, process)
    kill(process)
    kept = size("downloads/*/*.part", cache.images)
    assert MIB < kept < len(packed_image)
    server.rate = None
    server.requests.clear()
    cache.assert_holds(cache.run(**options), image)
    assert server.gets("/pi.img.xz") == [f"bytes={kept - 1}-"]


def test_killed_while_unpacking(cache: Cache, server: ImageServer, image: bytes, packed_image: bytes) -> None:
    options: dict[str, Any] = {"src": f"{server.url}/pi.img.xz", "checksum": sha256(packed_image)}
    for pattern in (".new.img.zst", ".new.boot.img"):
        process = cache.start(**options)
        wait_for(lambda: any(cache.images.glob(pattern)), process)  # noqa: B023 - waited for at once
        kill(process)
        assert not any(cache.images.glob("*.json")), "nothing counts as an image yet"
    cache.assert_holds(cache.run(**options), image)
    assert server.gets("/pi.img.xz") == [None], "it is downloaded once"


DOWNLOADING = [
    Moment("before the answer is noted down", "open", r"part\.json w"),
    Moment("before anything is kept of it", "open", r"\.part w"),
    Moment("before the download counts as complete", "os.rename", r"pi\.img\.xz\.part "),
]
UNPACKING = [
    Moment("before it is unpacked", "open", r"\.new\.img\.zst x"),
    Moment("while it is unpacked", "open", r"\.new\.img\.zst x", during=True),
    Moment("while the boot partition is kept", "open", r"\.new\.boot\.img x", during=True),
    Moment("before the boot partition has its name", "os.rename", r"\.new\.boot\.img"),
    Moment("before the image has its name", "os.rename", r"\.new\.img\.zst"),
    Moment("before the image counts", "os.rename", r"images/\.\w+\.json"),
    Moment("before its source is known", "os.rename", r"images/\.index\.json"),
]
TIDYING = [Moment("before the download is removed", "os.remove", r"downloads/\w+/pi\.img\.xz ")]


@pytest.mark.some(8)
@pytest.mark.parametrize("moment", UNPACKING, ids=moment_name)
def test_killed_at_any_moment(
    cache: Cache, tmp_path: Path, image: bytes, packed_image: bytes, moment: Moment
) -> None:
    path = tmp_path / "pi.img.xz"
    path.write_bytes(packed_image)
    goes_on_after_a_kill(cache, image, moment, {"src": path})


@pytest.mark.some(8)
@pytest.mark.parametrize("moment", [*DOWNLOADING, *UNPACKING, *TIDYING], ids=moment_name)
def test_killed_at_any_moment_with_a_server(
    cache: Cache, server: ImageServer, image: bytes, packed_image: bytes, moment: Moment
) -> None:
    options = {"src": f"{server.url}/pi.img.xz", "checksum": sha256(packed_image)}
    goes_on_after_a_kill(cache, image, moment, options)


def goes_on_after_a_kill(cache: Cache, image: bytes, moment: Moment, options: dict[str, Any]) -> None:
    # Unpacking takes some tenths of a second.
    seconds = chance(moment.name).uniform(0, 0.2)
    print(f"killed {seconds:.3f} s after it began" if moment.during else "killed before it began")
    process = cache.start(command=moment.command(MODULE, seconds=seconds), **options)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    if moment in DOWNLOADING or moment in UNPACKING[:-1]:
        assert not any(cache.images.glob("[!.]*.json")), "nothing counts as an image yet"
    cache.assert_holds(cache.run(**options), image)
    assert not cache.run(**options)["changed"]


def test_two_at_once(cache: Cache, server: ImageServer, image: bytes, packed_image: bytes) -> None:
    options: dict[str, Any] = {"src": f"{server.url}/pi.img.xz", "checksum": sha256(packed_image)}
    server.rate = 8 * MIB
    runs = [cache.start(**options) for _run in range(3)]
    results = [cache.end(process) for process in runs]
    assert sorted(result["changed"] for result in results) == [False, False, True]
    assert server.gets("/pi.img.xz") == [None]
    for result in results:
        cache.assert_holds(result, image)


def test_old_downloads_are_removed(cache: Cache, server: ImageServer, packed_image: bytes) -> None:
    server.files["/young.img.xz"] = packed_image
    server.cuts = [100_000, 0, 0]
    failed = cache.end(cache.start(src=f"{server.url}/young.img.xz", checksum="none"))
    assert "100000 bytes are kept in" in failed["msg"]
    (young,) = cache.images.glob("downloads/*")
    old = young.with_name("0123456789abcdef")
    shutil.copytree(young, old)
    for path in old.iterdir():
        os.utime(path, (1, 1))
    cache.run(src=f"{server.url}/pi.img.xz", checksum="none")
    assert not old.exists()
    assert {path.name for path in young.iterdir()} == {"young.img.xz.part", "young.img.xz.part.json"}


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Cache]:
    """Return a cache on a file system of 8 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder], check=True)
    try:
        yield Cache(folder)
    finally:
        subprocess.run(["umount", folder], check=True)


def test_no_room(small: Cache, server: ImageServer, tmp_path: Path) -> None:
    large = make_image(tmp_path, {"user-data": "#cloud-config\n"}, data=15 * MIB, size=32 * MIB)
    server.files["/large.img.gz"] = content = packed("gzip", "-1", content=large)
    message = small.refuse(src=f"{server.url}/large.img.gz", checksum="none")
    assert f"an image for the cache needs {len(content) * 5 // 2} bytes. {small.images} has " in message
    assert "flash_cache_dir" in message
    path = tmp_path / "large.img"
    path.write_bytes(large)
    subprocess.run(["fallocate", "--dig-holes", path], check=True)
    # More than is estimated: it is noticed on the way.
    message = small.refuse(src=path)
    assert "No space left on device" in message
    assert "flash_cache_dir" in message
    assert small.names() == set()


def test_missing_commands(cache: Cache, tmp_path: Path, packed_image: bytes) -> None:
    path = tmp_path / "pi.img.xz"
    path.write_bytes(packed_image)
    commands = tmp_path / "bin"
    commands.mkdir()
    cache.environment = {**ENVIRONMENT, "PATH": str(commands)}
    for command, package in (("zstd", "zstd"), ("mcopy", "mtools"), ("xz", "xz-utils")):
        message = cache.refuse(src=path)
        assert f"needs the command {command}, which is not there; install the package {package}" in message
        (commands / command).symlink_to(f"/usr/bin/{command}")
    for command in ("mdir", "mtype"):
        (commands / command).symlink_to(f"/usr/bin/{command}")
    cache.run(src=path)


@pytest.mark.alone
def test_memory_stays_small(cache: Cache, tmp_path: Path) -> None:
    """What is unpacked does not pile up, however much it is."""
    image = make_image(tmp_path, {"user-data": "#cloud-config\n"})
    path = tmp_path / "pi.img"
    path.write_bytes(image)
    os.truncate(path, 512 * MIB)
    process = cache.start(src=path)
    peak = 0
    while process.poll() is None:
        status = Path(f"/proc/{process.pid}/status").read_text()
        peak = max([peak, *(int(line.split()[1]) for line in status.splitlines() if "VmHWM" in line)])
        time.sleep(0.01)
    assert not cache.end(process).get("failed")
    assert 0 < peak < 80 << 10, f"{peak} KiB"
