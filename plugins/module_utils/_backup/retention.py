# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which backups are kept, and whether there is room for another."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from datetime import datetime, timedelta, timezone
from typing import NamedTuple

_TIME = "%Y%m%dT%H%M%SZ"
_NAME = re.compile(
    r"bramble-(?P<created>[0-9]{8}T[0-9]{6}Z)-(?P<owner>[0-9a-f]{12}-[A-Za-z0-9][A-Za-z0-9.-]{0,63})\.tar\.gz\.age"
)
#: The kubelet evicts pods below a tenth of free space, so as much stays.
_RESERVE = 0.1
_MEBIBYTE = 1024 * 1024
#: What etcd's log takes beside the database, in the copy that proves a backup.
_COPY = 192 * _MEBIBYTE
#: What of the memory the cluster goes on with.
MEMORY_RESERVE = 64 * _MEBIBYTE

ISO = "%Y-%m-%dT%H:%M:%SZ"


def owner(*, ca_cert_hash: str, node: str) -> str:
    """Return whose a backup is: of which cluster, and of which of its nodes, as others may use the folder."""
    return f"{ca_cert_hash.rpartition(':')[2][:12]}-{node}"


def file_name(*, owner: str, created: datetime) -> str:
    """Return the name of a backup; the time comes first, so that the newest is the last one in order."""
    return f"bramble-{created:{_TIME}}-{owner}.tar.gz.age"


class Name(NamedTuple):
    """What the name of a backup says."""

    created: datetime
    owner: str


def parse_name(name: str) -> Name | None:
    """Read the name of a backup; None for that of any other file."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    try:
        return Name(datetime.strptime(match["created"], _TIME).replace(tzinfo=timezone.utc), match["owner"])
    except ValueError:
        return None


def created_of(name: str, *, owner: str) -> datetime | None:
    """Return when a backup was made, by its name; None for any other file, and what is not the owner's."""
    named = parse_name(name)
    return named.created if named is not None and named.owner == owner else None


def superfluous(
    *, names: Iterable[str], owner: str, newest: str, now: datetime, keep: int, days: int
) -> list[str]:
    """Return which of the owner's backups go: those beyond the number, and those that are too old.

    ``newest`` is the one just made, which stays whatever a clock said that was wrong. Files that are no
    backups, and those of other clusters and nodes, are not touched.
    """
    dated = sorted(
        (
            (created, name)
            for name in names
            if name != newest and (created := created_of(name, owner=owner)) is not None
        ),
        reverse=True,
    )
    return sorted(
        name
        for number, (created, name) in enumerate(dated, start=1)
        if number >= keep or now - created > timedelta(days=days)
    )


def disk_problem(
    *, folder: str, needed: int, available: int, size: int, remedy: str = "set backup_keep to fewer"
) -> str | None:
    """Say why a backup has no room on the disk."""
    reserve = int(size * _RESERVE)
    if available - needed >= reserve:
        return None
    return (
        f"{folder} has {available // _MEBIBYTE} MiB free; expected {(needed + reserve) // _MEBIBYTE} MiB or"
        f" more, so that a tenth of the disk stays free: free some there (see df -h), or {remedy}"
    )


def restore_problem(*, folder: str, snapshot: int, available: int) -> str | None:
    """Say why a snapshot has no room on the disk as the data of a member, beside what is there."""
    needed = snapshot + _COPY
    if available >= needed:
        return None
    return (
        f"{folder} has {available // _MEBIBYTE} MiB free; expected {needed // _MEBIBYTE} MiB or more for"
        " etcd: free some there (see df -h), or take a larger card"
    )


def memory_needed(*, database: int) -> int:
    """Return how much memory the snapshot and the copy that proves it take."""
    return 2 * database + _COPY


def memory_problem(*, needed: int, available: int) -> str | None:
    """Say why a backup has no room in memory."""
    if available - needed >= MEMORY_RESERVE:
        return None
    return (
        f"the memory available is {available // _MEBIBYTE} MiB; expected"
        f" {(needed + MEMORY_RESERVE) // _MEBIBYTE} MiB or more, as nothing of a backup is written to the"
        " card before it is encrypted: move pods to other nodes, or take a Pi with more memory"
    )


def swaps_to_disk(*, swaps: str, backing: Callable[[str], str | None]) -> list[str]:
    """Return what memory may be written to, by /proc/swaps; compressed memory is none.

    ``backing`` tells which disk such a device writes to what it has no room for.
    """
    names = [line.split()[0] for line in swaps.splitlines()[1:] if line.strip()]
    return [
        name
        for name in names
        if not name.startswith("/dev/zram") or (backing(name.rpartition("/")[2]) or "none").strip() != "none"
    ]


def recipient_problems(recipients: Collection[str]) -> list[str]:
    """Say what is wrong with those that backups are encrypted for."""
    if not recipients:
        return [
            "backup_recipients is empty; expected one recipient of age or more, as a backup has all keys and"
            " secrets of the cluster: run 'age-keygen -o bramble-backup.key' on your machine, and set"
            " backup_recipients to the public key that it prints"
        ]
    return [
        f"backup_recipients has {_shown(each)}; expected age1... (age-keygen prints it) or a line of"
        " ssh-ed25519 or ssh-rsa: correct backup_recipients in your inventory"
        for each in recipients
        if not re.fullmatch(r"age1[0-9a-z]{20,}|ssh-(ed25519|rsa) [A-Za-z0-9+/=]+( .*)?", each)
    ]


def _shown(recipient: str) -> str:
    """Show a recipient, and no identity that was set in its place."""
    return "the secret part of a key" if "SECRET" in recipient.upper() else repr(recipient)
