# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which kernel command line file a Raspberry Pi boots with, found by what lies on its boot partition."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError

#: Where the boot partition is mounted: Raspberry Pi OS from bookworm on, Ubuntu and Debian; then
#: Raspberry Pi OS up to bullseye and HypriotOS. Bookworm leaves files in /boot that only point to the first.
PARTITIONS = ("/boot/firmware", "/boot")

#: Debian's raspi-firmware writes cmdline.txt again with this hook at every update of a kernel or initramfs.
#: Raspberry Pi OS has a hook of the same name that leaves cmdline.txt alone, so its text decides.
RASPI_FIRMWARE_HOOK = "/etc/kernel/postinst.d/z50-raspi-firmware"
RASPI_FIRMWARE_SETTINGS = "/etc/default/raspi-firmware"
RASPI_FIRMWARE_EXTRA = "/etc/default/raspi-extra-cmdline"

_MAX_INCLUDE_DEPTH = 8


class BootLayoutError(BrambleError):
    """It is not known which file counts; the message says what was found and how to fix it."""


class BootFiles(Protocol):
    """The files of the node, as far as the layout depends on them."""

    def read(self, path: str) -> str | None:
        """Return the text of a file, or None if there is no such file."""

    def exists(self, path: str) -> bool:
        """Tell whether there is anything of that name, be it a link to nowhere."""


class BootConfig(NamedTuple):
    """What config.txt says of where the command line is."""

    os_prefix: str = ""
    cmdline: str = "cmdline.txt"
    #: The os_prefix of a boot on trial; None where there is no such thing.
    tryboot_prefix: str | None = None


class BootLayout(NamedTuple):
    """The file that counts, and what else has to be edited for the edit to last."""

    name: str
    path: str
    why: str
    #: The command line that the next boot tries before the one at ``path``.
    pending: str | None = None
    #: The file that ``path`` is generated from.
    source: str | None = None


def _config_lines(*, files: BootFiles, partition: str, name: str, depth: int = 0) -> Iterator[str]:
    # As the firmware does: no form feed or U+2028 in a comment ends a line.
    for raw_line in (files.read(f"{partition}/{name}") or "").split("\n"):
        line = raw_line.strip()
        word, _blank, included = line.partition(" ")
        if word == "include" and depth < _MAX_INCLUDE_DEPTH:
            yield from _config_lines(files=files, partition=partition, name=included.strip(), depth=depth + 1)
        else:
            yield line


def read_config(*, files: BootFiles, partition: str) -> BootConfig:
    """Read config.txt and what it includes, as the firmware does at a plain boot and at one on trial."""
    defaults = BootConfig()
    plain = {"os_prefix": defaults.os_prefix, "cmdline": defaults.cmdline}
    tryboot: dict[str, str] = {}
    conditional: list[tuple[str, str, str]] = []
    filters: set[str] = set()
    for line in _config_lines(files=files, partition=partition, name="config.txt"):
        if line.startswith("["):
            section = line.strip("[]").strip().lower()
            filters = set() if section == "all" else {*filters, section}
            continue
        key, _equals, value = (part.strip() for part in line.partition("="))
        if key not in plain:
            continue
        if not filters:
            plain[key] = value
        elif filters == {"tryboot"}:
            tryboot[key] = value
        elif not filters & {"none", "tryboot"}:
            conditional.append((" ".join(f"[{name}]" for name in sorted(filters)), key, value))
    for sections, key, value in conditional:
        if plain[key] != value:
            raise BootLayoutError(
                f"{partition}/config.txt has {key}={value} under {sections}, elsewhere {key}={plain[key]}; "
                f"which one this board takes is not known. Set 'path' to the file that it boots with."
            )
    return BootConfig(plain["os_prefix"], plain["cmdline"], tryboot.get("os_prefix"))


def _pending(*, files: BootFiles, partition: str, config: BootConfig) -> str | None:
    """Return the command line of boot assets that the next boot tries, copied before an edit made now.

    https://canonical-ubuntu-boards.readthedocs-hosted.com/en/latest/explanations/piboot-ab
    """
    if not config.tryboot_prefix:
        return None
    state = (files.read(f"{partition}/{config.tryboot_prefix}state") or "").strip()
    path = f"{partition}/{config.tryboot_prefix}{config.cmdline}"
    return path if state in {"unknown", "trying"} and files.exists(path) else None


def _layout(*, files: BootFiles, partition: str, config: BootConfig, why: str) -> BootLayout:
    path = f"{partition}/{config.os_prefix}{config.cmdline}"
    if config.os_prefix:
        pending = _pending(files=files, partition=partition, config=config)
        return BootLayout("ab", path, why, pending=pending)
    if partition != PARTITIONS[0]:
        return BootLayout("boot", path, why)
    if RASPI_FIRMWARE_EXTRA not in (files.read(RASPI_FIRMWARE_HOOK) or ""):
        return BootLayout("firmware", path, why)
    why = f"{why}, and {RASPI_FIRMWARE_HOOK} generates it"
    return BootLayout("raspi-firmware", path, why, source=RASPI_FIRMWARE_EXTRA)


def _look(*, files: BootFiles, partition: str) -> tuple[BootLayout, bool]:
    """Say which file would count on this partition, and whether there is a config.txt that says so."""
    has_config = files.exists(f"{partition}/config.txt")
    config = read_config(files=files, partition=partition)
    why = f"{partition}/config.txt is what the firmware reads"
    if not has_config:
        why = f"{partition} is where it was found; there is no config.txt"
        if files.exists(f"{partition}/current/{config.cmdline}"):
            config = config._replace(os_prefix="current/", tryboot_prefix="new/")
    elif config.os_prefix:
        folder, slash, _name = config.os_prefix.rpartition("/")
        if slash and not files.exists(f"{partition}/{folder}"):
            # The firmware ignores a prefix under which it finds no kernel.
            why = f"{why}, and its os_prefix={config.os_prefix} is ignored as there is no such folder"
            config = config._replace(os_prefix="")
        else:
            why = f"{why}, and it has os_prefix={config.os_prefix}"
    if config.cmdline != BootConfig().cmdline:
        why = f"{why}, and it has cmdline={config.cmdline}"
    return _layout(files=files, partition=partition, config=config, why=why), has_config


def find_cmdline(*, files: BootFiles) -> BootLayout:
    """Find the command line file that counts on this node."""
    looked: list[str] = []
    for partition in PARTITIONS:
        layout, has_config = _look(files=files, partition=partition)
        if files.exists(layout.path):
            return layout
        looked.append(layout.path)
        if has_config:
            # This is the boot partition, so a file elsewhere would be the wrong one.
            break
    raise BootLayoutError(
        f"there is no kernel command line file; looked for {', '.join(looked)}. Mount the boot partition "
        f"('mount {PARTITIONS[0]}'), or set 'path' to the file that the node boots with."
    )


def find_card_cmdline(*, files: BootFiles) -> BootLayout:
    """Find the command line file that counts on a boot partition by itself; its names begin with a slash."""
    layout, has_config = _look(files=files, partition="")
    if not has_config:
        raise BootLayoutError(
            "there is no config.txt; expected the boot partition of a Raspberry Pi, which has one."
        )
    if not files.exists(layout.path):
        raise BootLayoutError(
            f"there is no kernel command line file; looked for {layout.path}, as {layout.why}. Set 'path' of "
            f"'cmdline' to the file that the node boots with."
        )
    return layout
