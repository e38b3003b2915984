# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Wi-Fi network: what one can have, and how it is written for all that joins one.

Two kinds of files are written. Those of a running node are the collection's own. Those for a node's first
boot are its owner's from then on, who reads and changes them.
"""

from __future__ import annotations

import hashlib
import re
import string
from typing import Any, NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._common.files import MANAGED

OPEN = "open"
WPA_PSK = "wpa-psk"


class WifiError(BrambleError):
    """Values that no Wi-Fi network can have."""


class Wifi(NamedTuple):
    """A Wi-Fi network, with the passphrase as the user gave it; without one it is open."""

    ssid: str
    # A passphrase, or the key of 64 hexadecimal digits that WPA2 derives from it.
    psk: str
    country: str
    hidden: bool

    @property
    def authentication(self) -> str:
        """How a node shows that it may join."""
        return WPA_PSK if self.psk else OPEN


def problems(wifi: Wifi, *, variables: str) -> list[str]:
    """Say what no Wi-Fi network can have; the key never comes into a message.

    ``variables`` is what the names of the variables begin with, such as ``nat_headnode_wifi``.
    """
    found = []
    if not 1 <= len(wifi.ssid.encode()) <= 32:
        found.append(
            f"the Wi-Fi's name has {len(wifi.ssid.encode())} bytes; expected 1 to 32: set {variables}_ssid"
        )
    printable = all(32 <= ord(character) <= 126 for character in wifi.psk)
    passphrase = 8 <= len(wifi.psk) <= 63 and printable
    if wifi.psk and not passphrase and not _is_derived(wifi.psk):
        found.append(
            f"the Wi-Fi's key has {len(wifi.psk)} characters{'' if printable else ', not all ASCII'}"
            f"{'' if wifi.psk == wifi.psk.strip() else ', with blanks or line breaks at its ends'}; "
            f"expected 8 to 63 ASCII characters or 64 hexadecimal digits: set {variables}_psk"
        )
    if re.fullmatch("[A-Z]{2}", wifi.country) is None:
        found.append(
            f"the Wi-Fi's country is {wifi.country!r}; expected two capital letters (ISO 3166), such as "
            "'DE', as each country allows other channels and without one the radio stays off: set "
            f"{variables}_country"
        )
    return found


def check(wifi: Wifi, *, variables: str) -> None:
    """Refuse what no Wi-Fi network can have."""
    found = problems(wifi, variables=variables)
    if found:
        raise WifiError("; ".join(found))


def _is_derived(psk: str) -> bool:
    return len(psk) == 64 and set(psk) <= set(string.hexdigits)


def _secret(wifi: Wifi, *, first_boot: bool) -> str:
    """Return what is written as the key: the one place that decides whether it is the derived one.

    No quoting can spoil the derived key, and it opens no other network that has the same passphrase. The
    owner of a card would not recognise it. WPA3 (SAE) derives nothing beforehand: it needs the passphrase.
    """
    if first_boot:
        return wifi.psk
    if _is_derived(wifi.psk):
        return wifi.psk.lower()
    return hashlib.pbkdf2_hmac("sha1", wifi.psk.encode(), wifi.ssid.encode(), 4096, 32).hex()


def wpa_supplicant(wifi: Wifi, *, first_boot: bool) -> str:
    """Write wpa_supplicant's whole file; the name as hexadecimal digits, which need no quoting."""
    country = f"country={wifi.country}\n"
    if first_boot:
        text = f"{country}ctrl_interface=DIR=/var/run/wpa_supplicant GROUP=netdev\nupdate_config=1\n"
    else:
        text = f"{MANAGED}ctrl_interface=DIR=/run/wpa_supplicant GROUP=netdev\n{country}"
    lines = [f"ssid={wifi.ssid.encode().hex()}"]
    if wifi.hidden or not first_boot:
        lines.append(f"scan_ssid={int(wifi.hidden)}")
    if wifi.authentication == OPEN:
        lines.append("key_mgmt=NONE")
    else:
        if first_boot:
            lines.append("key_mgmt=WPA-PSK")
        secret = _secret(wifi, first_boot=first_boot)
        lines.append(f"psk={secret}" if _is_derived(secret) else f'psk="{secret}"')
    return text + "".join(["network={\n", *(f"    {line}\n" for line in lines), "}\n"])


def keyfile_sections(wifi: Wifi, *, first_boot: bool) -> str:
    """Write the sections of a NetworkManager profile (nm-settings-keyfile) that are about Wi-Fi."""
    # As bytes, so that no character of a name has a meaning.
    lines = ["[wifi]", "mode=infrastructure", f"ssid={''.join(f'{byte};' for byte in wifi.ssid.encode())}"]
    if wifi.hidden or not first_boot:
        lines.append(f"hidden={str(wifi.hidden).lower()}")
    if wifi.authentication != OPEN:
        secret = _secret(wifi, first_boot=first_boot).replace("\\", "\\\\")
        # Blanks at its beginning would be taken for those around the equals sign.
        blanks = len(secret) - len(secret.lstrip(" "))
        secret = "\\s" * blanks + secret[blanks:]
        lines += ["", "[wifi-security]", f"key-mgmt={wifi.authentication}", f"psk={secret}"]
    return "".join(f"{line}\n" for line in [*lines, ""])


def access_points(wifi: Wifi, *, first_boot: bool) -> dict[str, dict[str, Any]]:
    """Return the access points of netplan, and of the second version of cloud-init's network-config."""
    hidden = {"hidden": True} if wifi.hidden else {}
    if wifi.authentication == OPEN:
        return {wifi.ssid: hidden}
    secret = _secret(wifi, first_boot=first_boot)
    if first_boot:
        return {wifi.ssid: {"password": secret, **hidden}}
    return {wifi.ssid: {**hidden, "auth": {"key-management": "psk", "password": secret}}}


def supplicant_path(interface: str) -> str:
    """Name the file of the wpa_supplicant that systemd and dhcpcd start for an interface."""
    return f"/etc/wpa_supplicant/wpa_supplicant-{interface}.conf"
