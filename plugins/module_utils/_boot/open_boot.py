# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Open a boot partition: in a device or an image file that nobody else uses, or in a folder."""

from __future__ import annotations

import errno
import glob
import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ansible_collections.bramble.pi.plugins.module_utils._boot.fat import FatBoot, read_geometry
from ansible_collections.bramble.pi.plugins.module_utils._boot.folder import FolderBoot
from ansible_collections.bramble.pi.plugins.module_utils._boot.storage import (
    Boot,
    BootPartitionError,
    MtoolsRunner,
)
from ansible_collections.bramble.pi.plugins.module_utils._os_image.partition_table import (
    DiskImageError,
    find_boot_partition,
    read_partition_table,
)


def _mounted_at(device: str) -> list[str]:
    """Return where a device or one of its partitions is mounted, as far as this system tells."""
    try:
        with open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as file:
            mounts = [line.split(" ")[:2] for line in file]
    except FileNotFoundError:
        return []
    separator = "p" if device[-1].isdigit() else ""
    partition = re.compile(rf"{re.escape(device)}({separator}[0-9]+)?")
    return [place for source, place in mounts if partition.fullmatch(source)]


def _loop_devices(path: str) -> Iterator[str]:
    """Name the loop devices that an image file is behind."""
    for name in glob.glob("/sys/block/loop*/loop/backing_file"):
        with open(name, encoding="utf-8", errors="surrogateescape") as file:
            if file.read().rstrip("\n") == path:
                yield f"/dev/{name.split('/')[3]}"


def _is_read_only(number: int) -> bool:
    """Tell whether a device is write-protected: not every driver refuses to open it then."""
    try:
        with open(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}/ro", encoding="ascii") as file:
            return file.read().strip() == "1"
    except FileNotFoundError:
        return False


def _refuse_mounted(*, path: str, places: Sequence[str]) -> None:
    seen = f"mounted at {places[0]}" if places else "in use, such as by a mount"
    remedy = f"set 'path' to {places[0]} or unmount it" if places else "unmount it"
    raise BootPartitionError(
        f"{path} is {seen}, and a change beside the mount would damage the file system; {remedy}."
    )


@contextmanager
def _claimed(*, path: str, writable: bool) -> Iterator[int]:
    """Open a device so that it cannot be mounted meanwhile, or an image file that is not mounted."""
    real = os.path.realpath(path)
    flags = os.O_RDWR if writable else os.O_RDONLY
    state = os.stat(real)
    if stat.S_ISBLK(state.st_mode):
        flags |= os.O_EXCL
        if writable and _is_read_only(state.st_rdev):
            raise BootPartitionError(
                f"{path} is read-only; expected a device that can be written. Move the switch of a "
                f"write-protected card, or see 'blockdev --getro {path}'."
            )
    else:
        for device in _loop_devices(real):
            places = _mounted_at(device)
            if places:
                _refuse_mounted(path=path, places=places)
    try:
        descriptor = os.open(real, flags)
    except OSError as error:
        if error.errno == errno.EBUSY:
            _refuse_mounted(path=path, places=_mounted_at(real))
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        raise BootPartitionError(
            f"{path} cannot be opened for {'writing' if writable else 'reading'} by user {os.geteuid()}: "
            f"{error.strerror}. Set 'become: true'."
        ) from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _find_offset(*, path: str, descriptor: int) -> int:
    def read(offset: int, length: int) -> bytes:
        return os.pread(descriptor, length, offset)

    if read_geometry(read(0, 512)):
        return 0
    try:
        return find_boot_partition(table=read_partition_table(read=read)).offset
    except DiskImageError as error:
        raise BootPartitionError(
            f"{path} is {error}. Set 'path' to a card, an image, a boot partition or a folder."
        ) from error


@contextmanager
def open_boot(*, path: str, run: MtoolsRunner, writable: bool, offset: int | None = None) -> Iterator[Boot]:
    """Open the boot partition of a device or an image file, or the folder where one is mounted."""
    if os.path.isdir(path):
        yield FolderBoot(path=path)
        return
    if not os.path.exists(path):
        raise BootPartitionError(
            f"{path} does not exist; expected a card, an image, a boot partition or a folder. Set 'path'."
        )
    with _claimed(path=path, writable=writable) as descriptor:
        if offset is None:
            offset = _find_offset(path=path, descriptor=descriptor)
        yield FatBoot(path=path, offset=offset, run=run)
