# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of a boot partition: through mtools in a device or an image file, or in a folder where it is mounted.

Both kinds change files in the same order: everything new goes into a folder of its own and is flushed, then
moves to its place, then the folder goes. So a full partition or a write error leaves every file as it was,
and a power cut leaves the old files, or the new ones still in that folder; the next change clears it away.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError

#: Runs a command as AnsibleModule.run_command does, and takes the same keywords.
MtoolsRunner = Callable[..., tuple[int, bytes, bytes]]
#: Where new files wait until all of them are complete.
STAGING = "bramble.new"
#: FAT has code pages for other letters; mtools has patterns, replaces some characters, and takes '-' for its
#: standard input.
_NAME_PART = re.compile(r"[A-Za-z0-9._]([A-Za-z0-9 ._+@=,#()-]{0,253}[A-Za-z0-9_+@=,#()-])?")
#: Devices of DOS, whatever comes behind a dot; mtools and Windows refuse these, not all in each version.
_DEVICE = re.compile(r"(con|prn|aux|nul|com[1-9]|lpt[1-9]) *(\..*)?", re.IGNORECASE)


class BootPartitionError(BrambleError):
    """The boot partition cannot be read or changed; the message says what was seen and how to fix it."""


class Boot(Protocol):
    """The files of a boot partition. Names are relative, as in ``current/cmdline.txt``, in any case."""

    @property
    def where(self) -> str:
        """What messages call it."""

    @property
    def free(self) -> int:
        """How many bytes are free."""

    def names(self) -> tuple[str, ...]:
        """Return the name of every file, and of every folder with a slash at its end."""

    def find(self, name: str) -> str | None:
        """Return the name of a file or folder as it is there, folders with a slash at the end."""

    def load(self, names: Sequence[str]) -> None:
        """Read these files at once, as far as they are there."""

    def read(self, name: str) -> bytes | None:
        """Return what is in a file, or None if there is no such file."""

    def change(
        self, *, write: Mapping[str, bytes], remove: Sequence[str] = (), dry_run: bool = False
    ) -> None:
        """Write files and remove others, flushed to the device at the end; or only refuse what cannot be."""


def check_name(name: str) -> None:
    """Refuse a name that is not good for a file on a boot partition."""
    parts = name.split("/")
    bad = next((part for part in parts if not _NAME_PART.fullmatch(part) or not part.strip(".")), None)
    if bad is not None:
        raise BootPartitionError(
            f"the file name {name!r} has the part {bad!r}; expected 1 to 255 letters, digits, blanks and "
            f"'._+@=,#()-', the first a letter, digit, dot or '_', and the last no dot or blank, as in "
            f"'user-data' or 'overlays/my.dtbo'."
        )
    device = next((part for part in parts if _DEVICE.fullmatch(part)), None)
    if device is not None:
        raise BootPartitionError(
            f"the file name {name!r} has the part {device!r}, which FAT file systems reserve for a device, "
            f"as they do con, prn, aux, nul, com1 to com9 and lpt1 to lpt9; expected another name."
        )
    if parts[0].casefold() == STAGING:
        raise BootPartitionError(
            f"the file name {name!r} is kept for files that are being written; expected another name."
        )


def check_names(*, files: Iterable[str], absent: Iterable[str] = ()) -> None:
    """Refuse names that FAT does not take, that are one to it, or a file and a folder at once."""
    seen: dict[str, str] = {}
    written = list(files)
    for name in [*written, *absent]:
        check_name(name)
        other = seen.get(name.casefold())
        seen[name.casefold()] = name
        if other is not None:
            raise BootPartitionError(
                f"{name!r} and {other!r} are one file, as a boot partition makes no difference between upper "
                f"and lower case; take one of them out of 'files' or 'absent'."
            )
    for name in written:
        for folder in _folders(name):
            other = seen.get(folder.rstrip("/").casefold())
            if other is not None:
                raise BootPartitionError(
                    f"{other!r} is a file and, for {name!r}, a folder; expected one of both: rename one of "
                    f"them, or take it out."
                )


def split_name(name: str) -> tuple[str, str]:
    folder, slash, base = name.rpartition("/")
    return folder + slash, base


def _folders(name: str) -> list[str]:
    """Return the folders that a file lies in, outermost first, each with a slash at its end."""
    return [name[: match.end()] for match in re.finditer("/", name)]


class Names:
    """Names as they are written on the partition."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._known = {name.rstrip("/").casefold(): name for name in names}

    def find(self, name: str) -> str | None:
        """Return the name of a file or folder as it is there, folders with a slash at the end."""
        return self._known.get(name.rstrip("/").casefold())

    def file(self, name: str, where: str) -> str | None:
        found = self.find(name)
        if found and found.endswith("/"):
            raise BootPartitionError(f"{found} on {where} is a folder; expected a file, or another name.")
        return found

    def place(self, name: str, where: str) -> str:
        """Return a name for a new file: inside the folders that are there, under the names that they have."""
        there = self.file(name, where)
        if there:
            return there
        for folder in reversed(_folders(name)):
            known = self.find(folder)
            if known and not known.endswith("/"):
                raise BootPartitionError(f"{known} on {where} is a file; expected a folder, for {name}.")
            if known:
                return known + name[len(folder) :]
        return name


class Plan(NamedTuple):
    """One change, with the names that count on the partition."""

    new_folders: tuple[str, ...]
    #: Files by the folder that they belong into.
    groups: tuple[tuple[str, dict[str, bytes]], ...]
    remove: tuple[str, ...]


def plan_change(names: Names, write: Mapping[str, bytes], remove: Sequence[str], where: str) -> Plan:
    groups: dict[str, dict[str, bytes]] = {}
    new_folders: dict[str, str] = {}
    check_names(files=write)
    for name, data in write.items():
        path, base = split_name(names.place(name, where))
        folder = ""
        for part in path.split("/")[:-1]:
            folder += f"{part}/"
            if not names.find(folder):
                # Two files may have it in different cases.
                folder = new_folders.setdefault(folder.casefold(), folder)
        groups.setdefault(folder, {})[base] = data
    there = [names.file(name, where) for name in remove]
    return Plan(tuple(new_folders.values()), tuple(groups.items()), tuple(name for name in there if name))


def stage(folder: str, plan: Plan, *, flush: bool) -> None:
    """Write the new files below a folder, those of each group in a folder with its number."""
    for number, (_folder, files) in enumerate(plan.groups):
        group = os.path.join(folder, str(number))
        os.makedirs(group, mode=0o700)
        for base, data in files.items():
            with open(os.path.join(group, base), "wb") as file:
                file.write(data)
                if flush:
                    file.flush()
                    os.fsync(file.fileno())
