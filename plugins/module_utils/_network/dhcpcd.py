# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""dhcpcd, as Raspberry Pi OS had it up to bullseye: one file for all interfaces."""

from __future__ import annotations

import fnmatch
import re

from ansible_collections.bramble.pi.plugins.module_utils._network.manager import (
    COMMENTED_OUT,
    DHCPCD,
    Claim,
    Commands,
    File,
    Manager,
    block,
)
from ansible_collections.bramble.pi.plugins.module_utils._network.node import Node
from ansible_collections.bramble.pi.plugins.module_utils._network.settings import Settings
from ansible_collections.bramble.pi.plugins.module_utils._network.trial_script import command
from ansible_collections.bramble.pi.plugins.module_utils._network.wifi import (
    Wifi,
    supplicant_path,
    wpa_supplicant,
)

DHCPCD_CONF = "/etc/dhcpcd.conf"

_DHCPCD_IPV4 = re.compile(
    r"^\s*(static\s+(ip_address|routers|domain_name_servers|domain_search|domain_name)\s*=|inform\b|fallback\b|noarp\b)"
)


def static_file(*, settings: Settings, present: str) -> File:
    """Give dhcpcd the interface in a block at the end; what the file says of its IPv4 is commented out."""
    name = settings.interface
    lines = []
    current = None
    for line in re.sub(
        r"^# BEGIN bramble\.pi\n.*?^# END bramble\.pi\n", "", present, flags=re.MULTILINE | re.DOTALL
    ).splitlines():
        words = line.split()
        if words and words[0] in ("interface", "profile", "ssid", "arping"):
            current = words[1:2]
        lines.append(COMMENTED_OUT + line if current == [name] and _DHCPCD_IPV4.match(line) else line)
    own = [
        f"interface {name}",
        f"static ip_address={settings.address}",
        # Five seconds of looking for others with this address would be five seconds without it.
        "noarp",
    ]
    if settings.gateway:
        own.append(f"static routers={settings.gateway}")
    if settings.resolvers:
        own.append(f"static domain_name_servers={' '.join(settings.resolvers)}")
    if settings.search:
        own.append(f"static domain_search={' '.join(settings.search)}")
    return File(DHCPCD_CONF, block("".join(f"{line}\n" for line in lines), own))


def claim_of(*, interface: str, configuration: str) -> Claim | None:
    """Read the configuration of the dhcpcd for all interfaces; it takes each that it is not denied."""
    denied = False
    allowed: list[str] = []
    for line in configuration.splitlines():
        words = line.replace(",", " ").split()
        if words[:1] == ["denyinterfaces"]:
            denied |= any(fnmatch.fnmatchcase(interface, pattern) for pattern in words[1:])
        elif words[:1] == ["allowinterfaces"]:
            allowed += words[1:]
    if denied or (allowed and not any(fnmatch.fnmatchcase(interface, pattern) for pattern in allowed)):
        return None
    return Claim(DHCPCD, DHCPCD, "dhcpcd runs for all interfaces that dhcpcd.conf does not deny it")


class Dhcpcd(Manager):
    """The dhcpcd for all interfaces."""

    name = backend = DHCPCD
    program = "dhcpcd"

    def detect(self, *, node: Node, interface: str) -> Claim | None:
        """Look for its process, and whether it leaves the interface to others."""
        pid = (node.read("/run/dhcpcd/pid") or node.read("/run/dhcpcd.pid")).strip()
        # Its name may be followed by what it does: "dhcpcd: [manager]".
        if not pid.isdigit() or not node.read(f"/proc/{pid}/comm").startswith("dhcpcd"):
            return None
        return claim_of(interface=interface, configuration=node.read(DHCPCD_CONF))

    def is_available(self, *, node: Node) -> bool:
        """Tell whether it runs."""
        return node.is_active("dhcpcd.service")

    def render(self, *, node: Node, settings: Settings, claim: Claim) -> list[File]:
        """Put the interface into a block of its own."""
        return [static_file(settings=settings, present=node.read(DHCPCD_CONF))]

    def apply(self, *, node: Node, settings: Settings, claim: Claim) -> Commands:
        """Have it read its file."""
        # Its own command for this, "dhcpcd -n", says that all is well where dhcpcd 9 no longer listens.
        hang_up = 'kill -HUP "$(cat /run/dhcpcd/pid /run/dhcpcd.pid 2>/dev/null)"'
        again = (command(["sh", "-c", hang_up], ["systemctl", "restart", "dhcpcd.service"]),)
        return Commands((), again, again)

    def render_uplink(self, *, interface: str, wifi: Wifi | None) -> list[File]:
        """Write wpa_supplicant's file, which a hook of dhcpcd's finds; the interface is dhcpcd's anyway."""
        return (
            [File(supplicant_path(interface), wpa_supplicant(wifi, first_boot=False), 0o600)] if wifi else []
        )

    def apply_uplink(self, *, interface: str, wifi: Wifi | None) -> list[list[str]]:
        """Have it begin with the interface again."""
        return [["dhcpcd", "--rebind", interface]]

    def renew(self, *, interface: str, claim: Claim) -> list[str]:
        """Have it ask any server for an address."""
        return ["dhcpcd", "--rebind", interface]
