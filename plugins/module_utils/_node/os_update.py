# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an update of the operating system would do, and why a node needs a reboot."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError

#: Packages whose files only count for the next boot; of the kernel that runs besides.
FIRMWARE = (
    "linux-firmware-raspi",
    "linux-firmware-raspi2",
    "raspberrypi-bootloader",
    "raspberrypi-kernel",
    "raspi-firmware",
)
#: The manager of the system itself, which takes its own place when it is told to.
MANAGER = "init.scope"
#: What runs the containers, and Kubernetes: an update never takes them away.
_RUNTIMES = ("containerd", "containerd.io", "cri-o", "docker-ce", "docker.io", "runc")
_KUBERNETES = ("cri-tools", "kubeadm", "kubectl", "kubelet", "kubernetes-cni")

_INST = re.compile(r"Inst (\S+)(?: \[(\S+)\])? \((\S+) ")
_REMV = re.compile(r"Remv (\S+) ")
_KEPT = re.compile(r"The following packages have been kept back:|Not upgrading.*:")
_IMAGE = re.compile(r"linux-image-(\d.*?)(?:-unsigned)?")
#: A version, the build of a distribution, and what it was built for: 6.8.0-1013-raspi, 6.12.34+rpt-rpi-v8.
_RELEASE = re.compile(r"(\d+(?:\.\d+)*(?:-\d+(?!\w))?)(?:\+[^-]*)?(?:-(.*))?")
_LIBRARY = re.compile(r"\S+ ..x. \S+ \S+ \d+ +((?:/usr)?/lib\S*/\S+\.so[.\d]*)( \(deleted\))?")
_UNIT = re.compile(
    r"(?:0:|\d+:name=systemd):/(?:system\.slice/(?:[^/]+\.slice/)*([^/]+\.service)|init\.scope)"
)
#: Services that cannot be restarted while others use them, or that would cut the node off; as needrestart
#: has them.
_LASTING = re.compile(
    r"(dbus|dbus-broker|systemd-logind|systemd-networkd|NetworkManager|networking|dhcpcd|wpa_supplicant|ifup)\b"
)
#: They end with whoever uses them.
_OF_USERS = re.compile(r"(user|getty|serial-getty|console-getty|autovt|user-runtime-dir)\b")


class OsUpdateError(BrambleError):
    """An update that is not made; the message gives what was seen, what is expected and how to fix it."""


class Upgrade(NamedTuple):
    """A package that gets another version, or that is new."""

    name: str
    before: str | None
    after: str


class Simulation(NamedTuple):
    """What apt-get would do."""

    upgrades: list[Upgrade]
    removed: list[str]
    kept_back: list[str]


class System(NamedTuple):
    """What of the running system tells whether it is the installed one."""

    #: The release of the kernel that runs.
    kernel: str
    #: Those that are installed.
    kernels: Collection[str]
    #: Packages that were unpacked since the boot.
    unpacked: Collection[str]
    #: The packages that asked for a reboot in the distribution's own way; None if none did.
    asked: Collection[str] | None
    #: Units by the libraries they use that were replaced.
    outdated: Mapping[str, Collection[str]]
    #: Whether a new EEPROM is written at the next boot.
    eeprom: bool


def read_simulation(*, text: str) -> Simulation:
    """Read what ``apt-get --simulate full-upgrade`` printed."""
    kept_back: list[str] = []
    listing = False
    for line in text.splitlines():
        if listing and line.startswith(" "):
            kept_back += line.split()
        else:
            listing = _KEPT.fullmatch(line.strip()) is not None
    upgrades = [Upgrade(*found.groups()) for found in map(_INST.match, text.splitlines()) if found]
    removed = [found[1] for found in map(_REMV.match, text.splitlines()) if found]
    return Simulation(upgrades, removed, kept_back)


def refuse(*, simulation: Simulation) -> None:
    """Refuse an update that would change Kubernetes, or take away what it runs on."""
    changed = [each for each in simulation.upgrades if each.name in _KUBERNETES and each.before]
    if changed:
        names = " ".join(each.name for each in changed)
        raise OsUpdateError(
            f"{changed[0].name} {changed[0].before} would become {changed[0].after}; expected packages of"
            " Kubernetes that are held, as another version is an upgrade of the cluster: run 'apt-mark hold"
            f" {names}' there, or set kube_packages_hold to true and run bramble.pi.site"
        )
    removed = [name for name in simulation.removed if name in (*_KUBERNETES, *_RUNTIMES)]
    if removed:
        raise OsUpdateError(
            f"apt would remove {' and '.join(removed)}; expected an update that leaves what runs containers: "
            "'apt-get --simulate full-upgrade' on the node shows what is in conflict with it"
        )


def _release(text: str) -> tuple[list[int], str]:
    found = _RELEASE.match(text)
    return ([int(number) for number in re.findall(r"\d+", found[1])], found[2] or "") if found else ([], text)


def kernel_release(package: str) -> str | None:
    """Return the release of the kernel that a package holds; None if it holds none."""
    found = _IMAGE.fullmatch(package)
    return None if found is None or found[1].endswith("-dbg") else found[1]


def newer_kernel(*, running: str, kernels: Collection[str]) -> str | None:
    """Return the newest kernel of the sort that runs, if it is newer than that."""
    number, sort = _release(running)
    newest = max(
        (release for release in kernels if _release(release)[1] == sort),
        key=lambda release: _release(release)[0],
        default=None,
    )
    return newest if newest is not None and _release(newest)[0] > number else None


def reboot_reasons(*, system: System) -> list[str]:
    """Say why a node needs a reboot; nothing if it runs what is installed."""
    return list(_reasons(system))


def _reasons(system: System) -> Iterator[str]:
    newest = newer_kernel(running=system.kernel, kernels=system.kernels)
    # One that was there at the last boot would not be started by the next one either.
    if newest is not None and f"linux-image-{newest}" in _names(system.unpacked):
        yield f"kernel {newest} is installed and {system.kernel} runs"
    if f"linux-image-{system.kernel}" in _names(system.unpacked):
        yield f"kernel {system.kernel} was replaced by a newer build"
    for name in sorted(set(FIRMWARE) & set(system.unpacked)):
        yield f"firmware ({name}) was replaced"
    if system.eeprom:
        yield "a new EEPROM is written at the next boot"
    for unit, libraries in sorted(system.outdated.items()):
        if unit == MANAGER or is_lasting(unit):
            names = sorted({path.rpartition("/")[2] for path in libraries})
            yield f"{unit} uses {', '.join(names)} as it was before, and is not restarted while the node runs"
    # What it was is most often known by now, and said in other words.
    if system.asked is not None and not (newest or set(FIRMWARE) & set(system.unpacked) or system.outdated):
        yield f"{', '.join(sorted(system.asked)) or 'a package'} asks for it (/run/reboot-required)"


def _names(packages: Collection[str]) -> set[str]:
    return {re.sub(r"-unsigned$", "", name) for name in packages}


def unstarted_kernel(*, system: System) -> str | None:
    """Return a newer kernel that the last boot did not start although it was there."""
    newest = newer_kernel(running=system.kernel, kernels=system.kernels)
    return newest if newest and f"linux-image-{newest}" not in _names(system.unpacked) else None


def after_update(
    *, system: System, simulation: Simulation, in_use: Mapping[str, Collection[str]], files: Collection[str]
) -> System:
    """Return what there would be after an update.

    ``in_use`` are the units by all the libraries they use, ``files`` those of the packages that are upgraded.
    """
    names = [each.name for each in simulation.upgrades]
    kernels = [release for release in map(kernel_release, names) if release]
    replaced = {_merged(path) for path in files}
    outdated = {unit: set(libraries) for unit, libraries in system.outdated.items()}
    for unit, libraries in in_use.items():
        found = {path for path in libraries if _merged(path) in replaced}
        # Its own package, and that of libc, have it take its own place.
        if found and unit != MANAGER:
            outdated.setdefault(unit, set()).update(found)
    return system._replace(
        kernels=[*system.kernels, *kernels],
        unpacked=[*system.unpacked, *names],
        outdated=outdated,
    )


def _merged(path: str) -> str:
    # dpkg's lists have files as they were packaged, before /lib was a link to /usr/lib.
    return path[4:] if path.startswith("/usr/lib") else path


def is_lasting(unit: str) -> bool:
    """Tell whether a unit is not restarted while the node runs."""
    return _LASTING.match(unit) is not None


def unit_of(*, cgroup: str) -> str | None:
    """Return the unit of a process, by /proc/PID/cgroup; None for pods and sessions of users."""
    for line in cgroup.splitlines():
        found = _UNIT.fullmatch(line)
        if found:
            unit = found[1] or MANAGER
            return None if _OF_USERS.match(unit) else unit
    return None


def libraries(*, maps: str) -> tuple[set[str], set[str]]:
    """Return the libraries of /proc/PID/maps, and those of them that are not the installed ones any more."""
    found = [match for match in map(_LIBRARY.fullmatch, maps.splitlines()) if match]
    return {match[1] for match in found}, {match[1] for match in found if match[2]}


def unattended_options() -> str:
    """Write what has unattended-upgrades leave runtimes and Kubernetes to a run that drains the node."""
    patterns = "".join(
        f'    "^{re.escape(name)}$";\n' for name in (*_RUNTIMES, "docker-ce-cli", *_KUBERNETES)
    )
    return f"Unattended-Upgrade::Package-Blacklist {{\n{patterns}}};\n"


def needrestart_options() -> str:
    """Write what has needrestart restart neither runtimes nor the kubelet."""
    return "$nrconf{override_rc}->{qr(^(containerd|crio|cri-docker|docker|kubelet)\\b)} = 0;\n"
