# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The block devices of this machine, and the one that a path leads to."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Collection

from ansible_collections.bramble.pi.plugins.module_utils._common.commands import Runner
from ansible_collections.bramble.pi.plugins.module_utils._sd_card import linux_disks, macos_disks
from ansible_collections.bramble.pi.plugins.module_utils._sd_card.block_devices import (
    BlockDevice,
    BlockDeviceError,
    describe,
)
from ansible_collections.bramble.pi.plugins.module_utils._sd_card.refusals import is_card


def _disks(run: Runner) -> list[BlockDevice]:
    return macos_disks.disks(run) if sys.platform == "darwin" else linux_disks.disks(run)


def _complete(device: BlockDevice, run: Runner) -> BlockDevice:
    return device if sys.platform == "darwin" else linux_disks.ask_kernel(device, run)


def _is_at(device: BlockDevice, path: str) -> bool:
    return path in {os.path.realpath(device.path), f"/dev/{device.name}", device.write_path}


def list_devices(*, run: Runner, paths: Collection[str] = ()) -> list[BlockDevice]:
    """Return the disks of this machine, or those that paths or links lead to, each with its partitions."""
    desired = [os.path.realpath(path) for path in paths]
    return [
        _complete(device, run)
        for device in _disks(run)
        if not desired or any(_is_at(device, path) for path in desired)
    ]


def find_device(*, run: Runner, path: str) -> BlockDevice:
    """Return the device that a path or link leads to."""
    real = os.path.realpath(path)
    disks = _disks(run)
    # What is built in, the system's disk above all, is not offered.
    cards = [disk for disk in disks if is_card(device=disk, allow_loop=False)]
    there = f": {'; '.join(map(describe, cards))}" if cards else ", of which none is in a reader now"
    try:
        mode = os.stat(real).st_mode
    except OSError as error:
        raise BlockDeviceError(
            f"{path} cannot be looked at: {error.strerror}. Put the card in, or set flash_device to one of "
            f"the cards that are there{there}."
        ) from error
    if stat.S_ISREG(mode):
        raise BlockDeviceError(
            f"{path} is a regular file; expected a block device. Set flash_device to one of the cards that "
            f"are there{there}. For a test, make it one ('losetup --find --show {real}') and set "
            "flash_allow_loop to true."
        )
    for disk in disks:
        if any(_is_at(part, real) for part in disk.family):
            # No other disk is asked for, as it might be one that hangs.
            return next(part for part in _complete(disk, run).family if _is_at(part, real))
    problem = "a block device without a disk in it" if stat.S_ISBLK(mode) else "not a block device"
    raise BlockDeviceError(
        f"{path} is {problem}. Set flash_device to one of the cards that are there{there}."
    )
