# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The manifest of a backup: which cluster it is of, what its etcd held, and the checksum of each file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError

#: The version of what is written here; a newer one is not understood.
FORMAT = 1
#: Names in the archive; the manifest comes first in it.
NAME = "manifest.json"
SNAPSHOT = "etcd/snapshot.db"


class BackupError(BrambleError):
    """A backup that cannot be made, or is not one; the message says why, and what to do."""


@dataclass(frozen=True)
class Contents:
    """What an etcd holds at a revision."""

    revision: int
    keys: int
    hash: int
    compact_revision: int


class File(NamedTuple):
    """A file of a backup; of a link, ``sha256`` and ``size`` are those of what it points to, as text."""

    sha256: str
    size: int
    mode: int = 0o600
    link: bool = False


@dataclass(frozen=True)
class Manifest:
    """What a backup says of itself."""

    ca_cert_hash: str
    node: str
    #: When the snapshot was taken, and when it was proved, as 2026-10-01T12:00:00Z.
    created: str
    proved: str
    kubernetes: str
    etcd: str
    #: The image that etcd and its tools came from.
    image: str
    members: tuple[str, ...]
    contents: Contents
    files: Mapping[str, File]

    def dumped(self) -> str:
        """Return the manifest as the text of its file."""
        return json.dumps({"format": FORMAT, **asdict(self), "files": _plain(self.files)}, indent=2) + "\n"


def _plain(files: Mapping[str, File]) -> dict[str, dict[str, Any]]:
    return {name: file._asdict() for name, file in sorted(files.items())}


def parse(text: str) -> Manifest:
    """Read a manifest."""
    try:
        content = json.loads(text)
        version = content.pop("format")
        if version != FORMAT:
            raise BackupError(
                f"the backup's format is {version}; expected {FORMAT}: use the version of the collection that"
                " made it"
            )
        files = {str(name): File(**file) for name, file in content.pop("files").items()}
        contents = Contents(**content.pop("contents"))
        members = tuple(str(name) for name in content.pop("members"))
        return Manifest(**content, members=members, contents=contents, files=files)
    except (AttributeError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise BackupError(
            f"{NAME} of the backup cannot be read ({type(error).__name__}: {error}); expected what this"
            " collection writes: take another backup"
        ) from error


def differences(*, manifest: Manifest, seen: Mapping[str, File]) -> list[str]:
    """Compare the files that an archive has with those that its manifest names."""
    found = [f"{name} is missing" for name in sorted(manifest.files.keys() - seen.keys())]
    found += [f"{name} is not in the manifest" for name in sorted(seen.keys() - manifest.files.keys())]
    for name in sorted(manifest.files.keys() & seen.keys()):
        if manifest.files[name] != seen[name]:
            found.append(f"{name} is not what was backed up")
    return found


def disagreements(*, live: Contents, restored: Contents) -> list[str]:
    """Compare what the snapshot gave, restored, with the live store at the same revision."""
    expected, seen = asdict(live), asdict(restored)
    return [
        f"its {name.replace('_', ' ')} is {seen[name]}, that of the cluster {expected[name]}"
        for name in ("revision", "keys", "hash")
        if seen[name] != expected[name]
    ]
