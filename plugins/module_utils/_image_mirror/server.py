# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes a host the image mirror of a rack, and takes that away again."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._common import program
from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.commands import Runner
from ansible_collections.bramble.pi.plugins.module_utils._common.data_folder import missing_disk, mount_table
from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text, replace_file
from ansible_collections.bramble.pi.plugins.module_utils._common.own_packages import OwnPackages
from ansible_collections.bramble.pi.plugins.module_utils._common.removal import (
    remove_empty_folders,
    remove_files,
)
from ansible_collections.bramble.pi.plugins.module_utils._common.systemd import Systemd
from ansible_collections.bramble.pi.plugins.module_utils._containers.mirrors import Mirror
from ansible_collections.bramble.pi.plugins.module_utils._image_mirror import blobs, clean, units, upkeep
from ansible_collections.bramble.pi.plugins.module_utils._image_mirror.authority import Authority
from ansible_collections.bramble.pi.plugins.module_utils._image_mirror.configuration import (
    CA,
    CERTIFICATE,
    FOLDER,
    ONLINE,
    PROGRAM,
    SETTINGS,
    USER,
    configuration,
    configuration_path,
)
from ansible_collections.bramble.pi.plugins.module_utils._image_mirror.refusals import ImageMirrorError

RECORD = "/var/lib/bramble/image-mirror-packages.json"
_PACKAGES = ("docker-registry", "openssl")
_POLL = 0.5
_CONNECT_SECONDS = 5


class Wishes(NamedTuple):
    """What is asked of the host that mirrors."""

    mirrors: Sequence[Mirror]
    #: Its address and its names, for the certificate.
    hosts: Sequence[str]
    folder: str
    size: str
    #: user and password, by registry.
    credentials: Mapping[str, Mapping[str, str]]


class Server:
    """The mirror on its host."""

    def __init__(self, *, run: Runner, changes: Changes) -> None:
        self._run = run
        self._changes = changes
        self._systemd = Systemd(run=run, changes=changes)
        self._packages = OwnPackages(run=run, changes=changes, record=RECORD)

    def ensure(self, wishes: Wishes, *, timeout: int) -> None:
        """Ensure that the host mirrors these registries, and no other ones."""
        bound = self._check_folder(wishes)
        self._install()
        owner = self._owner()
        self._folder(wishes.folder, owner=(0, 0), mode=0o755)
        for mirror in wishes.mirrors:
            self._folder(f"{wishes.folder}/{mirror.registry}", owner=owner, mode=0o750)
        self._drop_others(wishes)
        signed = Authority(run=self._run, changes=self._changes).ensure(hosts=wishes.hosts, owner=owner)
        settings = {
            "folder": wishes.folder,
            "bound": bound,
            "hosts": list(wishes.hosts),
            "registries": {mirror.registry: mirror.server for mirror in wishes.mirrors},
        }
        self._changes.write(SETTINGS, json.dumps(settings, indent=2) + "\n")
        program.install(upkeep, PROGRAM, self._changes)
        changed = self._units(wishes) or signed
        for mirror in wishes.mirrors:
            self._serve(mirror, wishes, owner=owner, changed=changed)
        files = [units.path_of(unit) for unit in (units.TIMER, units.UPKEEP)]
        self._systemd.ensure_running(units.TIMER, changed=changed, files=files)
        if self._changes and not self._changes.check_mode:
            self._wait(wishes, timeout=timeout)

    def _check_folder(self, wishes: Wishes) -> int:
        problem = missing_disk(
            wishes.folder,
            variable="image_mirror_folder",
            instead="/var/lib/bramble-image-mirror",
            mounts=mount_table(read_text("/proc/mounts") or ""),
            fstab=mount_table(read_text("/etc/fstab") or ""),
        )
        if problem:
            raise ImageMirrorError(problem)
        bound = blobs.size_of(wishes.size)
        if bound is None:
            raise ImageMirrorError(
                f"image_mirror_size is {wishes.size!r}; expected a number with MB, GB or TB, such as 20GB:"
                " set image_mirror_size in group_vars/all.yml"
            )
        found = clean.space(wishes.folder)
        room = found.used + found.free - blobs.reserve(found.total)
        if bound > room:
            raise ImageMirrorError(
                f"image_mirror_size is {wishes.size}, and the file system of {wishes.folder} has room for"
                f" {blobs.size_text(max(room, 0))} of images, with"
                f" {blobs.size_text(blobs.reserve(found.total))} left for others; expected room for all of"
                " it: set image_mirror_size to less, or image_mirror_folder to a folder on a larger disk"
            )
        return bound

    def _install(self) -> None:
        mask = units.path_of(units.DEBIAN)
        # Before the package, which would start it at once; one that was there already is its owner's.
        if not os.path.exists(upkeep.REGISTRY) and not os.path.lexists(mask):
            if self._changes.note(f"mask {units.DEBIAN}"):
                os.symlink("/dev/null", mask)
            self._systemd.read_units()
        self._packages.ensure(_PACKAGES)

    def _owner(self) -> tuple[int, int]:
        try:
            entry = pwd.getpwnam(USER)
        except KeyError:
            # In check mode, before the package is there.
            return (0, 0)
        return entry.pw_uid, entry.pw_gid

    def _folder(self, path: str, *, owner: tuple[int, int], mode: int) -> None:
        with contextlib.suppress(FileNotFoundError):
            status = os.stat(path)
            if owner in ((0, 0), (status.st_uid, status.st_gid)):
                return
        if self._changes.note(f"create {path}"):
            os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                os.mkdir(path, mode=mode)
            os.chown(path, *owner)

    def _units(self, wishes: Wishes) -> bool:
        texts = {
            units.TEMPLATE: units.service(data=wishes.folder),
            units.UPKEEP: units.upkeep_service(data=wishes.folder),
            units.TIMER: units.upkeep_timer(),
        }
        written = [unit for unit, text in texts.items() if self._changes.write(units.path_of(unit), text)]
        if written:
            self._systemd.read_units()
        return bool(written)

    def _serve(self, mirror: Mirror, wishes: Wishes, *, owner: tuple[int, int], changed: bool) -> None:
        paths = []
        for online in (True, False):
            path = configuration_path(mirror.registry, online=online)
            paths.append(path)
            login = wishes.credentials.get(mirror.registry)
            text = configuration(mirror, data=wishes.folder, credentials=login, online=online)
            changed |= self._secret(path, text, owner=owner)
        self._systemd.ensure_running(
            units.instance(mirror.registry),
            changed=changed,
            files=(units.path_of(units.TEMPLATE), CERTIFICATE, *paths),
        )

    def _secret(self, path: str, text: str, *, owner: tuple[int, int]) -> bool:
        """Write a file that the registry alone may read; no diff shows the password that may be in it."""
        if read_text(path) == text:
            return False
        if self._changes.note(f"write {path}"):
            os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
            replace_file(path, text.encode(), mode=0o600, owner=owner)
        return True

    def _drop_others(self, wishes: Wishes) -> None:
        """Stop serving registries that are not asked for any more; what is there of them goes as it ages."""
        asked = {mirror.registry for mirror in wishes.mirrors}
        for registry in self._served():
            if registry not in asked:
                self._drop(registry)

    def _drop(self, registry: str) -> None:
        self._systemd.ensure_stopped(units.instance(registry))
        # The one by which it is known last.
        paths = [configuration_path(registry, online=online) for online in (False, True)]
        remove_files(self._changes, paths)

    @staticmethod
    def _served() -> list[str]:
        if not os.path.isdir(ONLINE):
            return []
        return sorted(name[: -len(".json")] for name in os.listdir(ONLINE) if name.endswith(".json"))

    def _wait(self, wishes: Wishes, *, timeout: int) -> None:
        deadline = time.monotonic() + timeout
        for mirror in wishes.mirrors:
            while not answers(mirror.url):
                if time.monotonic() > deadline:
                    unit = units.instance(mirror.registry)
                    raise ImageMirrorError(
                        f"the mirror of {mirror.registry} does not answer at {mirror.url} within {timeout} s;"
                        f" expected its answer: look at 'journalctl -u {unit}', set image_mirror_address to"
                        " an address of this host and image_mirror_port to ports that are free there, or set"
                        " image_mirror_timeout"
                    )
                time.sleep(_POLL)

    def remove(self, *, folder: str, with_data: bool) -> None:
        """Remove all that the role brought to the host; the images only if it is told so."""
        self._systemd.ensure_stopped(units.TIMER)
        for registry in self._served():
            self._drop(registry)
        paths = [units.path_of(unit) for unit in (units.TIMER, units.UPKEEP, units.TEMPLATE)]
        if remove_files(self._changes, paths):
            self._systemd.read_units()
        remove_files(self._changes, [PROGRAM, FOLDER])
        mask = units.path_of(units.DEBIAN)
        # It is there only with the package that was brought.
        if _PACKAGES[0] in (read_text(RECORD) or "") and os.path.islink(mask):
            remove_files(self._changes, [mask])
            self._systemd.read_units()
        self._packages.remove()
        if with_data:
            found = [folder] if os.path.isdir(folder) else []
            # A disk that is mounted there stays, empty.
            if found and os.path.ismount(folder):
                found = [os.path.join(folder, name) for name in sorted(os.listdir(folder))]
            remove_files(self._changes, found)
        self._remove_user(folder)
        remove_empty_folders(self._changes)

    def _remove_user(self, folder: str) -> None:
        """Remove the user that Debian's package leaves, unless something is still its own."""
        if os.path.exists(upkeep.REGISTRY) or os.path.exists(folder):
            return
        if self._run(["getent", "passwd", USER])[0] == 0:
            self._changes.do(f"remove the user {USER}", ["userdel", USER])
        home = f"/var/lib/{USER}"
        if os.path.isdir(home) and not os.listdir(home):
            remove_files(self._changes, [home])


def answers(url: str) -> bool:
    """Tell whether a registry of the mirror is ready, with the certificate that nodes expect."""
    context = ssl.create_default_context(cafile=CA)
    handlers = (urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    try:
        urllib.request.build_opener(*handlers).open(f"{url}/v2/", timeout=_CONNECT_SECONDS).close()
    except (OSError, urllib.error.URLError):
        return False
    return True
