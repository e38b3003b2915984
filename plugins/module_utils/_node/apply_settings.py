# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts the settings of a node into effect, now and for each boot; ``settings`` decides what files say."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._common import proxy
from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.commands import Runner
from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text
from ansible_collections.bramble.pi.plugins.module_utils._common.systemd import is_active
from ansible_collections.bramble.pi.plugins.module_utils._node import settings, swap
from ansible_collections.bramble.pi.plugins.module_utils._node.facts import active_swaps

_CLOUD_INIT = "/etc/cloud/cloud.cfg.d"
_CLOUD_INIT_HOSTS = "/etc/cloud/templates/hosts.debian.tmpl"
_FSTAB_BACKUP = "/etc/fstab.bramble-original"
# The running names: writing the first is what sethostname(2) does.
_KERNEL_HOSTNAME = "/proc/sys/kernel/hostname"
_KERNEL_RELEASE = "/proc/sys/kernel/osrelease"
_RPI_SWAP = "/etc/rpi/swap.conf"
_SYSCTL = "/etc/sysctl.d/99-bramble.conf"
_SYSCTL_FOLDERS = ("/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d")
#: From which systemd makes units of scripts, as of the older zram-config.
_INIT_SCRIPTS = "/etc/init.d"


class NodeSettings:
    """Brings one setting after the other into effect and remembers what that changed."""

    def __init__(self, *, run: Runner, warn: Callable[[str], None], changes: Changes, root: str = "") -> None:
        self.run = run
        self.warn = warn
        self.changes = changes
        self.root = root
        self.pending: list[str] = []

    def result(self) -> dict[str, Any]:
        """Return the module's result."""
        return {
            **self.changes.result(),
            "pending": self.pending,
            "reboot_required": bool(self.pending),
        }

    def _read(self, path: str) -> str:
        return read_text(self.root + path) or ""

    def _exists(self, path: str) -> bool:
        return os.path.exists(self.root + path)

    def _glob(self, pattern: str) -> list[str]:
        return sorted(path[len(self.root) :] for path in glob.glob(self.root + pattern))

    def _set_kernel(self, path: str, name: str, value: str) -> None:
        running = self._read(path).strip()
        if settings.is_same_sysctl(running=running, desired=value):
            return
        if not self.changes.note(f"set {name} from {running} to {value}"):
            return
        try:
            with open(self.root + path, "w", encoding="utf-8") as file:
                file.write(value)
        except OSError as error:
            raise settings.SettingsError(
                f"the kernel does not let {name} be set from {running} to {value}: {error.strerror}"
            ) from error

    def _systemctl(self, verb: str, unit: str) -> None:
        self.changes.do(
            f"{verb} {unit}",
            ["systemctl", verb, unit],
            remedy=f"expected that {unit} does not switch swap on: do that by hand, or set swap to keep",
        )

    def set_hostname(self, hostname: str) -> None:
        """Set the host name that is configured and the one that is running."""
        settings.check_hostname(hostname)
        self.changes.write(
            "/etc/hostname", settings.hostname_text(text=self._read("/etc/hostname"), hostname=hostname)
        )
        self._set_kernel(_KERNEL_HOSTNAME, "the running host name", hostname)

    def set_hosts(self, hostname: str | None, entries: Sequence[Mapping[str, Any]] | None) -> None:
        """Bring /etc/hosts up to date, and what cloud-init would make of it."""
        settings.check_hosts(entries or [])
        before = self._read("/etc/hosts")
        for conflict in settings.hosts_conflicts(text=before, entries=entries or []):
            self.warn(
                f"/etc/hosts has {conflict} before the block of this collection, and the first line wins; it"
                " was not written by this collection and stays: take it out if it is outdated"
            )
        self.changes.write("/etc/hosts", settings.hosts_text(text=before, hostname=hostname, entries=entries))
        if self._exists(_CLOUD_INIT_HOSTS):
            template = self._read(_CLOUD_INIT_HOSTS)
            self.changes.write(
                _CLOUD_INIT_HOSTS, settings.hosts_text(text=template, hostname=hostname, entries=entries)
            )
        if self._exists(_CLOUD_INIT):
            self.changes.write(
                f"{_CLOUD_INIT}/99-bramble.cfg", settings.cloud_init_text(hostname=hostname is not None)
            )

    def set_proxy(self, environment: Mapping[str, str]) -> None:
        """Let apt fetch packages through a proxy, or through none."""
        self.changes.write(proxy.APT, proxy.apt_text(environment=environment, before=self._read(proxy.APT)))

    def load_modules(self, modules: Sequence[str]) -> None:
        """Load kernel modules now and at each boot."""
        settings.check_modules(modules)
        self.changes.write("/etc/modules-load.d/bramble.conf", settings.modules_text(modules=modules))
        release = self._read(_KERNEL_RELEASE).strip()
        folder = f"/lib/modules/{release}"
        filesystems = self._read("/proc/filesystems")
        modules_builtin = self._read(f"{folder}/modules.builtin")
        for name in modules:
            if any(map(self._exists, settings.module_evidence(name))) or settings.is_built_in(
                module=name, filesystems=filesystems, modules_builtin=modules_builtin
            ):
                continue
            if not self._exists(folder) and self._glob("/lib/modules/*/modules.dep"):
                self.pending.append(
                    f"the kernel module {name} is not loaded: {folder} is gone since an upgrade of the kernel"
                )
                continue
            self.changes.do(
                f"load the kernel module {name}",
                ["modprobe", name],
                remedy=f"it is not built into the kernel {release} either: install the package that brings it"
                " for this kernel (on a Pi with Ubuntu 21.10 to 23.10 linux-modules-extra-raspi, on a PC with"
                " Ubuntu linux-modules-extra-generic) and reboot, or, in a container, load it on its machine",
            )

    def set_sysctl(self, parameters: Mapping[str, Any]) -> None:
        """Set kernel parameters now and at each boot."""
        settings.check_sysctl(parameters)
        self._refuse_overriding(parameters)
        self.changes.write(_SYSCTL, settings.sysctl_text(settings=parameters))
        for key, value in parameters.items():
            path = settings.sysctl_path(key)
            if self._exists(path):
                self._set_kernel(path, key, str(value))
            elif self.changes.check_mode:
                # Modules bring parameters of their own, which are not there before they are loaded.
                self.changes.note(f"set {key} to {value}")
            elif not self.pending:
                raise settings.SettingsError(
                    f"the running kernel has no parameter {key} ({path} is not there); expected the value"
                    f" {value}: add the module that brings it to kernel_modules (br_netfilter for net.bridge)"
                )

    def _refuse_overriding(self, parameters: Mapping[str, Any]) -> None:
        """Refuse files that would undo the settings at the next boot, because they are read later."""
        desired = {settings.sysctl_path(key): (key, value) for key, value in parameters.items()}
        for path in [path for folder in _SYSCTL_FOLDERS for path in self._glob(f"{folder}/*.conf")]:
            if os.path.basename(path) <= os.path.basename(_SYSCTL):
                continue
            for parameter, theirs in settings.sysctl_values(self._read(path)).items():
                key, value = desired.get(parameter, ("", theirs))
                if not settings.is_same_sysctl(running=theirs, desired=value):
                    raise settings.SettingsError(
                        f"{path} sets {key} to {theirs} and is read after {_SYSCTL} at each boot; expected"
                        f" {value}: take that line out (99-sysctl.conf is a link to /etc/sysctl.conf)"
                    )

    def switch_swap_off(self) -> None:
        """Switch swap off for good first, and then for now."""
        fstab = self._read("/etc/fstab")
        without = settings.fstab_without_swap(text=fstab)
        if without != fstab:
            if not self._exists(_FSTAB_BACKUP):
                # Its lines may have passwords; the copy is for those alone who may read the file.
                mode = stat.S_IMODE(os.stat(f"{self.root}/etc/fstab").st_mode)
                self.changes.write(
                    _FSTAB_BACKUP, fstab, mode=mode, sentence=f"keep /etc/fstab as {_FSTAB_BACKUP}"
                )
            self.changes.write("/etc/fstab", without, sentence="comment out the swap lines of /etc/fstab")
        if self._exists(_RPI_SWAP):
            self.changes.write(
                f"{_RPI_SWAP}.d/99-bramble.conf", f"{settings.MANAGED}[Main]\nMechanism=none\n"
            )
        self._hold_swap_units()
        for device in active_swaps(text=self._read("/proc/swaps")):
            if not self.changes.note(f"switch off swap on {device}"):
                continue
            status, _stdout, stderr = self.run(["swapoff", device])
            if status != 0:
                # Most often there is not enough memory for what is swapped out; a reboot fixes that.
                self.pending.append(f"swap on {device} is still in use: {stderr.strip()}")

    def _hold_swap_units(self) -> None:
        # Masking swap.target holds whatever it wants: units from fstab, generators and administrators.
        services = [
            name
            for name in swap.KNOWN_SERVICES
            if any(self._exists(f"{folder}/{name}") for folder in swap.UNIT_FOLDERS)
            or self._exists(f"{_INIT_SCRIPTS}/{name.removesuffix('.service')}")
        ]
        for unit in ["swap.target", *services]:
            path = f"{self.root}{swap.UNITS}/{unit}"
            if not os.path.lexists(path):
                self._systemctl("mask", unit)
            elif os.path.realpath(path) != os.devnull and self._glob(f"{swap.UNITS}/*.wants/{unit}"):
                # systemctl does not mask what has its file there, as scripts from guides install it.
                self._systemctl("disable", unit)
            # Also one that a run before this one has masked, and was killed then.
            if unit in swap.DAEMONS and is_active(self.run, unit):
                self._systemctl("stop", unit)
        desired = self._glob(f"{swap.UNITS}/*.wants/*.swap") + self._glob(f"{swap.UNITS}/*.requires/*.swap")
        elsewhere = [path for path in desired if not path.startswith(f"{swap.UNITS}/swap.target.")]
        for unit in sorted(set(map(os.path.basename, elsewhere))):
            self._systemctl("disable", unit)
