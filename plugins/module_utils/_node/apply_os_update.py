# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Updates the operating system of a node; ``os_update`` decides what needs a reboot and what is refused."""

from __future__ import annotations

import contextlib
import glob
import os
import tempfile
from collections.abc import Callable, Collection, Iterator
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._boot import eeprom
from ansible_collections.bramble.pi.plugins.module_utils._boot.layout import PARTITIONS
from ansible_collections.bramble.pi.plugins.module_utils._common import apt
from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.commands import Runner, output_of
from ansible_collections.bramble.pi.plugins.module_utils._common.files import MANAGED, read_text
from ansible_collections.bramble.pi.plugins.module_utils._common.systemd import unit_properties
from ansible_collections.bramble.pi.plugins.module_utils._node import os_update

_INFO = "/var/lib/dpkg/info"
_REBOOT_REQUIRED = "/run/reboot-required"
_UNATTENDED = ("/usr/bin/unattended-upgrade", "/etc/apt/apt.conf.d/52bramble-unattended-upgrades")
_NEEDRESTART = ("/etc/needrestart/conf.d", "/etc/needrestart/conf.d/bramble.conf")
#: A configuration file of a package, as it came, beside the one of the node that stays.
_KEPT = ("dpkg-dist", "ucf-dist")
_FAIL_ON_ERRORS = ["-o", "APT::Update::Error-Mode=any"]
#: Of rpi-eeprom-update: there is nothing newer, there is.
_EEPROM_CODES = (0, 1)


def _boot_time(root: str) -> float:
    """Return when the system was started; in a container that is later than when its machine was."""
    stat = (read_text(f"{root}/proc/stat") or "").split()
    # After the name of the program, which may hold anything.
    first = (read_text(f"{root}/proc/1/stat") or "").rpartition(")")[2].split()
    return int(stat[stat.index("btime") + 1]) + int(first[19]) / os.sysconf("SC_CLK_TCK")


def _unpacked(root: str) -> tuple[list[str], list[str]]:
    """Return the installed kernels, and the packages of kernels and firmware unpacked since the boot."""
    kernels, unpacked = [], []
    booted = _boot_time(root)
    paths = glob.glob(f"{root}{_INFO}/linux-image-[0-9]*.list")
    for path in [*paths, *(f"{root}{_INFO}/{name}.list" for name in os_update.FIRMWARE)]:
        name = os.path.basename(path)[: -len(".list")].partition(":")[0]
        with contextlib.suppress(FileNotFoundError):
            # The file is written when the package is unpacked.
            if os.stat(path).st_mtime > booted:
                unpacked.append(name)
        release = os_update.kernel_release(name)
        if release and any(
            os.path.exists(f"{root}{place}{release}") for place in ("/boot/vmlinuz-", "/lib/modules/")
        ):
            kernels.append(release)
    return kernels, unpacked


def _processes(root: str) -> Iterator[tuple[str, str, str]]:
    """Yield the number, unit and memory map of each process that belongs to the system."""
    for folder in glob.glob(f"{root}/proc/[0-9]*"):
        # A process may end meanwhile.
        with contextlib.suppress(OSError):
            unit = os_update.unit_of(cgroup=read_text(f"{folder}/cgroup") or "")
            if unit:
                yield os.path.basename(folder), unit, read_text(f"{folder}/maps") or ""


def libraries_in_use(*, run: Runner, root: str = "") -> tuple[dict[str, set[str]], dict[str, set[str]]]:
    """Return the units by the libraries they use, and by those of them that were replaced.

    What counts is a unit's main process: others, such as a session of sshd, live on when it is restarted.
    """
    seen = {number: (unit, *os_update.libraries(maps=maps)) for number, unit, maps in _processes(root)}
    units = sorted({unit for unit, _all, _old in seen.values()} - {os_update.MANAGER})
    shown = run(["systemctl", "show", "--property=Id,MainPID", *units])[1] if units else ""
    main = {values.get("MainPID"): unit for unit, values in unit_properties(text=shown).items()}
    main["1"] = os_update.MANAGER
    in_use = {main[number]: libraries for number, (_unit, libraries, _old) in seen.items() if number in main}
    outdated = {main[number]: old for number, (_unit, _all, old) in seen.items() if number in main and old}
    return in_use, outdated


def read_system(*, run: Runner, eeprom_asked: bool = False, root: str = "") -> os_update.System:
    """Read what tells whether the running system is the installed one."""
    kernels, unpacked = _unpacked(root)
    packages = read_text(f"{root}{_REBOOT_REQUIRED}.pkgs")
    return os_update.System(
        kernel=os.uname().release,
        kernels=kernels,
        unpacked=unpacked,
        asked=set((packages or "").split()) if os.path.exists(f"{root}{_REBOOT_REQUIRED}") else None,
        outdated=libraries_in_use(run=run, root=root)[1],
        eeprom=eeprom_asked and any(os.path.exists(f"{root}{at}/pieeprom.upd") for at in PARTITIONS),
    )


def _sentences(plan: dict[str, Any]) -> Iterator[str]:
    for each in plan["packages"]:
        yield f"{each['name']} {each['before'] or '(new)'} to {each['after']}"
    for name in plan["removed"]:
        yield f"remove {name}"
    for name in plan["half_way"]:
        yield f"finish {name}, which an interrupted run has left half-way"
    for unit in plan["restarts"]:
        yield f"restart {unit}, which uses libraries as they were before"
    if plan["eeprom"]:
        yield "write a new EEPROM at the next boot"


class OsUpdate:
    """The update of one node."""

    def __init__(
        self,
        *,
        run: Runner,
        changes: Changes,
        warn: Callable[[str], None],
        eeprom: bool = False,
        root: str = "",
    ) -> None:
        self._run = run
        self._changes = changes
        self._warn = warn
        self._eeprom = eeprom
        self._root = root
        self._lists = "as they were"

    def prepare(self, *, refresh: bool) -> dict[str, Any]:
        """Tell others to leave runtimes alone, fetch package lists, and say what an update would do."""
        self._leave_runtimes()
        return self._plan(refresh=refresh)

    def update(self, *, refresh: bool) -> dict[str, Any]:
        """Update all packages, restart what uses libraries as they were before, and say what was done."""
        plan = self.prepare(refresh=refresh)
        for sentence in _sentences(plan):
            self._changes.note(sentence)
        if self._changes.check_mode:
            return plan
        if plan["packages"] or plan["removed"] or plan["half_way"]:
            apt.full_upgrade(run=self._run)
        self._restart(plan["restarts"])
        restarted = self._restart_outdated()
        if plan["eeprom"]:
            output_of(self._run, ["rpi-eeprom-update", "-a"])
        system = self._system()
        return {
            **plan,
            "half_way": [],
            "eeprom": False,
            "restarts": sorted({*plan["restarts"], *restarted}),
            "kept_conffiles": self._kept_conffiles(),
            "update_required": False,
            **self._reboot(system),
        }

    def _plan(self, *, refresh: bool) -> dict[str, Any]:
        simulation = self._simulate(refresh=refresh)
        os_update.refuse(simulation=simulation)
        installed = apt.read_packages(text=output_of(self._run, apt.DPKG_QUERY))
        half_way = sorted(name for name, package in installed.items() if package.broken)
        in_use, outdated = libraries_in_use(run=self._run, root=self._root)
        system = os_update.after_update(
            system=self._system(),
            simulation=simulation,
            in_use={unit: libraries for unit, libraries in in_use.items() if os_update.is_lasting(unit)},
            files=self._files([each.name for each in simulation.upgrades]),
        )
        restarts = sorted(unit for unit in outdated if not os_update.is_lasting(unit))
        newer_eeprom = self._newer_eeprom()
        return {
            "packages": [each._asdict() for each in simulation.upgrades],
            "removed": simulation.removed,
            "kept_back": simulation.kept_back,
            "half_way": half_way,
            "restarts": restarts,
            "eeprom": newer_eeprom,
            "lists": self._lists,
            "kept_conffiles": self._kept_conffiles(),
            "update_required": bool(
                simulation.upgrades or simulation.removed or half_way or restarts or newer_eeprom
            ),
            **self._reboot(system._replace(eeprom=system.eeprom or newer_eeprom)),
        }

    def _system(self) -> os_update.System:
        return read_system(run=self._run, eeprom_asked=self._eeprom, root=self._root)

    def _reboot(self, system: os_update.System) -> dict[str, Any]:
        reasons = os_update.reboot_reasons(system=system)
        unstarted = os_update.unstarted_kernel(system=system)
        if unstarted:
            self._warn(
                f"kernel {unstarted} is installed, and the last boot started {system.kernel} although it was"
                " there; expected the newest: look at kernel= in config.txt, the room on the boot partition,"
                f" and at what 'sudo dpkg-reconfigure linux-image-{unstarted}' says. A reboot alone would not"
                " change that"
            )
        return {"reboot_reasons": reasons, "reboot_required": bool(reasons)}

    def _simulate(self, *, refresh: bool) -> os_update.Simulation:
        with tempfile.TemporaryDirectory(dir=f"{self._root}/var/tmp") as folder:
            # Else apt would note in its log what it has planned.
            options = ["-o", f"Dir::Log::Planner={folder}/planner.log"]
            if refresh and self._changes.check_mode:
                options += self._own_lists(folder)
            elif refresh:
                apt.update(run=self._run, options=_FAIL_ON_ERRORS)
                self._lists = "fetched"
            return os_update.read_simulation(
                text=self._simulated(["apt-get", "--simulate", *apt.FULL_UPGRADE, *options])
            )

    def _own_lists(self, folder: str) -> list[str]:
        """Fetch package lists into a folder, and return the options by which apt reads them there."""
        os.makedirs(f"{folder}/partial")
        own = ["-o", f"Dir::State::Lists={folder}"]
        own += ["-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache="]
        try:
            apt.update(run=self._run, options=[*own, *_FAIL_ON_ERRORS, "-o", "APT::Sandbox::User=root"])
        except apt.AptError as error:
            self._warn(f"package lists were not fetched, so that those of the node count: {error}")
            return []
        self._lists = "fetched into a temporary folder"
        return own

    def _simulated(self, command: list[str]) -> str:
        code, output, error = self._run(command)
        if code != 0:
            raise apt.AptError(apt.failure_cause(output=output, error=error))
        return output

    def _files(self, names: Collection[str]) -> set[str]:
        paths = [path for name in names for path in glob.glob(f"{self._root}{_INFO}/{name}*.list")]
        exact = [path for path in paths if os.path.basename(path)[:-5].partition(":")[0] in names]
        return {line for path in exact for line in (read_text(path) or "").splitlines()}

    def _leave_runtimes(self) -> None:
        program, path = _UNATTENDED
        if os.path.exists(self._root + program):
            text = MANAGED.replace("# ", "// ", 1) + os_update.unattended_options()
            self._changes.write(path, text)
            dumped = self._run(["apt-config", "dump", "Unattended-Upgrade::Automatic-Reboot"])[1]
            if '"true"' in dumped:
                self._warn(
                    "unattended-upgrades reboots this node by itself, without draining it; expected"
                    ' Unattended-Upgrade::Automatic-Reboot "false" in /etc/apt/apt.conf.d, and this playbook'
                    " instead"
                )
        folder, path = _NEEDRESTART
        if os.path.isdir(self._root + folder):
            self._changes.write(path, MANAGED + os_update.needrestart_options())

    def _restart(self, units: Collection[str]) -> None:
        for unit in units:
            if unit == os_update.MANAGER:
                output_of(self._run, ["systemctl", "daemon-reexec"])
            else:
                output_of(
                    self._run,
                    ["systemctl", "try-restart", unit],
                    remedy=f"see 'journalctl -u {unit}', then run this again",
                )

    def _restart_outdated(self) -> list[str]:
        """Restart what uses libraries that this update has replaced."""
        outdated = libraries_in_use(run=self._run, root=self._root)[1]
        units = sorted(unit for unit in outdated if not os_update.is_lasting(unit))
        for unit in units:
            self._changes.note(f"restart {unit}, which used libraries that were replaced")
        self._restart(units)
        return units

    def _newer_eeprom(self) -> bool:
        """Tell whether there is a newer EEPROM for this board, which is not to be written already."""
        if not self._eeprom or any(os.path.exists(f"{self._root}{at}/pieeprom.upd") for at in PARTITIONS):
            return False
        model = (read_text(f"{self._root}/proc/device-tree/model") or "").rstrip("\0")
        try:
            if eeprom.boot_rom(model=model) != "eeprom":
                return False
        except eeprom.EepromError:
            return False
        code, output, error = self._run(["rpi-eeprom-update"])
        if code not in _EEPROM_CODES:
            raise os_update.OsUpdateError(
                f"'rpi-eeprom-update' ended with {code}: {(error or output).strip()}; expected 0 or 1: see"
                " that the package rpi-eeprom is installed, or set update_eeprom to false"
            )
        return code == 1

    def _kept_conffiles(self) -> list[str]:
        found = []
        for folder, _folders, names in os.walk(f"{self._root}/etc"):
            for name in names:
                path, _dot, ending = os.path.join(folder, name).rpartition(".")
                if ending in _KEPT:
                    found.append(path[len(self._root) :])
        return sorted(found)
