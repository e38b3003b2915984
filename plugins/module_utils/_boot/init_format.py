# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What first boot reads of a boot partition, and which system it belongs to."""

from __future__ import annotations

from typing import NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._boot.storage import Boot, BootPartitionError


class InitFormat(NamedTuple):
    """How the first boot is configured."""

    init_format: str
    layout: str
    why: str


def _text(boot: Boot, name: str) -> str:
    return (boot.read(name) or b"").decode(errors="replace")


def detect_init_format(*, boot: Boot) -> InitFormat:
    """Say what first boot reads, found by what lies on the boot partition.

    The names of the formats are those of https://downloads.raspberrypi.com/os_list_imagingutility_v4.json.
    """
    boot.load(["issue.txt", "os-release", "README"])
    has_user_data = boot.find("user-data") is not None
    if "HYPRIOT_IMAGE_VERSION=" in _text(boot, "os-release"):
        if has_user_data:
            return InitFormat("cloudinit-legacy", "hypriotos", "os-release names HypriotOS")
        # Up to 1.6 it has device-init.yaml, which knows host name and Wi-Fi, but no users and no addresses.
        raise BootPartitionError(
            f"{boot.where} has HypriotOS without a user-data, which is 1.6 or older; expected 1.7 or later, "
            f"which has cloud-init. Set flash_image to a newer image."
        )
    issue = _text(boot, "issue.txt")
    if issue.startswith("Raspberry Pi reference"):
        named = f"issue.txt says {issue.splitlines()[0]!r}"
        # The first release of trixie, 2025-10-01, has no templates and reads what bookworm does:
        # https://github.com/raspberrypi/rpi-imager/blob/main/doc/os_customisation_formats.md
        if has_user_data:
            return InitFormat("cloudinit-rpi", "raspios", f"{named}, and there is a user-data")
        if boot.find("rpi-preseed.toml"):
            raise BootPartitionError(
                f"{boot.where} has rpi-preseed.toml and no user-data; expected an image whose first boot "
                f"reads cloud-init's files or firstrun.sh: set flash_image to one, or flash_init_format to "
                f"cloudinit-rpi or systemd if this one reads these as well"
            )
        return InitFormat("systemd", "raspios", f"{named}, and there is no user-data")
    if has_user_data:
        if boot.find("current/"):
            return InitFormat("cloudinit", "ubuntu-ab", "there are a user-data and a folder 'current'")
        layout = "ubuntu" if "Ubuntu" in _text(boot, "README") else "nocloud"
        return InitFormat("cloudinit", layout, "there is a user-data")
    # Debian's images for Raspberry Pis have no templates, whether there is cloud-init in them or not; those
    # of https://raspi.debian.net have sysconf.txt, which is none of the formats.
    raise BootPartitionError(
        f"it is not known what the first boot of {boot.where} reads: there is no user-data, and nothing "
        f"that names Raspberry Pi OS or HypriotOS. Set flash_init_format to cloudinit (if the image has "
        f"cloud-init), cloudinit-rpi, systemd or cloudinit-legacy."
    )
