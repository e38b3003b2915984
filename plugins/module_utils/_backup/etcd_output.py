# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What etcd's tools and its manifest say."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._backup.manifest import BackupError

_IMAGE = re.compile(r"^\s+image:\s*[\"']?([^\s\"']+)", re.MULTILINE)


def image(*, manifest: str) -> str | None:
    """Return the image that a static pod's manifest names."""
    match = _IMAGE.search(manifest)
    return match[1] if match else None


def version_of(*, image: str | None) -> str:
    """Return the version in an image's name, such as 1.36.1; nothing where there is none."""
    return (image or "").rpartition(":")[2].lstrip("v") if ":" in (image or "").rpartition("/")[2] else ""


def read(*, output: str, what: str) -> Any:
    """Read the JSON that a tool printed; what a log adds to it stands on lines of its own."""
    for line in output.splitlines():
        if line.startswith(("{", "[")):
            try:
                return json.loads(line)
            except ValueError:
                continue
    raise BackupError(
        f"{what} printed {output.strip()[:200]!r}; expected JSON: run this again, and look at etcd's log"
    )


def version(*, output: str) -> str:
    """Read the version in ``endpoint status``."""
    return str(read(output=output, what="etcdctl endpoint status")[0]["Status"]["version"])


def members(*, output: str) -> tuple[str, ...]:
    """Read the names of ``member list``; one that has not started yet has none."""
    answer = read(output=output, what="etcdctl member list")
    return tuple(sorted(str(member.get("name") or member["ID"]) for member in answer["members"]))


def snapshot_revision(*, output: str) -> int:
    """Read the revision of ``snapshot status``."""
    return int(read(output=output, what="snapshot status")["revision"])


def hash_and_compaction(*, output: str) -> tuple[int, int]:
    """Read ``endpoint hashkv``: the hash, and the revision up to which history was removed."""
    answer = read(output=output, what="etcdctl endpoint hashkv")[0]["HashKV"]
    return int(answer["hash"]), int(answer.get("compact_revision", 0))


def count(*, output: str) -> int:
    """Read how many keys ``get --count-only`` counted."""
    return int(read(output=output, what="etcdctl get").get("count", 0))


def restore_options(*, help_text: str) -> list[str]:
    """Return what has watchers notice that the store went back, where the tool can do so."""
    if "--bump-revision" in help_text and "--mark-compacted" in help_text:
        # More than what any cluster writes between two backups.
        return ["--bump-revision=1000000000", "--mark-compacted"]
    return []


def room_advice(*, said: str, memory: str) -> str:
    """Return what to do when a tool, or the container runtime, had no room; ``memory`` is a folder there."""
    if "no space left on device" not in said.lower():
        return ""
    if memory in said:
        return (
            "; expected more memory, for a copy of etcd's data: move pods to other nodes, and run this again"
        )
    return "; expected a disk with room for a container: free some there (see df -h)"


def free_ports(*, taken: Collection[int], number: int) -> list[int]:
    """Choose ports of the loopback address for an etcd beside the cluster's."""
    return [port for port in range(23790, 23990) if port not in taken][:number]
