# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""netplan, as Ubuntu has it, and Raspberry Pi OS from trixie on: YAML for networkd or NetworkManager."""

from __future__ import annotations

import copy
import fnmatch
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._common.files import MANAGED, write_text
from ansible_collections.bramble.pi.plugins.module_utils._network import netplan_yaml
from ansible_collections.bramble.pi.plugins.module_utils._network.manager import (
    NETPLAN,
    NETWORKD,
    NETWORKMANAGER,
    UPLINK,
    Claim,
    Commands,
    File,
    Manager,
)
from ansible_collections.bramble.pi.plugins.module_utils._network.networkd import Networkd, reconfigure
from ansible_collections.bramble.pi.plugins.module_utils._network.networkmanager import (
    NetworkManager,
    activate,
)
from ansible_collections.bramble.pi.plugins.module_utils._network.node import Device, Node
from ansible_collections.bramble.pi.plugins.module_utils._network.settings import NetworkError, Settings
from ansible_collections.bramble.pi.plugins.module_utils._network.trial_script import command
from ansible_collections.bramble.pi.plugins.module_utils._network.wifi import Wifi, access_points

NETPLAN_FOLDER = "/etc/netplan"
NETPLAN_FILE = f"{NETPLAN_FOLDER}/90-bramble.yaml"
_FOLDERS = ("/lib/netplan", "/usr/lib/netplan", NETPLAN_FOLDER, "/run/netplan")


#: By what a definition finds its interfaces.
_CRITERIA = ("name", "macaddress", "driver")


def _has_driver(driver: str, desired: Any) -> bool:
    """Tell whether a driver is one of those that are desired: patterns, as networkd reads them."""
    patterns = " ".join(map(str, desired)) if isinstance(desired, list) else str(desired)
    found = any(fnmatch.fnmatchcase(driver, pattern) for pattern in patterns.lstrip("!").split())
    return bool(driver) and found != patterns.startswith("!")


def _covers(identifier: str, definition: Mapping[str, Any], devices: Mapping[str, Device]) -> list[str]:
    """Return the interfaces that a definition is for; one that matches nothing in particular is for all."""
    if "match" not in definition:
        return [identifier]
    match = netplan_yaml.mapping(definition["match"])
    renamed = definition.get("set-name")
    found = []
    for name, device in devices.items():
        named = fnmatch.fnmatchcase(name, str(match.get("name", name))) or renamed == name
        if not named:
            continue
        if "macaddress" in match and str(match["macaddress"]).lower() != device.mac.lower():
            continue
        if "driver" in match and not _has_driver(device.driver, match["driver"]):
            continue
        found.append(name)
    # One that gives its interface a name is for the one of that name, whatever else matches.
    return [renamed] if renamed in found else found


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


def static_definition(*, settings: Settings, definition: Mapping[str, Any], renderer: str) -> dict[str, Any]:
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


class Definition(NamedTuple):
    """The definition of the interface and where it stands."""

    section: str
    identifier: str
    definition: dict[str, Any]
    # All files, with the definition taken out of those other than ours.
    documents: dict[str, dict[str, Any]]
    changed: tuple[str, ...]


def take_out(*, interface: str, documents: Mapping[str, Any], devices: Mapping[str, Device]) -> Definition:
    """Find the definition of the interface in netplan's files, in their order, and take it out."""
    # What Kubernetes and others add to a node is no definition's, and the loopback is never.
    devices = {
        name: device
        for name, device in devices.items()
        if name == interface or (device.physical and name != "lo")
    }
    remaining = copy.deepcopy(dict(documents))
    section, identifier = "ethernets", interface
    merged: dict[str, Any] = {}
    changed = []
    for path in sorted(remaining, key=lambda name: name.rsplit("/", 1)[1]):
        network = netplan_yaml.mapping(netplan_yaml.mapping(remaining[path]).get("network"))
        for kind, definitions in list(network.items()):
            if not isinstance(definitions, dict):
                continue
            for name in list(definitions):
                definition = netplan_yaml.mapping(definitions[name])
                covered = _covers(name, definition, devices)
                if interface not in covered:
                    continue
                unknown = set(netplan_yaml.mapping(definition.get("match"))) - set(_CRITERIA)
                if unknown:
                    raise NetworkError(
                        f"netplan's definition {name!r} in {path} matches by {', '.join(sorted(unknown))}; "
                        f"expected {', '.join(_CRITERIA)}: give {interface} a definition of its own there"
                    )
                if covered != [interface]:
                    raise NetworkError(
                        f"netplan's definition {name!r} in {path} is for {' and '.join(sorted(covered))}; "
                        f"expected one for {interface} alone: give each interface a definition of its own "
                        "there, or set node_network_interface"
                    )
                if merged and (kind, name) != (section, identifier):
                    raise NetworkError(
                        f"netplan has two definitions of {interface}, {identifier!r} and {name!r} ({path}); "
                        f"expected one: take one out of the files in {NETPLAN_FOLDER}"
                    )
                section, identifier = kind, name
                _merge(merged, definition)
                # An empty definition is one as well.
                merged.setdefault("dhcp4", False)
                del definitions[name]
                if not definitions:
                    del network[kind]
                changed.append(path)
    return Definition(section, identifier, merged, remaining, tuple(changed))


def _quoted(text: str) -> str:
    """Quote a text for YAML, where JSON's pairs of surrogates would be two characters."""
    plain = (char if char.isprintable() and char not in '"\\' else f"\\U{ord(char):08X}" for char in text)
    return f'"{"".join(plain)}"'


def uplink_text(*, interface: str, wifi: Wifi | None) -> str:
    """Write a file for what connects a head to the outside; without python3-yaml, which a head may lack."""
    lines = [
        "network:",
        "  version: 2",
        "  wifis:" if wifi else "  ethernets:",
        f"    {json.dumps(interface)}:",
    ]
    # Whether it comes up or not, the boot goes on.
    lines += ["      dhcp4: true", "      optional: true"]
    if wifi:
        lines.append("      access-points:")
        for ssid, settings in access_points(wifi, first_boot=False).items():
            lines.append(f"        {_quoted(ssid)}: {json.dumps(settings)}")
    return MANAGED + "\n".join(lines) + "\n"


class Netplan(Manager):
    """netplan, and what stands behind it."""

    name = NETPLAN
    program = "netplan"
    backend = NETWORKD

    def detect(self, *, node: Node, interface: str) -> Claim | None:
        """Return nothing: what configures the interface for netplan says so itself."""
        return None

    def is_available(self, *, node: Node) -> bool:
        """Tell whether it is configured."""
        return bool(node.glob(f"{NETPLAN_FOLDER}/*.yaml"))

    def check_installed(self, *, node: Node, claim: Claim) -> None:
        """Refuse a node that lacks netplan, or what reads its files."""
        super().check_installed(node=node, claim=claim)
        if not netplan_yaml.HAS_YAML:
            raise NetworkError("netplan's files cannot be read: install the package python3-yaml on the node")

    def render(self, *, node: Node, settings: Settings, claim: Claim) -> list[File]:
        """Move the definition of the interface into a file of its own."""
        found, definition = self._definition(node, settings, claim)
        own = found.documents.setdefault(NETPLAN_FILE, {})
        network = own.setdefault("network", {})
        network["version"] = 2
        network.setdefault(found.section, {})[found.identifier] = definition
        files = []
        for path, document in found.documents.items():
            if path != NETPLAN_FILE and path not in found.changed:
                continue
            if not path.startswith(f"{NETPLAN_FOLDER}/"):
                raise NetworkError(
                    f"{path} defines {settings.interface}, and is not the owner's to change; expected a "
                    f"definition in {NETPLAN_FOLDER}: remove what writes that file"
                )
            text = MANAGED if path == NETPLAN_FILE else f"# {settings.interface} is in {NETPLAN_FILE}.\n"
            text += netplan_yaml.dump(document, sort_keys=path == NETPLAN_FILE)
            files.append(File(path, text, 0o600))
        return files

    def apply(self, *, node: Node, settings: Settings, claim: Claim) -> Commands:
        """Have netplan write what its backend reads, and that one read it."""
        generate = command(["netplan", "generate"])
        if claim.backend == NETWORKMANAGER:
            found, definition = self._definition(node, settings, claim)
            passed = netplan_yaml.mapping(definition.get("networkmanager"))
            commands = activate(
                node=node,
                settings=settings,
                claim=claim,
                load=command(["nmcli", "connection", "reload"]),
                profile=str(passed.get("uuid") or passed.get("name") or f"netplan-{found.identifier}"),
            )
        else:
            again = reconfigure(settings.interface)
            commands = Commands((), again, again)
        return Commands((), (generate, *commands.after), (generate, *commands.restore_after), (generate,))

    def render_uplink(self, *, interface: str, wifi: Wifi | None) -> list[File]:
        """Write a file of its own, which may hold a key."""
        text = uplink_text(interface=interface, wifi=wifi)
        return [File(f"{NETPLAN_FOLDER}/90-{UPLINK}.yaml", text, 0o600)]

    def apply_uplink(self, *, interface: str, wifi: Wifi | None) -> list[list[str]]:
        """Have it write and apply everything."""
        return [["netplan", "apply"]]

    def renew(self, *, interface: str, claim: Claim) -> list[str]:
        """Have what stands behind it renew the lease."""
        backend = NetworkManager() if claim.backend == NETWORKMANAGER else Networkd()
        return backend.renew(interface=interface, claim=claim)

    def _definition(self, node: Node, settings: Settings, claim: Claim) -> tuple[Definition, dict[str, Any]]:
        """Take the definition of the interface out of the files; return it also as it is to be."""
        documents = {path: netplan_yaml.load(text=node.read(path), path=path) for path in _present(node)}
        found = take_out(interface=settings.interface, documents=documents, devices=node.devices())
        renderer = "NetworkManager" if claim.backend == NETWORKMANAGER else "networkd"
        return found, static_definition(settings=settings, definition=found.definition, renderer=renderer)


def _present(node: Node) -> list[str]:
    """Return netplan's files."""
    return [
        path
        for folder in _FOLDERS
        # /lib is a link to /usr/lib on all but old systems.
        if not node.link(os.path.dirname(folder))
        for path in node.glob(f"{folder}/*.yaml")
    ]


def check(*, node: Node, files: Sequence[File]) -> None:
    """Have netplan's own parser validate the files."""
    with tempfile.TemporaryDirectory() as folder:
        for source in _FOLDERS:
            for path in node.glob(f"{source}/*.yaml"):
                write_text(folder + path, node.read(path), mode=0o600)
        for file in files:
            if file.path.startswith(NETPLAN_FOLDER):
                write_text(folder + file.path, file.text, mode=0o600)
        status, stdout, stderr = node.run(["netplan", "generate", "--root-dir", folder])
    if status != 0:
        raise NetworkError(
            f"netplan refuses the configuration: {(stderr or stdout).strip().replace(folder, '')}; "
            f"nothing was changed: fix the files in {NETPLAN_FOLDER} on the node"
        )
