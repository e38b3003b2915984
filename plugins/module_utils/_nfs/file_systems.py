# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""On which file systems folders are that are served, and which of those nothing is served of."""

from __future__ import annotations

import posixpath
import re

_SPECIAL = re.compile(r"[^a-zA-Z0-9:_./]|^\.")


def _places(mountinfo: str) -> dict[str, str]:
    """Return what is mounted: {folder: number of its file system}."""
    mounts = {}
    for line in mountinfo.splitlines():
        fields = line.split(" ")
        place = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields[4])
        # A later one covers the one before.
        mounts[place] = fields[2]
    return mounts


def mount_point(*, path: str, mountinfo: str) -> str:
    """Return the folder at which the file system of a path is mounted, be the path there yet or not."""
    places = _places(mountinfo)
    # What has no beginning, or two slashes there, comes to an end other than "/".
    while path not in places and path != posixpath.dirname(path):
        path = posixpath.dirname(path)
    return path if path in places else "/"


def on_root_file_system(*, path: str, mountinfo: str) -> bool:
    """Tell whether a path, be it there yet or not, is on the file system of ``/``.

    ``mountinfo`` is the text of /proc/self/mountinfo, in which subvolumes and bind mounts have the number of
    the file system that they are of. https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html
    """
    places = _places(mountinfo)
    return "/" in places and places[mount_point(path=path, mountinfo=mountinfo)] == places["/"]


def root_problem(*, path: str, mountinfo: str, asked: str, variable: str, help_at: str) -> str | None:
    """Say why a folder is not served: it is on the root file system of its server.

    ``asked`` is how the user named it, ``variable`` what consents to it, ``help_at`` where more is told.
    """
    if not on_root_file_system(path=path, mountinfo=mountinfo):
        return None
    return (
        f"{asked} is on the root file system of its server, all of which a node that was taken over could"
        " reach by guessing file handles; expected a file system of its own: mount one there, as"
        f" {help_at} says, or set {variable} to true if all nodes are trusted"
    )


def _escaped(match: re.Match[str]) -> str:
    return "".join(f"\\x{byte:02x}" for byte in match[0].encode())


def mount_unit(folder: str) -> str:
    """Return the name of the unit of what is mounted at a folder, as ``systemd-escape --path`` does."""
    inner = posixpath.normpath(folder).strip("/")
    return _SPECIAL.sub(_escaped, inner).replace("/", "-") + ".mount" if inner else "-.mount"
