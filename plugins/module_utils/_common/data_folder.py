# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Folders for data that grows: whether one can be it, and whether the disk that it should be on is there."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping

#: Folders that the units do not see, or that a boot empties.
_NO_DATA = ("/home", "/root", "/tmp", "/run", "/dev", "/proc", "/sys", "/etc", "/usr", "/boot")  # noqa: S108


def is_data_folder(text: str) -> bool:
    """Tell whether a text is a folder that a unit can have its data in."""
    plain = posixpath.normpath(text)
    inside = [folder for folder in _NO_DATA if plain == folder or plain.startswith(f"{folder}/")]
    return text.startswith("/") and plain != "/" and not inside and not re.search(r"[\s%$\"'\\]", text)


def missing_disk(
    folder: str, *, variable: str, instead: str, mounts: Mapping[str, str], fstab: Mapping[str, str]
) -> str | None:
    """Say why a folder cannot have the data: the disk that it should be on is not mounted.

    ``mounts`` has the file systems that are mounted, ``fstab`` those that should be: {folder: device};
    ``instead`` is a folder that needs no disk.
    """
    if not folder.startswith("/"):
        return (
            f"{variable} is {folder}, which does not begin with /; expected the whole path of a folder,"
            f" such as {instead}: set {variable}"
        )
    # POSIX, and so normpath, leaves two slashes at the beginning.
    plain = posixpath.normpath(f"/{folder.lstrip('/')}")
    parents = [plain]
    while parents[-1] != "/":
        parents.append(posixpath.dirname(parents[-1]))
    mounted = next((parent for parent in parents if parent in mounts), "/")
    missing = next((parent for parent in parents[:-1] if parent in fstab and parent not in mounts), None)
    if missing:
        return (
            f"{variable} is {folder}, and {missing} of /etc/fstab is not mounted; expected the"
            f" disk {fstab[missing]} there: plug it in and run 'mount {missing}', or set"
            f" {variable}"
        )
    if mounted == "/" and plain.startswith(("/mnt/", "/media/")):
        return (
            f"{variable} is {folder}, which is on the file system of /; expected a disk that is"
            f" mounted there: mount it, with a line in /etc/fstab, or set {variable} to a folder"
            f" elsewhere, such as {instead}"
        )
    return None


def mount_table(text: str) -> dict[str, str]:
    """Return the file systems of /proc/mounts or /etc/fstab: {folder: device}."""
    found = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) > 1 and not words[0].startswith("#") and words[1].startswith("/"):
            found[posixpath.normpath(words[1].replace("\\040", " "))] = words[0]
    return found
