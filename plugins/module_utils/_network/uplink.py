# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A head's way to the outside, by Wi-Fi or by wire, in the form that each network manager keeps."""

from __future__ import annotations

import hashlib
import json
import re
import string
from collections.abc import Collection
from typing import NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError

MANAGED = "# Written by the collection bramble.pi; changes are overwritten.\n"

NETWORK_MANAGER = "networkmanager"
NETPLAN = "netplan"
DHCPCD = "dhcpcd"
IFUPDOWN = "ifupdown"
NETWORKD = "networkd"
MANAGERS = (NETWORK_MANAGER, NETPLAN, DHCPCD, IFUPDOWN, NETWORKD)

CONNECTION = "bramble-uplink"
#: The kernel keeps the rules of the world until a country is named, and Raspberry Pi OS the radio off.
REGULATORY_DOMAIN = "/etc/modprobe.d/bramble-wifi.conf"

_SECRET = 0o600
_PUBLIC = 0o644


class UplinkError(BrambleError):
    """Values that no network can have, or no manager that could take them."""


class Wifi(NamedTuple):
    """A Wi-Fi network; without a key it is open."""

    ssid: str
    psk: str
    country: str
    hidden: bool


class File(NamedTuple):
    """A file as it is to be."""

    path: str
    text: str
    mode: int


def check_wifi(wifi: Wifi) -> None:
    """Refuse what no Wi-Fi network can have; the key never comes into a message."""
    if not 1 <= len(wifi.ssid.encode()) <= 32:
        raise UplinkError(
            f"the Wi-Fi's name has {len(wifi.ssid.encode())} bytes; wanted are 1 to 32: set "
            "nat_headnode_wifi_ssid"
        )
    printable = all(32 <= ord(character) <= 126 for character in wifi.psk)
    passphrase = 8 <= len(wifi.psk) <= 63 and printable
    if wifi.psk and not passphrase and not _is_key(wifi.psk):
        raise UplinkError(
            f"the Wi-Fi's key has {len(wifi.psk)} characters{'' if printable else ', not all ASCII'}; wanted "
            "are 8 to 63 ASCII characters or 64 hexadecimal digits, or none for an open network: set "
            "nat_headnode_wifi_psk"
        )
    if re.fullmatch("[A-Z]{2}", wifi.country) is None:
        raise UplinkError(
            f"the Wi-Fi's country is {wifi.country!r}; wanted are two capital letters (ISO 3166), such as "
            "'DE', as each country allows other channels: set nat_headnode_wifi_country"
        )


def _is_key(psk: str) -> bool:
    return len(psk) == 64 and set(psk) <= set(string.hexdigits)


def key(wifi: Wifi) -> str:
    """Return the key that WPA derives from a passphrase: no quoting can spoil it."""
    if _is_key(wifi.psk):
        return wifi.psk.lower()
    return hashlib.pbkdf2_hmac("sha1", wifi.psk.encode(), wifi.ssid.encode(), 4096, 32).hex()


def choose_manager(*, active: Collection[str], netplan: bool, ifupdown: bool) -> str:
    """Tell which manager is in charge: of those that run, else what is configured."""
    if "NetworkManager" in active:
        return NETWORK_MANAGER
    if netplan:
        return NETPLAN
    if "dhcpcd" in active:
        return DHCPCD
    if ifupdown:
        return IFUPDOWN
    if "systemd-networkd" in active:
        return NETWORKD
    raise UplinkError(
        "no network manager was found; wanted is NetworkManager, netplan, dhcpcd, ifupdown or "
        "systemd-networkd: install one of them, or configure the interface to the outside by hand "
        "(nat_headnode_uplink: keep)"
    )


def wpa_supplicant(wifi: Wifi) -> str:
    """Write a network for wpa_supplicant."""
    return (
        f"{MANAGED}ctrl_interface=DIR=/run/wpa_supplicant GROUP=netdev\n"
        f"country={wifi.country}\n"
        "network={\n"
        f"    ssid={wifi.ssid.encode().hex()}\n"
        f"    scan_ssid={int(wifi.hidden)}\n"
        + (f"    psk={key(wifi)}\n" if wifi.psk else "    key_mgmt=NONE\n")
        + "}\n"
    )


def network_manager(interface: str, wifi: Wifi | None) -> str:
    """Write a connection for NetworkManager (nm-settings-keyfile)."""
    text = (
        f"{MANAGED}[connection]\nid={CONNECTION}\ntype={'wifi' if wifi else 'ethernet'}\n"
        f"interface-name={interface}\n\n"
    )
    if wifi:
        # As bytes, so that no character of a name has a meaning.
        ssid = "".join(f"{byte};" for byte in wifi.ssid.encode())
        text += f"[wifi]\nmode=infrastructure\nssid={ssid}\nhidden={str(wifi.hidden).lower()}\n\n"
        if wifi.psk:
            text += f"[wifi-security]\nkey-mgmt=wpa-psk\npsk={key(wifi)}\n\n"
    return f"{text}[ipv4]\nmethod=auto\n\n[ipv6]\nmethod=auto\n"


def _quoted(text: str) -> str:
    """Quote a text for YAML, where JSON's pairs of surrogates would be two characters."""
    plain = (char if char.isprintable() and char not in '"\\' else f"\\U{ord(char):08X}" for char in text)
    return f'"{"".join(plain)}"'


def netplan(interface: str, wifi: Wifi | None) -> str:
    """Write a netplan configuration."""
    lines = [
        "network:",
        "  version: 2",
        "  wifis:" if wifi else "  ethernets:",
        f"    {json.dumps(interface)}:",
    ]
    # Whether it comes up or not, the boot goes on.
    lines += ["      dhcp4: true", "      optional: true"]
    if wifi:
        settings: dict[str, object] = {"hidden": True} if wifi.hidden else {}
        if wifi.psk:
            settings["auth"] = {"key-management": "psk", "password": key(wifi)}
        lines += ["      access-points:", f"        {_quoted(wifi.ssid)}: {json.dumps(settings)}"]
    return MANAGED + "\n".join(lines) + "\n"


def files(*, manager: str, interface: str, wifi: Wifi | None) -> list[File]:
    """Return the files of a manager; a wired interface is dhcpcd's anyway."""
    result = []
    if manager == NETWORK_MANAGER:
        path = f"/etc/NetworkManager/system-connections/{CONNECTION}.nmconnection"
        result.append(File(path, network_manager(interface, wifi), _SECRET))
    if manager == NETPLAN:
        result.append(File(f"/etc/netplan/90-{CONNECTION}.yaml", netplan(interface, wifi), _SECRET))
    if manager == IFUPDOWN:
        stanza = f"allow-hotplug {interface}\niface {interface} inet dhcp\n"
        if wifi:
            stanza += f"    wpa-conf {_wpa_path(interface)}\n"
        result.append(File(f"/etc/network/interfaces.d/{interface}", MANAGED + stanza, _PUBLIC))
    if manager == NETWORKD:
        text = f"{MANAGED}[Match]\nName={interface}\n\n[Link]\nRequiredForOnline=no\n\n[Network]\nDHCP=ipv4\n"
        result.append(File(f"/etc/systemd/network/30-{CONNECTION}.network", text, _PUBLIC))
    if wifi:
        # The others have it from here, dhcpcd by a hook of its own.
        if manager not in (NETWORK_MANAGER, NETPLAN):
            result.append(File(_wpa_path(interface), wpa_supplicant(wifi), _SECRET))
        domain = f"{MANAGED}options cfg80211 ieee80211_regdom={wifi.country}\n"
        result.append(File(REGULATORY_DOMAIN, domain, _PUBLIC))
    return result


def _wpa_path(interface: str) -> str:
    return f"/etc/wpa_supplicant/wpa_supplicant-{interface}.conf"


def commands(*, manager: str, interface: str, wifi: Wifi | None) -> list[list[str]]:
    """Return what brings the interface up with its new files."""
    radio = [["rfkill", "unblock", "wifi"], ["iw", "reg", "set", wifi.country]] if wifi else []
    return (
        radio
        + {
            NETWORK_MANAGER: [
                ["nmcli", "connection", "reload"],
                *([["nmcli", "radio", "wifi", "on"]] if wifi else []),
                ["nmcli", "connection", "up", "id", CONNECTION],
            ],
            NETPLAN: [["netplan", "apply"]],
            DHCPCD: [["dhcpcd", "--rebind", interface]],
            IFUPDOWN: [["ifdown", "--force", interface], ["ifup", interface]],
            NETWORKD: [
                *([["systemctl", "enable", "--now", f"wpa_supplicant@{interface}.service"]] if wifi else []),
                ["networkctl", "reload"],
            ],
        }[manager]
    )


def carries_ssh(*, tcp: str, addresses: Collection[str]) -> bool:
    """Tell from /proc/net/tcp whether an ssh connection comes in at one of the addresses.

    Its addresses are hexadecimal, with the bytes as the machine has them, little-endian on all Pis.
    """
    wanted = {
        "".join(f"{int(part):02X}" for part in reversed(address.split("."))) + ":0016"
        for address in addresses
    }
    rows = (line.split() for line in tcp.splitlines()[1:])
    return any(len(row) > 3 and row[1] in wanted and row[3] == "01" for row in rows)
