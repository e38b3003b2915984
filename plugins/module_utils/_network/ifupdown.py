# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ifupdown, as HypriotOS and Debian have it: /etc/network/interfaces and what that reads."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterable, Mapping, Sequence

from ansible_collections.bramble.pi.plugins.module_utils._common.files import MANAGED
from ansible_collections.bramble.pi.plugins.module_utils._network.manager import (
    COMMENTED_OUT,
    IFUPDOWN,
    Claim,
    Commands,
    File,
    Manager,
)
from ansible_collections.bramble.pi.plugins.module_utils._network.node import Node
from ansible_collections.bramble.pi.plugins.module_utils._network.settings import Settings
from ansible_collections.bramble.pi.plugins.module_utils._network.trial_script import command
from ansible_collections.bramble.pi.plugins.module_utils._network.wifi import (
    Wifi,
    supplicant_path,
    wpa_supplicant,
)

INTERFACES = "/etc/network/interfaces"
INTERFACES_FOLDER = "/etc/network/interfaces.d"

_STANZA = re.compile(
    r"^\s*(iface|mapping|auto|allow-\S+|no-auto-down|no-scripts|rename|source|source-directory|template)\s"
)

#: What is the collection's to set in a stanza; all other options are their owner's.
_OWN_OPTIONS = re.compile(r"address|netmask|network|broadcast|gateway|dns-\S+")
#: Options that may be there several times; ifupdown refuses others that are.
_COMMANDS = ("pre-up", "up", "post-up", "down", "pre-down", "post-down")
_SECRET_OPTIONS = re.compile(r"wpa-\S*(psk|passw|key\d|wep)\S*|wireless-key\d*|key\d*", re.IGNORECASE)


def _logical_lines(text: str) -> list[str]:
    """Return lines, with those that a backslash continues in one piece."""
    lines: list[str] = []
    for line in text.splitlines():
        if lines and lines[-1].endswith("\\"):
            lines[-1] += f"\n{line}"
        else:
            lines.append(line)
    return lines


def without_interface(*, text: str, interface: str, drop: bool = False) -> str:
    """Comment out, or drop, the interface's IPv4 stanzas and what brings it up."""
    kept = []
    inside = False
    for line in _logical_lines(text):
        words = line.replace("\\\n", " ").split()
        if _STANZA.match(line):
            inside = _is_stanza_of(words, interface)
            if words[0] == "auto" or words[0].startswith("allow-"):
                others = [word for word in words[1:] if word != interface]
                if len(others) != len(words) - 1:
                    kept += [" ".join([words[0], *others])] if others else []
                    continue
        if not inside:
            kept.append(line)
        elif not drop:
            own = not words or words[0].startswith("#")
            kept.append(line if own else COMMENTED_OUT + line.replace("\n", f"\n{COMMENTED_OUT}"))
    return "".join(f"{line}\n" for line in kept)


def _is_stanza_of(words: Sequence[str], interface: str) -> bool:
    return words[0] == "iface" and words[1:2] == [interface] and "inet6" not in words[2:3]


def options(*, texts: Iterable[str], interface: str) -> tuple[list[str], list[str]]:
    """Return what IPv4 stanzas of an interface say beside its address: words of their heads, and options."""
    head: list[str] = []
    found: list[str] = []
    names: set[str] = set()
    for text in texts:
        inside = False
        for line in _logical_lines(text):
            words = line.replace("\\\n", " ").split()
            if not words or words[0].startswith("#"):
                continue
            if _STANZA.match(line):
                inside = _is_stanza_of(words, interface)
                if inside and not head:
                    # "inherits" and the name of another stanza
                    head = words[4:]
            elif inside and _OWN_OPTIONS.fullmatch(words[0]) is None:
                option = line.strip()
                if option not in found and (words[0] in _COMMANDS or words[0] not in names):
                    names.add(words[0])
                    found.append(option)
    return head, found


def sources(*, text: str) -> list[tuple[str, str]]:
    """Return what a file of ifupdown reads beside itself: (keyword, pattern)."""
    found = []
    for line in _logical_lines(text):
        words = line.split()
        if len(words) > 1 and words[0] in ("source", "source-directory"):
            found += [
                (words[0], word if word.startswith("/") else f"/etc/network/{word}") for word in words[1:]
            ]
    return found


def is_sourced(*, text: str, path: str) -> bool:
    """Tell whether ifupdown reads a file because of another one."""
    folder, name = path.rsplit("/", 1)
    return any(
        fnmatch.fnmatchcase(path, pattern)
        if keyword == "source"
        else pattern.rstrip("/") == folder and re.fullmatch(r"[A-Za-z0-9_-]+", name) is not None
        for keyword, pattern in sources(text=text)
    )


def static_files(*, settings: Settings, present: Mapping[str, str]) -> list[File]:
    """Give ifupdown the interface; C(present) are the files that it reads."""
    name, network = settings.interface, settings.address.network
    path = f"{INTERFACES_FOLDER}/{name}"
    # What udev finds is brought up when it is found; what is marked auto, as bridges have to be, at boot.
    automatic = any(
        words[0] == "auto" and name in words[1:]
        for text in present.values()
        for words in map(str.split, _logical_lines(text))
        if words
    )
    head, kept = options(texts=present.values(), interface=name)
    stanza = [
        f"{'auto' if automatic else 'allow-hotplug'} {name}",
        " ".join(["iface", name, "inet", "static", *head]),
        f"    address {settings.address.ip}",
        f"    netmask {network.netmask}",
        f"    network {network.network_address}",
        f"    broadcast {network.broadcast_address}",
    ]
    if settings.gateway:
        stanza.append(f"    gateway {settings.gateway}")
    stanza += [f"    {option}" for option in kept]
    secret = any(_SECRET_OPTIONS.fullmatch(option.split()[0]) for option in kept)
    own = without_interface(text=present.get(path, ""), interface=name, drop=True)
    rest = [line for line in own.splitlines() if line.strip() and not line.startswith(MANAGED.rstrip("\n"))]
    text = MANAGED + "".join(f"{line}\n" for line in stanza + rest)
    files = [File(path, text, 0o600 if secret else 0o644)]
    for other, text in present.items():
        if other == path:
            continue
        after = without_interface(text=text, interface=name)
        if other == INTERFACES and not is_sourced(text=text, path=path):
            after += f"source {path}\n"
        if after.rstrip("\n") != text.rstrip("\n"):
            files.append(File(other, after))
    return files


class Ifupdown(Manager):
    """ifup and ifdown."""

    name = backend = IFUPDOWN
    program = "ifup"

    def detect(self, *, node: Node, interface: str) -> Claim | None:
        """Look at the interfaces that ifup has brought up."""
        state = node.read("/run/network/ifstate") + node.read(f"/run/network/ifstate.{interface}")
        for line in state.splitlines():
            physical, equals, logical = line.strip().partition("=")
            if equals and physical == interface:
                return Claim(IFUPDOWN, IFUPDOWN, f"ifup has brought it up as {logical}")
        return None

    def is_available(self, *, node: Node) -> bool:
        """Tell whether it is installed and configured."""
        return node.exists(INTERFACES) and node.has(self.program)

    def render(self, *, node: Node, settings: Settings, claim: Claim) -> list[File]:
        """Put the interface into a file of its own, and comment it out elsewhere."""
        return static_files(settings=settings, present=self._present(node))

    def apply(self, *, node: Node, settings: Settings, claim: Claim) -> Commands:
        """Bring the interface down by the file that it was brought up by, and up by the new one."""
        name = settings.interface
        up = (
            command(["ip", "-4", "address", "flush", "dev", name, "scope", "global"]),
            command(["ifup", name]),
        )
        return Commands((command(["ifdown", "--force", name]),), up, up)

    def render_uplink(self, *, interface: str, wifi: Wifi | None) -> list[File]:
        """Write a stanza, which names wpa_supplicant's file."""
        stanza = f"{MANAGED}allow-hotplug {interface}\niface {interface} inet dhcp\n"
        files = [File(f"{INTERFACES_FOLDER}/{interface}", stanza)]
        if wifi:
            path = supplicant_path(interface)
            files = [
                files[0]._replace(text=f"{stanza}    wpa-conf {path}\n"),
                File(path, wpa_supplicant(wifi, first_boot=False), 0o600),
            ]
        return files

    def apply_uplink(self, *, interface: str, wifi: Wifi | None) -> list[list[str]]:
        """Bring the interface up again."""
        return [["ifdown", "--force", interface], ["ifup", interface]]

    def renew(self, *, interface: str, claim: Claim) -> list[str]:
        """Bring the interface up again, which is all that every DHCP client of ifupdown knows."""
        return ["sh", "-c", f"ifdown {interface}; ifup {interface}"]

    def _present(self, node: Node) -> dict[str, str]:
        """Return the files that ifupdown reads."""
        found: dict[str, str] = {}
        waiting = [INTERFACES]
        while waiting:
            path = waiting.pop()
            if path in found or not node.is_file(path):
                continue
            found[path] = node.read(path)
            for keyword, pattern in sources(text=found[path]):
                waiting += node.glob(pattern if keyword == "source" else f"{pattern.rstrip('/')}/*")
        return {
            path: text for path, text in found.items() if not fnmatch.fnmatch(os.path.basename(path), ".*")
        }
