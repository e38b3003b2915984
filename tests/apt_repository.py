# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A repository of apt in a folder, of packages that tests make; its source is deb [trusted=yes] URL ./"""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path


def publish(
    repository: Path,
    name: str,
    version: str,
    *,
    files: Mapping[str, str] | None = None,
    conffiles: Mapping[str, str] | None = None,
    depends: str = "",
    postinst: str = "",
) -> None:
    """Put a package with these files into the repository, which is made if it is not there."""
    control = (
        f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: a <a@example.org>\n"
        f"{f'Depends: {depends}' + chr(10) if depends else ''}Description: made by a test\n"
    )
    repository.mkdir(exist_ok=True)
    package = repository / f"{name}_{version}_all.deb"
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder)
        tree.chmod(0o755)
        (tree / "DEBIAN").mkdir()
        (tree / "DEBIAN" / "control").write_text(control)
        for path, text in {**(files or {}), **(conffiles or {})}.items():
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).write_text(text)
        if conffiles:
            (tree / "DEBIAN" / "conffiles").write_text("".join(f"/{path}\n" for path in conffiles))
        if postinst:
            (tree / "DEBIAN" / "postinst").write_text(f"#!/bin/sh\nset -e\n{postinst}\n")
            (tree / "DEBIAN" / "postinst").chmod(0o755)
        # Releases that are older than this one read no zstd.
        build = ["dpkg-deb", "-Zgzip", "--root-owner-group", "--build", folder, str(package)]
        subprocess.run(build, check=True, capture_output=True)
    data = package.read_bytes()
    with (repository / "Packages").open("a") as index:
        index.write(
            f"{control}Filename: ./{package.name}\nSize: {len(data)}\n"
            f"SHA256: {hashlib.sha256(data).hexdigest()}\n\n"
        )
