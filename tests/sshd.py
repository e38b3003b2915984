# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An sshd for tests: this machine's own, or that of its package, unpacked, so that none listens here."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from tests import debian

_PACKAGES = ("openssh-server", "openssh-sftp-server", "libwrap0")


class Sshd(NamedTuple):
    """The program, and where it finds what it needs."""

    program: str
    #: What comes before it, as a shell has it.
    environment: str
    sftp_server: str


def sshd() -> Sshd:
    """Return an sshd."""
    found = shutil.which("sshd", path="/usr/sbin:/sbin")
    if found:
        return Sshd(found, "", "/usr/lib/openssh/sftp-server")

    def make(folder: Path) -> None:
        subprocess.run(["apt-get", "download", "--quiet", *_PACKAGES], cwd=folder, check=True)
        for package in folder.glob("*.deb"):
            subprocess.run(["dpkg-deb", "--extract", package, folder], check=True)

    versions = subprocess.run(
        ["apt-cache", "show", *_PACKAGES], check=True, capture_output=True, text=True
    ).stdout
    key = hashlib.sha256(versions.encode()).hexdigest()[:12]
    root = debian.kept(folder=debian.CACHE / "tools", kind="sshd", key=key, make=make)
    libraries = ":".join(sorted({str(path.parent) for path in root.rglob("libwrap.so.0")}))
    return Sshd(
        f"{root}/usr/sbin/sshd", f"LD_LIBRARY_PATH={libraries}", f"{root}/usr/lib/openssh/sftp-server"
    )
