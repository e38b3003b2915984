# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies of backups on another node: what may be added there, what is kept, and how it is reached."""

from __future__ import annotations

import fnmatch
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._backup import retention
from ansible_collections.bramble.pi.plugins.module_utils._backup.manifest import BackupError
from ansible_collections.bramble.pi.plugins.module_utils._common.files import MANAGED

#: The user of a receiver whom senders log in as, and that user's home, in which it may write nothing.
USER = "bramble-backup"
HOME = "/var/lib/bramble-backup"
#: What a receiver runs for senders, whatever they ask for.
PROGRAM = f"{HOME}/receive.pyz"
#: A sender's own key, which never leaves it, and the receivers' host keys.
SENDER_FOLDER = "/etc/bramble/backup-copy"
KEY = f"{SENDER_FOLDER}/id_ed25519"
KNOWN_HOSTS = f"{SENDER_FOLDER}/known_hosts"

#: etcd's own limit of a database, which is larger than what is packed of it.
LARGEST = 8 << 30
#: A timer may make one each half hour.
PER_DAY = 48
#: Nor is it tried more often, as each time wears the card.
FAILED_PER_DAY = 10 * PER_DAY
#: What of the disk a sender may fill in a day; what did not come whole counts, as it was written too.
_SHARE_PER_DAY = 0.1
#: How much a clock may be behind that of the sender.
_AHEAD = timedelta(days=1)
_DAY = timedelta(days=1)
_MEBIBYTE = 1 << 20

#: Names of hosts, as they are in commands, files and paths.
HOST_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_REQUEST = re.compile(
    r"add (?P<name>[A-Za-z0-9.-]{1,160}) (?P<size>[1-9][0-9]{0,14}) (?P<sha256>[0-9a-f]{64})"
)

#: The option of the modules that are given receivers.
OPTION: dict[str, Any] = {
    "type": "list",
    "elements": "dict",
    "default": [],
    "options": {
        "name": {"type": "str", "required": True},
        "address": {"type": "str", "required": True},
        "port": {"type": "int", "default": 22},
    },
}


@dataclass(frozen=True)
class Receiver:
    """Another node that keeps copies, as a sender reaches it."""

    name: str
    address: str
    port: int

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> Receiver:
        """Take it from a module's options, or from the settings of the timer."""
        return cls(str(parameters["name"]), str(parameters["address"]), int(parameters["port"]))


class Request(NamedTuple):
    """What a sender asks for: that this file is added."""

    name: str
    size: int
    sha256: str

    def text(self) -> str:
        """Return the command for the receiver."""
        return f"add {self.name} {self.size} {self.sha256}"


class Copy(NamedTuple):
    """A copy that is there."""

    name: str
    size: int
    #: When it came, by the receiver's clock.
    arrived: datetime


# The receiver


def request(command: str) -> Request:
    """Read what a sender asks for; nothing but one thing can be."""
    match = _REQUEST.fullmatch(command)
    if match is None or retention.parse_name(match["name"]) is None:
        raise BackupError(
            "this key can add backups, and nothing else; expected the command"
            " 'add NAME SIZE SHA256' with the name of a backup"
        )
    return Request(match["name"], int(match["size"]), match["sha256"])


def is_there_text(asked: Request) -> str:
    """Return what a receiver says of a copy that it has; the sender reads it."""
    return f"{asked.name} is there"


def is_of_today(copy: Copy, *, now: datetime) -> bool:
    """Tell whether it came in the last 24 hours."""
    return copy.arrived > now - _DAY


def refusal(
    asked: Request,
    *,
    copies: Iterable[Copy],
    failed: Iterable[Copy],
    folder: str,
    now: datetime,
    disk: int,
    free: int,
) -> str:
    """Say why a copy is not taken; empty if it is. ``disk`` and ``free`` are bytes of the receiver's disk.

    ``failed`` are those that did not come whole, each with what came of it.
    """
    if asked.size > LARGEST:
        return f"{asked.name} has {asked.size} bytes; expected {LARGEST} at most"
    named = retention.parse_name(asked.name)
    if named is not None and named.created > now + _AHEAD:
        return (
            f"{asked.name} is of a time to come; expected at most {now:{retention.ISO}}, the time here, and a"
            " day: compare the clocks of both nodes (timedatectl)"
        )
    today, lost = ([each for each in group if is_of_today(each, now=now)] for group in (copies, failed))
    if len(today) >= PER_DAY:
        return (
            f"{folder} has {len(today)} copies of the last 24 hours; expected fewer than {PER_DAY}: set"
            " backup_schedule to fewer, and find out who else adds some"
        )
    if len(lost) >= FAILED_PER_DAY:
        return (
            f"{len(lost)} copies have not come whole to {folder} in the last 24 hours; expected fewer than"
            f" {FAILED_PER_DAY}: see what the doctor says of the sender, and find out who else tries"
        )
    most = int(disk * _SHARE_PER_DAY)
    added = sum(each.size for each in (*today, *lost))
    if added + asked.size > most:
        return (
            f"{folder} would have {(added + asked.size) // _MEBIBYTE} MiB of copies of the last 24 hours;"
            f" expected a tenth of its disk at most, {most // _MEBIBYTE} MiB: set backup_copy_folder to a"
            " larger disk, and find out who else adds some"
        )
    return (
        retention.disk_problem(
            folder=folder,
            needed=asked.size,
            available=free,
            size=disk,
            remedy="set backup_keep_days to fewer, or backup_copy_folder to a larger disk",
        )
        or ""
    )


def expired(copies: Sequence[Copy], *, now: datetime, days: int) -> list[str]:
    """Return which copies go: those that came, and were made, more than so many days ago.

    When they were made counts against the newest one, so that a clock that jumps has no say. Whoever adds
    some, be it with a stolen key, makes none go before its time.
    """
    dated = [(named.created, each) for each in copies if (named := retention.parse_name(each.name))]
    newest = max((created for created, _copy in dated), default=now)
    span = timedelta(days=days)
    return sorted(
        each.name for created, each in dated if created < newest - span and each.arrived < now - span
    )


def folder_of(folder: str, sender: str) -> str:
    """Return where the copies of a sender are."""
    return f"{folder.rstrip('/')}/{sender}"


def authorized_line(*, sender: str, key: str, folder: str, days: int) -> str:
    """Return the line that lets a sender in, to one command."""
    command = shlex.join(["/usr/bin/python3", "-I", PROGRAM, folder_of(folder, sender), str(days)])
    return f'restrict,command="{command}" {" ".join(key.split()[:2])} {_mark(sender)}'


def _mark(sender: str) -> str:
    return f"bramble-backup-of:{sender}"


def with_sender(text: str, *, sender: str, line: str = "") -> str:
    """Return the text of authorized_keys with one line for a sender, or none."""
    others = [
        each
        for each in text.splitlines()
        if each.strip() and not each.startswith("#") and each.split()[-1] != _mark(sender)
    ]
    lines = sorted([*others, line] if line else others)
    return MANAGED + "".join(f"{each}\n" for each in lines) if lines else ""


def folder_problem(folder: str) -> str:
    """Say why a folder cannot be named in a line of authorized_keys; empty if it can."""
    parts = folder.split("/")
    if re.fullmatch(r"(/[A-Za-z0-9_@+=.,-]+)+/?", folder) and not {".", ".."} & set(parts):
        # Both go with the last sender, or receiver, and copies stay.
        for removed in (HOME, SENDER_FOLDER):
            if f"{folder}/".startswith(f"{removed}/"):
                return (
                    f"backup_copy_folder is {folder}, in {removed}, which is removed when no copies are sent"
                    " any more; expected another folder, such as /var/lib/bramble-backup-copies: set it in"
                    " your inventory"
                )
        return ""
    return (
        f"backup_copy_folder is {folder!r}; expected the whole path of a folder, of letters, digits and"
        " _@+=.,- between the slashes, such as /mnt/disk/backup-copies: set it in your inventory"
    )


def door_problems(settings: str) -> Iterator[str]:
    """Say what in the configuration of sshd, as ``sshd -T`` prints it, keeps senders out."""
    found: dict[str, list[str]] = {}
    for line in settings.splitlines():
        name, _blank, value = line.partition(" ")
        found.setdefault(name.lower(), []).append(value.strip())

    def names(option: str) -> list[str]:
        return [word.partition("@")[0] for value in found.get(option, []) for word in value.split()]

    def listed(option: str) -> bool:
        return any(fnmatch.fnmatchcase(USER, name) for name in names(option))

    for option, name in (("allowusers", "AllowUsers"), ("allowgroups", "AllowGroups")):
        if names(option) and not listed(option):
            yield f"{name} of sshd is {' '.join(names(option))}; expected {USER} as well: add it"
    for option, name in (("denyusers", "DenyUsers"), ("denygroups", "DenyGroups")):
        if listed(option):
            yield f"{name} of sshd is {' '.join(names(option))}; expected it without {USER}: remove that"
    if found.get("pubkeyauthentication") == ["no"]:
        yield f"PubkeyAuthentication of sshd is no; expected yes for {USER}: set it"
    if found.get("authenticationmethods", ["any"]) not in (["any"], ["publickey"]):
        methods = " ".join(found["authenticationmethods"])
        yield f"AuthenticationMethods of sshd is {methods}; expected publickey for {USER}: set it"
    if found.get("forcecommand", ["none"]) != ["none"]:
        yield f"ForceCommand of sshd is set for all; expected none for {USER}: set it"
    files = " ".join(found.get("authorizedkeysfile", [".ssh/authorized_keys"])).split()
    if not {".ssh/authorized_keys", "%h/.ssh/authorized_keys"} & set(files):
        yield (
            f"AuthorizedKeysFile of sshd is {' '.join(files)}; expected .ssh/authorized_keys for {USER}:"
            " set it"
        )


# The sender


def ssh_command(receiver: Receiver, asked: Request) -> list[str]:
    """Return the command that a copy is sent by: with this key alone, to this host key alone."""
    options = {
        "BatchMode": "yes",
        # Before OpenSSH 8.5 it is yes: it enters an address, whose key then is that of a former card.
        "CheckHostIP": "no",
        "ConnectTimeout": "20",
        "GlobalKnownHostsFile": "/dev/null",
        "HostKeyAlias": receiver.name,
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "IdentityFile": KEY,
        "LogLevel": "ERROR",
        "PreferredAuthentications": "publickey",
        "ServerAliveCountMax": "4",
        "ServerAliveInterval": "15",
        "StrictHostKeyChecking": "yes",
        "UpdateHostKeys": "no",
        "UserKnownHostsFile": KNOWN_HOSTS,
    }
    words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    # Nothing of a user's or the system's configuration.
    return [
        *("ssh", "-F", "none", "-T", *words, "-p", str(receiver.port), "-l", USER),
        *("--", receiver.address, asked.text()),
    ]


def former(*, before: Mapping[str, Any] | None, now: Iterable[Receiver], forget: Iterable[str]) -> list[str]:
    """Return who got copies by the settings before, gets none now, and may still let this node in."""
    known = {str(each["name"]) for each in (before or {}).get("copies", [])}
    known |= set((before or {}).get("former", []))
    return sorted(known - {each.name for each in now} - set(forget))
