# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""systemd-networkd: a file for each interface, of which the first that matches counts."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from ansible_collections.bramble.pi.plugins.module_utils._common.files import MANAGED
from ansible_collections.bramble.pi.plugins.module_utils._network.manager import (
    NETPLAN,
    NETWORKD,
    UPLINK,
    Claim,
    Commands,
    File,
    Manager,
    fields,
)
from ansible_collections.bramble.pi.plugins.module_utils._network.node import Node
from ansible_collections.bramble.pi.plugins.module_utils._network.settings import NetworkError, Settings
from ansible_collections.bramble.pi.plugins.module_utils._network.trial_script import command
from ansible_collections.bramble.pi.plugins.module_utils._network.wifi import (
    Wifi,
    supplicant_path,
    wpa_supplicant,
)

NETWORKD_FOLDER = "/etc/systemd/network"
_NETPLAN_NETWORK = "/run/systemd/network/10-netplan-"


def static_path(*, interface: str) -> str:
    """Name the file of the interface; the first that matches counts."""
    return f"{NETWORKD_FOLDER}/00-bramble-{interface}.network"


def _is_kept(header: str, values: Mapping[str, str]) -> bool:
    """Tell whether a section of a file of networkd has nothing to do with the interface's IPv4 address."""
    if header == "[Address]":
        return ":" in values.get("Address", "")
    if header == "[Route]":
        default = values.get("Destination", "0.0.0.0/0") == "0.0.0.0/0"
        return not default or ":" in values.get("Gateway", "")
    return header.startswith("[") and header not in ("[Match]", "[DHCP]", "[DHCPv4]")


def static_file(*, settings: Settings, present: str) -> File:
    """Give networkd the interface, with what else the present file says."""
    name = settings.interface
    network = [f"Address={settings.address}"]
    if settings.gateway:
        network.append(f"Gateway={settings.gateway}")
    network += [f"DNS={resolver}" for resolver in settings.resolvers]
    if settings.search:
        network.append(f"Domains={' '.join(settings.search)}")
    others = []
    for section in re.split(r"^(?=\[)", present, flags=re.MULTILINE):
        header, _newline, body = section.partition("\n")
        pairs = [line for line in body.splitlines() if "=" in line and not line.startswith(("#", ";"))]
        values = {
            key.strip(): value.strip() for key, _equals, value in (line.partition("=") for line in pairs)
        }
        if header == "[Network]":
            for line in pairs:
                key, _equals, value = (part.strip() for part in line.partition("="))
                if key == "DHCP" and value in ("yes", "true", "both", "ipv6"):
                    network.append("DHCP=ipv6")
                elif key not in ("DHCP", "DNS", "Domains") and not (
                    key in ("Address", "Gateway") and ":" not in value
                ):
                    network.append(line)
        elif _is_kept(header, values):
            others.append("\n".join([header, *pairs]))
    sections = [f"[Match]\nName={name}", "\n".join(["[Network]", *network]), *others]
    return File(static_path(interface=name), MANAGED + "\n\n".join(sections) + "\n")


def claim_of(*, status: str) -> Claim | None:
    """Read C(networkctl status X)."""
    told = fields(status)
    match = re.search(r"\((.*)\)", told.get("State", ""))
    file = told.get("Network File", "n/a")
    if match is None or match.group(1) in ("unmanaged", "pending", "initialized") or not file.startswith("/"):
        return None
    name = NETPLAN if file.startswith(_NETPLAN_NETWORK) else NETWORKD
    return Claim(name, NETWORKD, f"systemd-networkd: {match.group(1)} by {file}", file)


def reconfigure(interface: str) -> tuple[str, ...]:
    """Return the commands of a trial that bring the files of an interface into effect."""
    return (command(["networkctl", "reload"]), command(["networkctl", "reconfigure", interface]))


class Networkd(Manager):
    """systemd-networkd, also where netplan tells it what to do."""

    name = backend = NETWORKD
    program = "networkctl"

    def detect(self, *, node: Node, interface: str) -> Claim | None:
        """Ask it, if it runs."""
        if not node.exists("/run/systemd/netif") or not node.has(self.program):
            return None
        return claim_of(
            status=node.output(self.program, "--no-pager", "--lines=0", "status", interface),
        )

    def is_available(self, *, node: Node) -> bool:
        """Tell whether it runs."""
        return node.is_active("systemd-networkd.service")

    def render(self, *, node: Node, settings: Settings, claim: Claim) -> list[File]:
        """Write a file that comes first, with what else the present one says."""
        file = static_file(settings=settings, present=node.read(claim.file))
        if claim.file and os.path.basename(claim.file) < os.path.basename(file.path):
            raise NetworkError(
                f"systemd-networkd takes {claim.file} for {settings.interface}, as it comes before "
                f"{file.path}; expected a name after it: rename the file on the node, for "
                "example with 10- in front"
            )
        return [file]

    def apply(self, *, node: Node, settings: Settings, claim: Claim) -> Commands:
        """Have it read its files, and configure the interface by them."""
        commands = reconfigure(settings.interface)
        return Commands((), commands, commands)

    def render_uplink(self, *, interface: str, wifi: Wifi | None) -> list[File]:
        """Write a file of its own, and one for the wpa_supplicant of the interface."""
        text = f"{MANAGED}[Match]\nName={interface}\n\n[Link]\nRequiredForOnline=no\n\n[Network]\nDHCP=ipv4\n"
        files = [File(f"{NETWORKD_FOLDER}/30-{UPLINK}.network", text)]
        if wifi:
            files.append(File(supplicant_path(interface), wpa_supplicant(wifi, first_boot=False), 0o600))
        return files

    def apply_uplink(self, *, interface: str, wifi: Wifi | None) -> list[list[str]]:
        """Start the wpa_supplicant of the interface, and have the files read."""
        start = [["systemctl", "enable", "--now", f"wpa_supplicant@{interface}.service"]] if wifi else []
        return [*start, ["networkctl", "reload"]]

    def renew(self, *, interface: str, claim: Claim) -> list[str]:
        """Begin with the interface again.

        Not by "renew": a refusal is broadcast, and does not reach the socket that a lease is renewed by.
        """
        return ["networkctl", "reconfigure", interface]
