# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""NetworkManager, as Raspberry Pi OS has it from bookworm on: a profile for each connection."""

from __future__ import annotations

import re
import uuid

from ansible_collections.bramble.pi.plugins.module_utils._common.files import MANAGED
from ansible_collections.bramble.pi.plugins.module_utils._network.manager import (
    NETPLAN,
    NETWORKMANAGER,
    UPLINK,
    Claim,
    Commands,
    File,
    Manager,
    fields,
)
from ansible_collections.bramble.pi.plugins.module_utils._network.node import Node
from ansible_collections.bramble.pi.plugins.module_utils._network.settings import Settings, shortcomings
from ansible_collections.bramble.pi.plugins.module_utils._network.trial_script import command
from ansible_collections.bramble.pi.plugins.module_utils._network.wifi import Wifi, keyfile_sections

PROFILES = "/etc/NetworkManager/system-connections"
_NETPLAN_PROFILE = "/run/NetworkManager/system-connections/netplan-"

#: What is the collection's to set in a profile; all other keys are their owner's.
_OWN_KEYS = {
    "[connection]": re.compile(r"id|uuid|type|interface-name|autoconnect|autoconnect-priority|timestamp"),
    "[ipv4]": re.compile(r"method|(address|addresses)\d*|gateway|dns|dns-search"),
}


def profile_path(*, interface: str) -> str:
    """Name the file of the interface's profile."""
    return f"{PROFILES}/bramble-{interface}.nmconnection"


def profile_uuid(*, interface: str) -> str:
    """Return the profile's identifier, the same in each run."""
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{interface}.bramble.pi"))


def _kept(*, section: str, gateway: bool) -> list[str]:
    """Return the lines of a section that stay, one that sets no other default route."""
    header, _newline, body = section.partition("\n")
    own = _OWN_KEYS[header.strip()]
    rows = [(line.partition("=")[0].strip(), line) for line in body.splitlines() if "=" in line]
    default = {key for key, line in rows if re.match(r"routes?\d+\s*=\s*(0\.0\.0\.0/0|default)\b", line)}
    return [
        line
        for key, line in rows
        if not key.startswith(("#", ";"))
        and own.fullmatch(key) is None
        and key.partition("_options")[0] not in default
        and not (gateway and key == "never-default")
    ]


def static_file(*, settings: Settings, present: str) -> File:
    """Give NetworkManager a profile, with what else the active one says (IPv6, 802.1x, routes ...)."""
    name = settings.interface
    sections = re.split(r"^(?=\[)", present, flags=re.MULTILINE)
    kept: dict[str, list[str]] = {header: [] for header in _OWN_KEYS}
    for section in sections:
        header = section.partition("\n")[0].strip()
        if header in kept:
            kept[header] += _kept(section=section, gateway=settings.gateway is not None)
    # What a profile says of itself goes into ours by these lines alone.
    kind = re.search(r"^type=(.*)$", present, re.MULTILINE)
    text = [
        MANAGED
        + "[connection]\n"
        + f"id=bramble {name}\n"
        + f"uuid={profile_uuid(interface=name)}\n"
        + f"type={kind.group(1) if kind else 'ethernet'}\n"
        + f"interface-name={name}\n"
        + "autoconnect-priority=100\n"
        + "".join(f"{line}\n" for line in kept["[connection]"])
    ]
    gateway = f",{settings.gateway}" if settings.gateway else ""
    ipv4 = f"[ipv4]\nmethod=manual\naddress1={settings.address}{gateway}\n"
    if settings.resolvers:
        ipv4 += f"dns={';'.join(settings.resolvers)};\n"
    if settings.search:
        ipv4 += f"dns-search={';'.join(settings.search)};\n"
    text.append(ipv4 + "".join(f"{line}\n" for line in kept["[ipv4]"]))
    for section in sections:
        if section.startswith("[") and not section.startswith(("[connection]", "[ipv4]")):
            text.append(section.rstrip("\n") + "\n")
    return File(profile_path(interface=name), "\n".join(text), 0o600)


def uplink_profile(*, interface: str, wifi: Wifi | None) -> str:
    """Write a profile for what connects a head to the outside."""
    return (
        f"{MANAGED}[connection]\nid={UPLINK}\ntype={'wifi' if wifi else 'ethernet'}\n"
        f"interface-name={interface}\n\n"
        + (keyfile_sections(wifi, first_boot=False) if wifi else "")
        + "[ipv4]\nmethod=auto\n\n[ipv6]\nmethod=auto\n"
    )


def claim_of(*, device: str, profiles: str) -> Claim | None:
    """Read C(nmcli -t -f GENERAL device show X) and C(nmcli -t -f UUID,FILENAME connection show).

    A device that somebody else has configured is managed as well, and "connected (externally)".
    """
    general = fields(device)
    state = general.get("GENERAL.STATE", "")
    if general.get("GENERAL.NM-MANAGED", "yes") != "yes" or "unmanaged" in state or "externally" in state:
        return None
    if not state:
        return None
    identifier = general.get("GENERAL.CON-UUID", "")
    file = fields(profiles).get(identifier, "") if identifier else ""
    name = NETPLAN if file.startswith(_NETPLAN_PROFILE) else NETWORKMANAGER
    profile = general.get("GENERAL.CONNECTION", "") or "no profile"
    return Claim(name, NETWORKMANAGER, f"NetworkManager: {state}, {profile}", file, identifier)


def activate(*, node: Node, settings: Settings, claim: Claim, load: str, profile: str) -> Commands:
    """Return the commands that bring a profile up, once ``load`` has had it read."""
    name = settings.interface
    up = ["nmcli", "connection", "up", profile]
    # A profile that stays in force takes new resolvers without being brought down.
    in_force = claim.uuid == profile and not shortcomings(settings=settings, state=node.state(name))
    after = command(["nmcli", "device", "reapply", name], up) if in_force else command(up)
    connect = ["nmcli", "device", "connect", name]
    back = (["nmcli", "connection", "up", claim.uuid], connect) if claim.uuid else (connect,)
    return Commands((), (load, after), (command(["nmcli", "connection", "reload"]), command(*back)))


class NetworkManager(Manager):
    """NetworkManager, also where netplan tells it what to do."""

    name = backend = NETWORKMANAGER
    program = "nmcli"

    def detect(self, *, node: Node, interface: str) -> Claim | None:
        """Ask it, if it runs."""
        if not node.exists("/run/NetworkManager") or not node.has(self.program):
            return None
        device = node.output(self.program, "-t", "-f", "GENERAL", "device", "show", interface)
        if not device:
            return None
        profiles = node.output(self.program, "-t", "-f", "UUID,FILENAME", "connection", "show")
        return claim_of(device=device, profiles=profiles)

    def is_available(self, *, node: Node) -> bool:
        """Tell whether it runs."""
        return node.is_active("NetworkManager.service")

    def render(self, *, node: Node, settings: Settings, claim: Claim) -> list[File]:
        """Write a profile of its own, with what else the active one says."""
        return [static_file(settings=settings, present=node.read(claim.file))]

    def apply(self, *, node: Node, settings: Settings, claim: Claim) -> Commands:
        """Have the profile read, and bring it up."""
        name = settings.interface
        load = command(["nmcli", "connection", "load", profile_path(interface=name)])
        return activate(
            node=node, settings=settings, claim=claim, load=load, profile=profile_uuid(interface=name)
        )

    def render_uplink(self, *, interface: str, wifi: Wifi | None) -> list[File]:
        """Write a profile of its own, which may hold a key."""
        return [
            File(f"{PROFILES}/{UPLINK}.nmconnection", uplink_profile(interface=interface, wifi=wifi), 0o600)
        ]

    def apply_uplink(self, *, interface: str, wifi: Wifi | None) -> list[list[str]]:
        """Have the profile read, and bring it up."""
        return [
            ["nmcli", "connection", "reload"],
            *([["nmcli", "radio", "wifi", "on"]] if wifi else []),
            ["nmcli", "connection", "up", "id", UPLINK],
        ]

    def renew(self, *, interface: str, claim: Claim) -> list[str]:
        """Bring the active profile up again, or any one if there is none."""
        if claim.uuid:
            return ["nmcli", "connection", "up", "uuid", claim.uuid]
        return ["nmcli", "device", "connect", interface]
