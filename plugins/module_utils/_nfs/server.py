# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The NFS server of a host, which serves what several roles have; and it goes when none has anything."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence

from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.commands import Runner
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text
from ansible_collections.bramble.pi.plugins.module_utils._common.own_packages import OwnPackages
from ansible_collections.bramble.pi.plugins.module_utils._common.removal import (
    remove_empty_folders,
    remove_files,
)
from ansible_collections.bramble.pi.plugins.module_utils._common.systemd import Systemd
from ansible_collections.bramble.pi.plugins.module_utils._nfs import ask, configuration, file_systems
from ansible_collections.bramble.pi.plugins.module_utils._nfs.configuration import (
    KINDS,
    OLD_FILES,
    RECORDS,
    Kind,
    Served,
)
from ansible_collections.bramble.pi.plugins.module_utils._nfs.unneeded import Unneeded

_PACKAGES = f"{RECORDS}/server-packages"
#: What ganesha remembers of its clients, which its package leaves.
_STATE = "/var/lib/nfs/ganesha"
_POLL = 0.5


class NfsError(BrambleError):
    """What is asked for cannot be served; the message says why, and what fixes it."""


def served_here(records: str = RECORDS) -> list[Served]:
    """Return what roles have this host serve, as they have noted it."""
    names: list[str] = []
    with contextlib.suppress(FileNotFoundError):
        names = sorted(os.listdir(records))
    found = (
        configuration.parse_record(owner=name[: -len(".json")], text=read_text(f"{records}/{name}"))
        for name in names
        if name.endswith(".json")
    )
    return [each for each in found if each]


class Server:
    """The NFS server of this host."""

    def __init__(self, *, run: Runner, changes: Changes) -> None:
        self._run = run
        self._changes = changes
        self._systemd = Systemd(run=run, changes=changes)
        self._packages = OwnPackages(run=run, changes=changes, record=_PACKAGES)
        self._unneeded = Unneeded(changes=changes, systemd=self._systemd)

    def kind(self, asked: str) -> str:
        """Return which server is meant: that of the kernel where there is one, unless one is named."""
        if asked != "auto":
            return asked
        return "kernel" if self._run(["modprobe", "--dry-run", "--quiet", "nfsd"])[0] == 0 else "ganesha"

    def ensure(self, served: Served, *, timeout: int) -> None:
        """Ensure that this is served beside what other roles have."""
        others = [each for each in served_here() if each.owner != served.owner]
        for problem in configuration.conflicts(served, others):
            raise NfsError(problem)
        # The server passes over what is not there yet, and would not look again: it is told once it is there.
        served = served._replace(exports=tuple(each for each in served.exports if os.path.isdir(each.path)))
        self._changes.write(f"{RECORDS}/{served.owner}.json", configuration.record(served))
        self._run_all([*others, served], timeout=timeout)

    def remove(self, owner: str, *, timeout: int) -> None:
        """Serve what others have, and nothing of one; the last one takes the server with it."""
        found = served_here()
        others = [each for each in found if each.owner != owner]
        if others and len(others) < len(found):
            remove_files(self._changes, [f"{RECORDS}/{owner}.json"])
            self._run_all(others, timeout=timeout)
        elif not others:
            self._remove_all(owner)

    def _run_all(self, served: Sequence[Served], *, timeout: int) -> None:
        kind = KINDS[served[0].kind]
        self._unneeded.mask()
        changed = remove_files(self._changes, OLD_FILES)
        files = {**configuration.files(served), kind.drop_in: configuration.drop_in(self._mounts(served))}
        # Before the packages, which start it.
        for path, text in files.items():
            changed = self._changes.write(path, text) or changed
        if changed:
            self._systemd.read_units()
        changed = self._packages.ensure(kind.packages) or changed
        self._unneeded.stop()
        restarted = self._systemd.ensure_running(kind.unit, changed=changed, files=[*files])
        if restarted and not self._changes.check_mode:
            self._wait(kind, served[0].address, timeout=timeout)

    def _mounts(self, served: Sequence[Served]) -> set[str]:
        mountinfo = read_text("/proc/self/mountinfo") or ""
        places = {
            file_systems.mount_point(path=export.path, mountinfo=mountinfo)
            for each in served
            for export in each.exports
        }
        return {file_systems.mount_unit(place) for place in places - {"/"}}

    def _wait(self, kind: Kind, address: str, *, timeout: int) -> None:
        deadline = time.monotonic() + timeout
        while (problem := ask.problem(address)) is not None:
            if time.monotonic() > deadline:
                raise NfsError(
                    f"{kind.unit} was started and does not answer at {address} port {configuration.PORT}"
                    f" ({problem}); expected an answer within {timeout} s: see 'journalctl -u {kind.unit}'"
                )
            time.sleep(_POLL)

    def _remove_all(self, owner: str) -> None:
        files: list[str] = [
            configuration.EXPORTS,
            configuration.SETTINGS,
            *OLD_FILES,
            *(kind.drop_in for kind in KINDS.values()),
        ]
        noted = os.path.exists(_PACKAGES)
        # What somebody else has installed runs on.
        if noted:
            for kind in KINDS.values():
                self._systemd.ensure_stopped(kind.unit)
        if (read_text(configuration.GANESHA) or "").startswith(configuration.WRITTEN):
            files = [*files, configuration.GANESHA]
        removed = remove_files(self._changes, files)
        if noted:
            # The folder that it is in goes with the packages only if it is empty.
            remove_files(self._changes, [_STATE])
            self._packages.remove()
        else:
            self._tell_others_server(removed)
        if removed:
            self._systemd.read_units()
        self._unneeded.unmask()
        remove_files(self._changes, [f"{RECORDS}/{owner}.json"])
        if not self._changes.check_mode:
            for folder in (*(os.path.dirname(kind.drop_in) for kind in KINDS.values()), RECORDS):
                with contextlib.suppress(OSError):
                    os.rmdir(folder)
        remove_empty_folders(self._changes)

    def _tell_others_server(self, removed: bool) -> None:
        for kind in KINDS.values():
            if removed and self._systemd.is_active(kind.unit):
                self._systemd.restart_in_one(kind.unit)
