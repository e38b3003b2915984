# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A head's way to the outside, by Wi-Fi or by wire."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable

from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._common.files import MANAGED, read_text, write_text
from ansible_collections.bramble.pi.plugins.module_utils._network.manager import File, Manager
from ansible_collections.bramble.pi.plugins.module_utils._network.node import Node
from ansible_collections.bramble.pi.plugins.module_utils._network.session import comes_by, ssh_session
from ansible_collections.bramble.pi.plugins.module_utils._network.wifi import Wifi

#: The kernel keeps the rules of the world until a country is named, and Raspberry Pi OS the radio off.
REGULATORY_DOMAIN = "/etc/modprobe.d/bramble-wifi.conf"

#: There while an interface's files are written and it is not brought up by them yet. A boot does that as
#: well, and empties the folder.
PENDING = "/run/bramble/uplink-"


class UplinkError(BrambleError):
    """The interface cannot be changed."""


def files(*, manager: Manager, interface: str, wifi: Wifi | None) -> list[File]:
    """Return the files by which the manager connects the interface."""
    result = manager.render_uplink(interface=interface, wifi=wifi)
    if wifi:
        domain = f"{MANAGED}options cfg80211 ieee80211_regdom={wifi.country}\n"
        result.append(File(REGULATORY_DOMAIN, domain))
    return result


def commands(*, manager: Manager, interface: str, wifi: Wifi | None) -> list[list[str]]:
    """Return what brings the interface up with its new files."""
    radio = [["rfkill", "unblock", "wifi"], ["iw", "reg", "set", wifi.country]] if wifi else []
    return radio + manager.apply_uplink(interface=interface, wifi=wifi)


def _differs(file: File) -> bool:
    """Tell whether a file is not as it is to be; a key that others may read is not."""
    return read_text(file.path) != file.text or stat.S_IMODE(os.stat(file.path).st_mode) != file.mode


def ensure(
    *,
    node: Node,
    changes: Changes,
    manager: Manager,
    interface: str,
    wifi: Wifi | None,
    force: bool,
    warn: Callable[[str], None],
) -> None:
    """Ensure that the interface is configured."""
    differing = [file for file in files(manager=manager, interface=interface, wifi=wifi) if _differs(file)]
    pending = f"{PENDING}{interface}"
    if not differing and not os.path.exists(pending):
        return
    if not force and comes_by(node=node, session=ssh_session(), interface=interface):
        because = ", ".join(file.path for file in differing) or pending
        raise UplinkError(
            f"{interface} would change ({because}), and the connection to this node comes by it; expected "
            "a connection that outlives a mistake: connect over the rack's switch, set nat_headnode_uplink "
            "to keep if the interface is as it should be, or consent by nat_headnode_uplink_force=true"
        )
    if not changes.check_mode:
        write_text(pending, "")
    for file in differing:
        if changes.note(f"write {file.path}"):
            write_text(file.path, file.text, mode=file.mode)
            os.chmod(file.path, file.mode)
    if not changes.note(f"bring {interface} up"):
        return
    for command in commands(manager=manager, interface=interface, wifi=wifi):
        if not node.has(command[0]):
            continue
        status, stdout, stderr = node.run(command)
        # Out of reach of the network, or before the driver is there, it comes up later by itself.
        if status != 0:
            warn(f"{' '.join(command)} ended with {status}: {(stderr or stdout).strip()}")
    os.unlink(pending)
