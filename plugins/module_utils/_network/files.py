# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files by which each manager gives an interface its fixed address.

Only what concerns IPv4 is changed; the rest of a configuration (IPv6, MTU, wake on LAN, the name) stays.
"""

from __future__ import annotations

import copy
import fnmatch
import re
import uuid
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._network.settings import (
    MANAGED,
    NetworkError,
    Settings,
)

INTERFACES = "/etc/network/interfaces"
INTERFACES_FOLDER = "/etc/network/interfaces.d"
NETPLAN_FOLDER = "/etc/netplan"
NETPLAN_FILE = f"{NETPLAN_FOLDER}/90-bramble.yaml"
PROFILES = "/etc/NetworkManager/system-connections"
DHCPCD_CONF = "/etc/dhcpcd.conf"
NETWORKD_FOLDER = "/etc/systemd/network"
RESOLV_CONF = "/etc/resolv.conf"
RESOLVED_FILE = "/etc/systemd/resolved.conf.d/bramble.conf"
OPENRESOLV_HEAD = "/etc/resolv.conf.head"
RESOLVCONF_HEAD = "/etc/resolvconf/resolv.conf.d/head"

# Without it cloud-init writes its own network configuration again, at the latest with the next instance-id.
CLOUD_INIT_FOLDER = "/etc/cloud/cloud.cfg.d"
CLOUD_INIT_FILE = f"{CLOUD_INIT_FOLDER}/99-bramble-network.cfg"
CLOUD_INIT_TEXT = f"{MANAGED}network: {{config: disabled}}\n"

_COMMENTED_OUT = "# bramble.pi: "


class File(NamedTuple):
    """A file as it is to be."""

    path: str
    text: str
    mode: int = 0o644


def _block(text: str, lines: Collection[str], *, first: bool = False) -> str:
    """Put lines between marks, in place of what is between them."""
    begin, end = "# BEGIN bramble.pi\n", "# END bramble.pi\n"
    rest = re.sub(rf"^{begin}.*?^{end}", "", text, flags=re.MULTILINE | re.DOTALL)
    if rest and not rest.endswith("\n"):
        rest += "\n"
    block = "".join([begin, *(f"{line}\n" for line in lines), end])
    return block + rest if first else rest + block


# ifupdown

_STANZA = re.compile(
    r"^\s*(iface|mapping|auto|allow-\S+|no-auto-down|no-scripts|rename|source|source-directory|template)\s"
)


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
            inside = words[0] == "iface" and words[1:2] == [interface] and "inet6" not in words[2:3]
            if words[0] == "auto" or words[0].startswith("allow-"):
                others = [word for word in words[1:] if word != interface]
                if len(others) != len(words) - 1:
                    kept += [" ".join([words[0], *others])] if others else []
                    continue
        if not inside:
            kept.append(line)
        elif not drop:
            own = not words or words[0].startswith("#")
            kept.append(line if own else _COMMENTED_OUT + line.replace("\n", f"\n{_COMMENTED_OUT}"))
    return "".join(f"{line}\n" for line in kept)


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


def ifupdown_files(*, settings: Settings, present: Mapping[str, str]) -> list[File]:
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
    stanza = [
        f"{'auto' if automatic else 'allow-hotplug'} {name}",
        f"iface {name} inet static",
        f"    address {settings.address.ip}",
        f"    netmask {network.netmask}",
        f"    network {network.network_address}",
        f"    broadcast {network.broadcast_address}",
    ]
    if settings.gateway:
        stanza.append(f"    gateway {settings.gateway}")
    own = without_interface(text=present.get(path, ""), interface=name, drop=True)
    rest = [line for line in own.splitlines() if line.strip() and not line.startswith(MANAGED.rstrip("\n"))]
    files = [File(path, MANAGED + "".join(f"{line}\n" for line in stanza + rest))]
    for other, text in present.items():
        if other == path:
            continue
        after = without_interface(text=text, interface=name)
        if other == INTERFACES and not is_sourced(text=text, path=path):
            after += f"source {path}\n"
        if after.rstrip("\n") != text.rstrip("\n"):
            files.append(File(other, after))
    return files


# netplan


def _covers(
    identifier: str, definition: Mapping[str, Any], interface: str, macs: Mapping[str, str]
) -> list[str]:
    """Return the interfaces that a definition is for."""
    match = definition.get("match") or {}
    if not match:
        return [identifier]
    found = []
    for name, mac in macs.items():
        named = fnmatch.fnmatchcase(name, str(match.get("name", name))) or definition.get("set-name") == name
        if not named:
            continue
        if "macaddress" in match and str(match["macaddress"]).lower() != mac.lower():
            continue
        found.append(name)
    return found


def _merge(into: dict[str, Any], other: Mapping[str, Any]) -> None:
    for key, value in other.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        elif isinstance(value, list) and isinstance(into.get(key), list):
            into[key] = into[key] + [item for item in value if item not in into[key]]
        else:
            into[key] = copy.deepcopy(value)


def _is_ipv6(address: object) -> bool:
    # An address with options is a mapping of one key.
    return ":" in str(next(iter(address)) if isinstance(address, dict) else address)


def _is_default_route(route: Mapping[str, Any]) -> bool:
    return str(route.get("to")) in ("default", "0.0.0.0/0") and ":" not in str(route.get("via", ""))


def netplan_definition(*, settings: Settings, definition: Mapping[str, Any], renderer: str) -> dict[str, Any]:
    """Change what concerns IPv4 in a definition."""
    changed = {
        key: value
        for key, value in definition.items()
        if key
        not in (
            "dhcp4",
            "dhcp4-overrides",
            "dhcp-identifier",
            "gateway4",
            "nameservers",
            "addresses",
            "routes",
        )
    }
    changed["renderer"] = renderer
    changed["dhcp4"] = False
    changed["addresses"] = [
        str(settings.address),
        *(address for address in definition.get("addresses") or [] if _is_ipv6(address)),
    ]
    routes = [route for route in definition.get("routes") or [] if not _is_default_route(route)]
    if settings.gateway:
        # "default" is not known to netplan before 0.103.
        routes.insert(0, {"to": "0.0.0.0/0", "via": str(settings.gateway)})
    if routes:
        changed["routes"] = routes
    nameservers = {
        key: list(value)
        for key, value in (("addresses", settings.resolvers), ("search", settings.search))
        if value
    }
    if nameservers:
        changed["nameservers"] = nameservers
    return changed


class Netplan(NamedTuple):
    """The definition of the interface and where it stands."""

    section: str
    identifier: str
    definition: dict[str, Any]
    # All files, with the definition taken out of those other than ours.
    documents: dict[str, dict[str, Any]]
    changed: tuple[str, ...]


def netplan_take_out(*, interface: str, documents: Mapping[str, Any], macs: Mapping[str, str]) -> Netplan:
    """Find the definition of the interface in netplan's files, in their order, and take it out."""
    remaining = copy.deepcopy(dict(documents))
    section, identifier = "ethernets", interface
    merged: dict[str, Any] = {}
    changed = []
    for path in sorted(remaining, key=lambda name: name.rsplit("/", 1)[1]):
        network = (remaining[path] or {}).get("network") or {}
        for kind, definitions in list(network.items()):
            if not isinstance(definitions, dict):
                continue
            for name in list(definitions):
                definition = definitions[name] or {}
                covered = _covers(name, definition, interface, macs) if isinstance(definition, dict) else []
                if interface not in covered:
                    continue
                if covered != [interface]:
                    raise NetworkError(
                        f"netplan's definition {name!r} in {path} is for {' and '.join(sorted(covered))}; "
                        f"wanted is one for {interface} alone: give each interface a definition of its own "
                        "there, or set node_network_interface"
                    )
                if merged and (kind, name) != (section, identifier):
                    raise NetworkError(
                        f"netplan has two definitions of {interface}, {identifier!r} and {name!r} ({path}); "
                        f"wanted is one: take one out of the files in {NETPLAN_FOLDER}"
                    )
                section, identifier = kind, name
                _merge(merged, definition)
                # An empty definition is one as well.
                merged.setdefault("dhcp4", False)
                del definitions[name]
                if not definitions:
                    del network[kind]
                changed.append(path)
    return Netplan(section, identifier, merged, remaining, tuple(changed))


# NetworkManager


def profile_path(*, interface: str) -> str:
    """Name the file of the interface's profile."""
    return f"{PROFILES}/bramble-{interface}.nmconnection"


def profile_uuid(*, interface: str) -> str:
    """Return the profile's identifier, the same in each run."""
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{interface}.bramble.pi"))


def networkmanager_file(*, settings: Settings, present: str) -> File:
    """Give NetworkManager a profile, with what else the active one says (IPv6, 802.1x, MTU ...)."""
    name = settings.interface
    sections = re.split(r"^(?=\[)", present, flags=re.MULTILINE)
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
    ]
    gateway = f",{settings.gateway}" if settings.gateway else ""
    ipv4 = f"[ipv4]\nmethod=manual\naddress1={settings.address}{gateway}\n"
    if settings.resolvers:
        ipv4 += f"dns={';'.join(settings.resolvers)};\n"
    if settings.search:
        ipv4 += f"dns-search={';'.join(settings.search)};\n"
    text.append(ipv4)
    for section in sections:
        if section.startswith("[") and not section.startswith(("[connection]", "[ipv4]")):
            text.append(section.rstrip("\n") + "\n")
    return File(profile_path(interface=name), "\n".join(text), 0o600)


# dhcpcd

_DHCPCD_IPV4 = re.compile(
    r"^\s*(static\s+(ip_address|routers|domain_name_servers|domain_search|domain_name)\s*=|inform\b|fallback\b|noarp\b)"
)


def dhcpcd_file(*, settings: Settings, present: str) -> File:
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
        lines.append(_COMMENTED_OUT + line if current == [name] and _DHCPCD_IPV4.match(line) else line)
    block = [
        f"interface {name}",
        f"static ip_address={settings.address}",
        # Five seconds of looking for others with this address would be five seconds without it.
        "noarp",
    ]
    if settings.gateway:
        block.append(f"static routers={settings.gateway}")
    if settings.resolvers:
        block.append(f"static domain_name_servers={' '.join(settings.resolvers)}")
    if settings.search:
        block.append(f"static domain_search={' '.join(settings.search)}")
    return File(DHCPCD_CONF, _block("".join(f"{line}\n" for line in lines), block))


# systemd-networkd


def networkd_path(*, interface: str) -> str:
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


def networkd_file(*, settings: Settings, present: str) -> File:
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
    return File(networkd_path(interface=name), MANAGED + "\n\n".join(sections) + "\n")


# The resolvers where the manager does not keep them


class Keeper(NamedTuple):
    """What keeps resolv.conf: C(file) is what is written, C(reload) makes it count."""

    name: str
    file: str
    reload: tuple[str, ...] = ()


def resolver_keeper(*, link: str, text: str) -> Keeper:
    """Tell what keeps the resolvers from where resolv.conf points to and what it says."""
    if "systemd/resolve" in link:
        return Keeper("systemd-resolved", RESOLVED_FILE, ("systemctl", "restart", "systemd-resolved.service"))
    if "resolvconf/" in link:
        return Keeper("resolvconf", RESOLVCONF_HEAD, ("resolvconf", "-u"))
    if text.startswith("# Generated by resolvconf"):
        return Keeper("openresolv", OPENRESOLV_HEAD, ("resolvconf", "-u"))
    return Keeper("file", RESOLV_CONF)


def resolver_file(*, settings: Settings, keeper: Keeper, present: str) -> File:
    """Write the resolvers in the form that the system keeps."""
    if keeper.name == "systemd-resolved":
        lines = [f"DNS={' '.join(settings.resolvers)}"]
        if settings.search:
            lines.append(f"Domains={' '.join(settings.search)}")
        return File(keeper.file, MANAGED + "[Resolve]\n" + "".join(f"{line}\n" for line in lines))
    lines = [f"nameserver {resolver}" for resolver in settings.resolvers]
    if settings.search:
        lines.insert(0, f"search {' '.join(settings.search)}")
    if keeper.name == "file":
        rest = [line for line in present.splitlines() if line.split()[:1] == ["options"]]
        return File(keeper.file, MANAGED + "".join(f"{line}\n" for line in lines + rest))
    return File(keeper.file, _block(present, lines, first=True))


_SECRET = re.compile(
    r"((?:password|psk|secret|private-?key|preshared-?key|wep-key\w*)\s*[:= ]\s*)\S.*",
    re.IGNORECASE,
)


def shown(*, text: str) -> str:
    """Return a text for a diff, without what is secret in it."""
    return _SECRET.sub(r"\1********", text)
