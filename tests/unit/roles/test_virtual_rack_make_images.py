# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import hashlib
import io
import json
import runpy
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[3] / "roles/virtual_rack/files/kubernetes/make_images.py"


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


def test_archive_describes_itself(script: dict[str, Any], tmp_path: Path) -> None:
    image = script["Image"](
        name="hello",
        refs=["localhost/hello:1", "localhost/hello:latest"],
        texts={"/bin/hello": "#!/bin/sh\n", "/www/index.html": "hello\n"},
        links={"/bin/sh": "busybox"},
        command=["/bin/hello"],
    )
    entry = script["save"](image, "arm64", Path("/"), tmp_path)

    target = tmp_path / entry["file"]
    assert entry["sha256"] == hashlib.sha256(target.read_bytes()).hexdigest()
    assert entry["size"] == target.stat().st_size
    with tarfile.open(target) as archive:
        content = {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]
    (manifest,) = json.loads(content["manifest.json"])
    config = json.loads(content[manifest["Config"]])
    (layer,) = (content[name] for name in manifest["Layers"])
    assert manifest["RepoTags"] == entry["refs"] == image.refs
    assert manifest["Config"] == hashlib.sha256(content[manifest["Config"]]).hexdigest() + ".json"
    assert config["rootfs"]["diff_ids"] == ["sha256:" + hashlib.sha256(layer).hexdigest()]
    assert config["architecture"] == "arm64"
    assert config["config"]["Cmd"] == ["/bin/hello"]

    with tarfile.open(fileobj=io.BytesIO(layer)) as archive:
        modes = {member.name: member.mode for member in archive}
        assert archive.getmember("bin/sh").linkname == "busybox"
    assert modes["bin/hello"] == 0o755
    assert modes["www/index.html"] == 0o644
    assert modes["tmp"] == 0o1777
    # A folder comes before what is in it, or the layer cannot be unpacked.
    assert list(modes).index("www") < list(modes).index("www/index.html")


def test_same_input_makes_the_same_archive(script: dict[str, Any], tmp_path: Path) -> None:
    image = script["Image"](name="a", refs=["localhost/a:1"], texts={"/a": "a"})
    first = script["save"](image, "amd64", Path("/"), tmp_path)
    assert script["save"](image, "amd64", Path("/"), tmp_path) == first


@pytest.mark.skipif(
    shutil.which("readelf") is None, reason="readelf, of Debian's package binutils, is not here"
)
def test_libraries_of_a_program_are_files(script: dict[str, Any]) -> None:
    libraries = script["shared_libraries"](Path("/bin/ls"), Path("/"))
    assert any(Path(name).name.startswith("libc.so") for name in libraries)
    # The loader is at its own path, and not where it is a link to.
    assert any(name.startswith("/lib") and Path(name).name.startswith("ld-linux") for name in libraries)
    assert all(path.exists() for path in libraries.values())
