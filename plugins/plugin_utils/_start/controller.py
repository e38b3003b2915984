# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at the controller: its routes, its time zone, its SSH keys, and the list of OS images."""

from __future__ import annotations

import os
import subprocess
import zoneinfo
from pathlib import Path

from ansible.module_utils.urls import open_url
from ansible_collections.bramble.pi.plugins.module_utils._common.urls import is_url
from ansible_collections.bramble.pi.plugins.module_utils._os_image.source import newest_in_list
from ansible_collections.bramble.pi.plugins.plugin_utils._start import found
from ansible_collections.bramble.pi.plugins.plugin_utils._start.questions import Known

#: The image that cards are written with, by its name in the list; and as it was when this was written.
IMAGE_NAME = "Raspberry Pi OS Lite (64-bit)"
IMAGE = (
    "https://downloads.raspberrypi.com/raspios_lite_arm64/images/raspios_lite_arm64-2026-09-15/"
    "2026-09-15-raspios-trixie-arm64-lite.img.xz"
)
_TIMEOUT = 10


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _routes() -> found.Routes:
    try:
        done = subprocess.run(
            ["ip", "-json", "-4", "route", "show"],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            check=False,
        )
        return found.routes(ip_json=done.stdout)
    except (OSError, ValueError, KeyError, subprocess.TimeoutExpired):
        return found.Routes()  # macOS has another program for that.


def _timezone() -> str:
    localtime = os.path.realpath("/etc/localtime")
    zone = found.timezone(localtime=localtime, text=_text("/etc/timezone"))
    return zone if zone in zoneinfo.available_timezones() else ""


def newest_image(image_list: str) -> tuple[str, str]:
    """Return the newest image of a list, which is a URL or a file, and why the list was of no use."""
    if not image_list:
        return IMAGE, ""
    try:
        if is_url(image_list):
            text = open_url(image_list, timeout=_TIMEOUT).read().decode("utf-8")
        else:
            text = Path(image_list).expanduser().read_text(encoding="utf-8")
        return newest_in_list(text=text, name=IMAGE_NAME, origin=image_list) or IMAGE, ""
    except Exception as error:  # Whatever it is, the image that is known will do.
        return (
            IMAGE,
            f"the image list {image_list} could not be read ({error}); {IMAGE.rpartition('/')[2]} is taken",
        )


def look(image: str) -> Known:
    """Find out what is not asked."""
    zone = _timezone()
    country = found.country(zone=zone, table=_text("/usr/share/zoneinfo/zone.tab"))
    return Known(routes=_routes(), timezone=zone, country=country, image=image)


def has_ssh_key() -> bool:
    """Tell whether there is a key that cards can be written with."""
    return any(Path("~/.ssh").expanduser().glob("id_*.pub"))
