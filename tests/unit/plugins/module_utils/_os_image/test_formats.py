# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images packed by the real tools in all the ways that publishers do, and what becomes of them on the way."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import random
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._os_image.formats import (
    ImageFormatError,
    MissingToolError,
    detect_compression,
    open_image,
)

_RANDOM = random.Random(1)
#: Half of it can be packed.
IMAGE = b"".join(
    _RANDOM.randbytes(50_000) if _RANDOM.random() < 0.5 else bytes(50_000) for _piece in range(30)
)
HALF = len(IMAGE) // 2 + 7


@functools.cache
def packed_by(*command: str, content: bytes = IMAGE) -> bytes:
    return subprocess.run(command, input=content, capture_output=True, check=True).stdout


def in_halves(*command: str) -> bytes:
    return packed_by(*command, content=IMAGE[:HALF]) + packed_by(*command, content=IMAGE[HALF:])


@functools.cache
def zipped(
    method: int = zipfile.ZIP_DEFLATED,
    *,
    names: tuple[str, ...] = ("pi.img",),
    zip64: bool = False,
    comment: bytes = b"",
) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        archive.comment = comment
        for name in names:
            info = zipfile.ZipInfo(name)
            info.compress_type = method
            with archive.open(info, "w", force_zip64=zip64) as member:
                member.write(IMAGE if name.endswith(".img") else b"x")
    return target.getvalue()


def zipped_by_tool(folder: Path, *options: str) -> bytes:
    (folder / "pi.img").write_bytes(IMAGE)
    subprocess.run(["zip", "-q", *options, "pi.zip", "pi.img"], cwd=folder, check=True)
    return (folder / "pi.zip").read_bytes()


def read(path: Path, block: int = 1 << 20) -> tuple[bytes, str, str]:
    """Return the image, its name and what it was packed with."""
    content = io.BytesIO()
    buffer = bytearray(block)
    with open_image(path=str(path)) as reader:
        while count := reader.readinto(buffer):
            content.write(memoryview(buffer)[:count])
            assert count == block or not reader.readinto(buffer), "only the last buffer is not full"
        return content.getvalue(), reader.name, reader.compression


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "image"


KINDS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "raw": ("none", lambda: IMAGE),
    "xz": ("xz", lambda: packed_by("xz", "-0")),
    "xz, several blocks": ("xz", lambda: packed_by("xz", "-0", "-T2", "--block-size=300000")),
    "xz, several streams": ("xz", lambda: in_halves("xz", "-0")),
    "xz, padded": ("xz", lambda: packed_by("xz", "-0") + bytes(8)),
    "gzip": ("gzip", lambda: packed_by("gzip", "-1")),
    "gzip, several members": ("gzip", lambda: in_halves("gzip", "-1")),
    "zstd": ("zstd", lambda: packed_by("zstd", "-1")),
    "zstd, several frames": ("zstd", lambda: in_halves("zstd", "-1")),
    "zstd, skippable frames": ("zstd", lambda: packed_by("pzstd", "-1", "-p2")),
    "zstd, large window": ("zstd", lambda: packed_by("zstd", "-1", "--long=31")),
    "zip": ("zip", zipped),
    "zip, stored": ("zip", lambda: zipped(zipfile.ZIP_STORED)),
    "zip64": ("zip", lambda: zipped(zip64=True)),
    "zip, with a folder and a comment": (
        "zip",
        lambda: zipped(names=("a/", "a/pi.img"), comment=b"made by x"),
    ),
    "zip, streamed": ("zip", lambda: packed_by("zip", "-q", "-", "-")),
}


@pytest.mark.parametrize("kind", KINDS)
def test_unpacks(path: Path, kind: str) -> None:
    compression, pack = KINDS[kind]
    # By what is in it: this name says nothing.
    path.write_bytes(pack())
    for block in (1 << 20, 77_777):
        content, _name, seen = read(path, block)
        assert content == IMAGE
        assert seen == compression == detect_compression(path=str(path))


def test_unpacks_what_zip_makes(path: Path, tmp_path: Path) -> None:
    for options in ("-0", "-9", "-fz"):
        path.write_bytes(zipped_by_tool(tmp_path, options))
        assert read(path) == (IMAGE, "pi.img", "zip")


def test_names_the_image(tmp_path: Path) -> None:
    cases = {
        "pi.img": (IMAGE, "pi.img"),
        "pi.img.xz": (packed_by("xz", "-0"), "pi.img"),
        "pi.IMG.GZ": (packed_by("gzip", "-1"), "pi.IMG"),
        "pi.img.zst": (packed_by("zstd", "-1"), "pi.img"),
        "wrong.gz": (packed_by("zstd", "-1"), "wrong.gz"),
        "other.zip": (zipped(names=("folder/2021.img",)), "2021.img"),
    }
    for name, (content, desired) in cases.items():
        path = tmp_path / name
        path.write_bytes(content)
        assert read(path)[1] == desired
    link = tmp_path / "link.img.zst"
    link.symlink_to("pi.img.zst")
    assert read(link)[:2] == (IMAGE, "link.img")


PACKED = [kind for kind, (compression, _pack) in KINDS.items() if compression != "none"]


@pytest.mark.parametrize("kind", PACKED)
def test_refuses_damage(path: Path, kind: str) -> None:
    compression, pack = KINDS[kind]
    whole = pack()
    middle = len(whole) // 2
    flipped = bytes([whole[middle] ^ 0xFF])
    cases = {
        "in the middle": whole[:middle],
        "just before the end": whole[:-1],
        "corrupt": whole[:middle] + flipped + whole[middle + 1 :],
        "followed by something": whole + b"<html>garbage</html>",
        "followed by its beginning": whole + whole[:300],
    }
    for name, content in cases.items():
        path.write_bytes(content)
        with pytest.raises(ImageFormatError) as error:
            read(path)
        message = str(error.value)
        assert message.startswith(str(path)), name
        assert message.endswith("Fetch it again"), name
        assert any(word in message for word in ("truncated", "corrupt", "cannot be read")), name
    assert compression in message


def test_refuses_other_zips(path: Path) -> None:
    secret = bytearray(zipped())
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        secret[secret.index(magic) + offset] |= 1
    names = ("a.txt", "b.txt", "c.txt", "d.txt", "e.txt", "f.img")
    cases = [
        (
            zipped(names=("pi.img", "README")),
            r"is a zip with 2 files \(pi\.img, README\); expected one, the image",
        ),
        (zipped(names=names), r"is a zip with 6 files \(a.txt, b.txt, c.txt, d.txt, e.txt, \.\.\.\)"),
        (zipped(names=()), r"is a zip with 0 files \(\)"),
        (zipped(names=("folder/",)), r"is a zip with 0 files"),
        (bytes(secret), "is a zip with a password; expected one without"),
        (
            zipped().replace(b"\x08\x00", b"\x09\x00"),
            r"is a zip with the compression method 9 \(Deflate64\), which is not supported; expected 8 .*"
            "unpack it, such as with unzip or 7z, and give the path of the image",
        ),
        (zipped().replace(b"\x08\x00", b"\x63\x00"), "is a zip with the compression method 99, which is"),
        (b"PK\x03\x04" + bytes(100_000), "is truncated: a zip of 100004 bytes whose table of contents"),
    ]
    for content, message in cases:
        path.write_bytes(content)
        with pytest.raises(ImageFormatError, match=f"^{path} {message}"):
            read(path)


END_RECORD = b"PK\x05\x06" + bytes(18)


@pytest.mark.parametrize(
    "comment",
    [
        END_RECORD,
        END_RECORD[:4],
        b"made by x " + END_RECORD + b"!",
        END_RECORD[:-2] + b"\x03\x00abc",
        zipped(names=("a",)),
    ],
)
@pytest.mark.parametrize("zip64", [False, True])
def test_a_comment_that_looks_like_the_end(path: Path, comment: bytes, zip64: bool) -> None:
    path.write_bytes(zipped(comment=comment, zip64=zip64))
    for block in (1 << 20, 77_777):
        assert read(path, block) == (IMAGE, "pi.img", "zip")
    path.write_bytes(zipped(comment=comment, zip64=zip64) + b"x")
    with pytest.raises(ImageFormatError, match=r"Fetch it again$"):
        read(path)


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_says_of_any_damage_what_it_is(path: Path, method: int) -> None:
    """Whatever the zip claims, no error of Python's own comes out."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        archive.writestr("pi.img", IMAGE[:3000])
    whole = target.getvalue()
    rng = random.Random(method)
    ends = [*range(60), *range(len(whole) - 100, len(whole))]
    for _number in range(300):
        content = bytearray(whole)
        for place in rng.sample(ends, 2):
            content[place] = rng.choice((0, 255, rng.randrange(256)))
        path.write_bytes(content)
        with contextlib.suppress(ImageFormatError):
            read(path)


def test_zip_that_holds_less_than_it_says(path: Path) -> None:
    content = bytearray(zipped())
    size = len(IMAGE).to_bytes(4, "little")
    more = (len(IMAGE) + 5).to_bytes(4, "little")
    path.write_bytes(content.replace(size, more))
    with pytest.raises(ImageFormatError, match=r"pi\.img is 5 bytes shorter than it says"):
        read(path)


@pytest.mark.parametrize(
    ("command", "name"),
    [(["bzip2", "-c"], "bzip2"), (["tar", "-C", "/", "-c", "etc/hostname"], "tar")],
)
def test_names_what_is_packed_otherwise(path: Path, command: list[str], name: str) -> None:
    path.write_bytes(packed_by(*command))
    with pytest.raises(
        ImageFormatError, match=f"is a {name} archive; expected a raw image, or one packed as .zip"
    ):
        read(path)


def test_names_the_missing_package(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = {
        "xz": packed_by("xz", "-0"),
        "gzip": packed_by("gzip", "-1"),
        "zstd": packed_by("zstd", "-1"),
    }
    packages = {"xz": "xz-utils", "gzip": "gzip", "zstd": "zstd"}
    monkeypatch.setenv("PATH", "/nowhere")
    for command, content in contents.items():
        path.write_bytes(content)
        with pytest.raises(
            MissingToolError, match=f"needs the command {command}, .* install the package {packages[command]}"
        ):
            read(path)


def test_ignores_options_in_the_environment(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(packed_by("xz", "-2"))
    monkeypatch.setenv("XZ_OPT", "--memlimit=1MiB")
    assert read(path)[0] == IMAGE


def test_leaves_no_process_behind(path: Path) -> None:
    path.write_bytes(packed_by("zstd", "-1", content=bytes(50_000_000)))
    buffer = bytearray(1000)
    with open_image(path=str(path)) as reader:
        reader.readinto(buffer)
        running = children()
    assert any("zstd" in name for name in running)
    assert not any("zstd" in name for name in children())


def children() -> list[str]:
    """Return the names of processes that this one has started."""
    names = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            name, _paren, rest = stat.read_text().partition("(")[2].rpartition(")")
            if int(rest.split()[1]) == os.getpid():
                names.append(name)
    return names
