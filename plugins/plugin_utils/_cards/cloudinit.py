# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a card holds for cloud-init: user-data, meta-data and network-config, built as data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml
from ansible_collections.bramble.pi.plugins.module_utils._network.wifi import access_points, wpa_supplicant
from ansible_collections.bramble.pi.plugins.plugin_utils._cards.node import CardNode, HostKey
from ansible_collections.bramble.pi.plugins.plugin_utils._inventory.addresses import parse_interface

HEADER = "#cloud-config"
#: Of these, only Raspberry Pi's own cloud-init knows; it is no mistake that the one here does not.
RASPBERRY_PI_KEYS = ("enable_ssh", "rpi")
#: cloud-init 0.7.9, as HypriotOS has it.
LEGACY = "cloudinit-legacy"
RASPBERRY_PI_OS = "cloudinit-rpi"
FORMATS = ("cloudinit", RASPBERRY_PI_OS, LEGACY)

_GROUPS = {
    "cloudinit": ["adm", "sudo", "users"],
    # What the first user of these systems is in.
    RASPBERRY_PI_OS: [
        *("users", "adm", "dialout", "audio", "netdev", "video", "plugdev", "cdrom"),
        *("games", "input", "gpio", "spi", "i2c", "render", "sudo"),
    ],
    LEGACY: ["adm", "sudo", "users", "docker", "video", "input"],
}

#: Runs at each boot before cloud-init sets up users, keys and files.
#:
#: A power cut seconds after the first boot leaves files empty that cloud-init believes to be written:
#: authorized_keys, host keys, sudoers. So the end of a first boot is noted down once all is on the card, and
#: a boot that finds no such note makes cloud-init do everything of this instance again. After some vain tries
#: it is left alone, lest commands of the user's own run at each boot for ever.
#:
#: The host name is set here as well: cloud-init up to 22.4 notes it down in a file that it cannot read when
#: it is empty, and then does nothing at all at any later boot, not even this.
_GUARD = """\
state=/var/lib/bramble/first-boot
cloud=/var/lib/cloud
if [ "$(cat $state/done 2>/dev/null)" != "$INSTANCE_ID" ]; then
  echo {hostname} > /etc/hostname
  hostname {hostname}
  mkdir -p $state
  begun=$(grep -cxF "$INSTANCE_ID" $state/begun 2>/dev/null) || begun=0
  sync
  echo "$INSTANCE_ID" >> $state/begun
  sync
{network}\
  if [ "$begun" -gt 0 ] && [ "$begun" -lt 4 ]; then
    echo "bramble.pi: the first boot was cut off; what it does is done again" >&2
    rm -f "$cloud/instances/$INSTANCE_ID/sem/"* $cloud/sem/*
    [ -s /etc/sudoers.d/90-cloud-init-users ] || rm -f /etc/sudoers.d/90-cloud-init-users
    for file in .profile .bashrc .bash_logout; do
      [ -s /home/{user}/$file ] || install -o {user} -m 0644 /etc/skel/$file /home/{user}/$file
    done
  fi
fi
"""

#: The network is set up before this point, and for a new instance only. Here it is put on the card. A cut
#: before that is told by cloud-init having known the instance at an earlier boot; it is made to forget it.
_NETWORK_GUARD = """\
  if [ "$begun" -eq 0 ] && [ "$(cat $cloud/data/previous-instance-id 2>/dev/null)" = "$INSTANCE_ID" ]; then
    echo "bramble.pi: the first boot was cut off; cloud-init begins again" >&2
    rm -rf $cloud/instance $cloud/instances $cloud/data $cloud/sem
    sync
    reboot -f
  fi
"""

#: The end of a first boot: everything is on the card before the note that says so is.
FIRST_BOOT_DONE = """\
state=/var/lib/bramble/first-boot
mkdir -p $state
sync
cp /var/lib/cloud/data/instance-id $state/done.new
sync
mv $state/done.new $state/done
sync
"""

#: Raspberry Pi OS makes SSH host keys at its first boot whatever cloud-init wrote: its service is taken off
#: the list of what this boot has yet to do.
KEEP_HOST_KEYS = """\
systemctl --quiet disable regenerate_ssh_host_keys.service 2>/dev/null
systemctl --quiet --no-block stop regenerate_ssh_host_keys.service 2>/dev/null
true
"""


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as such, so that a person can read the document."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def dump(data: Mapping[str, Any]) -> str:
    """Write a document, in the order of its keys."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000)


def merge(ours: Any, theirs: Any) -> Any:
    """Merge the user's own data: mappings key by key, lists appended, anything else replaced."""
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        added = {key: value for key, value in theirs.items() if key not in ours}
        return {
            **{key: merge(value, theirs[key]) if key in theirs else value for key, value in ours.items()},
            **added,
        }
    if isinstance(ours, list) and isinstance(theirs, list):
        return ours + theirs
    return theirs


def _first_boot_guard(node: CardNode, init_format: str) -> str:
    """Return what makes a first boot survive a power cut; 0.7.9 sets up the network with the other files."""
    network = "" if init_format == LEGACY else _NETWORK_GUARD
    return (
        _GUARD.replace("{network}", network).replace("{hostname}", node.hostname).replace("{user}", node.user)
    )


def user_data(*, node: CardNode, init_format: str, host_key: HostKey) -> dict[str, Any]:
    """Return the user-data of a node, the user's own data merged in."""
    user: dict[str, Any] = {
        "name": node.user,
        "groups": _GROUPS[init_format],
        "shell": "/bin/bash",
        "sudo": "ALL=(ALL) NOPASSWD:ALL",
        "lock_passwd": not node.password_hash,
    }
    if node.password_hash:
        # The second is given to a user that is there already as well; 0.7.9 knows only the first.
        user["passwd" if init_format == LEGACY else "hashed_passwd"] = node.password_hash
    user["ssh_authorized_keys"] = list(node.authorized_keys)
    data: dict[str, Any] = {
        "hostname": node.hostname,
        "preserve_hostname": True,
        # Only the line of the node itself: other lines of /etc/hosts are not cloud-init's.
        "manage_etc_hosts": "localhost",
        "users": [user],
        "ssh_pwauth": False,
        "ssh_deletekeys": True,
        "ssh_keys": {"ed25519_private": host_key.private, "ed25519_public": host_key.public},
    }
    if init_format == RASPBERRY_PI_OS:
        data["enable_ssh"] = True
    if node.timezone:
        data["timezone"] = node.timezone
    if init_format == LEGACY:
        data["write_files"] = _ifupdown_files(node)
    data = merge(data, node.user_data)
    # The guard comes before whatever the user's own commands may do, and the note after it.
    guard = [KEEP_HOST_KEYS] if init_format == RASPBERRY_PI_OS else []
    data["bootcmd"] = [_first_boot_guard(node, init_format), *guard, *data.get("bootcmd", [])]
    data["runcmd"] = [*_commands(node, init_format), *data.get("runcmd", []), FIRST_BOOT_DONE]
    return data


def _commands(node: CardNode, init_format: str) -> list[str]:
    if init_format == LEGACY:
        # 0.7.9 may have written the files after the network was started.
        return [f"ifup {interface} || true" for interface in _interfaces(node)]
    if init_format == RASPBERRY_PI_OS and node.wifi_ssid:
        # Wi-Fi is off until a country is set.
        return ["rfkill unblock wifi || true"]
    return []


def meta_data(*, init_format: str, instance_id: str) -> dict[str, Any]:
    """Return the meta-data."""
    # Local: users and keys are there before the network is, as in the images of Raspberry Pi OS and Ubuntu.
    return {"instance-id": instance_id, **({} if init_format == LEGACY else {"dsmode": "local"})}


def network_config(*, node: CardNode, init_format: str) -> dict[str, Any]:
    """Return the network-config, which is netplan's form but for the key ``network`` around it."""
    if init_format == LEGACY:
        # The network is in files of ifupdown's, and cloud-init's own would stand beside them.
        return {"config": "disabled"}
    config: dict[str, Any] = {"version": 2}
    if not node.interface_is_wifi:
        config["ethernets"] = {node.interface: _addresses(node)}
        if node.wifi_ssid:
            # A cable that is not plugged in does not hold up the boot.
            config["ethernets"][node.interface]["optional"] = True
    if node.wifi_ssid:
        wifi: dict[str, Any] = _addresses(node) if node.interface_is_wifi else {"dhcp4": True}
        if init_format == RASPBERRY_PI_OS:
            wifi["regulatory-domain"] = node.wifi_country
        wifi["access-points"] = access_points(node.wifi, first_boot=True)
        config["wifis"] = {node.wifi_interface: wifi}
    return config


def _interfaces(node: CardNode) -> list[str]:
    return list(dict.fromkeys([node.interface, *([node.wifi_interface] if node.wifi_ssid else [])]))


def _addresses(node: CardNode) -> dict[str, Any]:
    config: dict[str, Any] = {"dhcp4": not node.address}
    if node.address:
        config["addresses"] = [node.address]
        if node.gateway:
            # Written so, every version of netplan and of cloud-init's other renderers understands it.
            config["routes"] = [{"to": "0.0.0.0/0", "via": node.gateway}]
    nameservers = {"addresses": list(node.resolvers), "search": list(node.search)}
    if any(nameservers.values()):
        config["nameservers"] = {key: value for key, value in nameservers.items() if value}
    return config


def _ifupdown_files(node: CardNode) -> list[dict[str, str]]:
    files = [
        {"path": f"/etc/network/interfaces.d/{name}", "content": _stanza(node, name)}
        for name in _interfaces(node)
    ]
    if node.resolvers or node.search:
        # The second is what dhcpcd and resolvconf put first into the first.
        for path in ("/etc/resolv.conf", "/etc/resolv.conf.head"):
            files.append({"path": path, "content": resolv_conf(node)})
    if node.wifi_ssid:
        path = "/etc/wpa_supplicant/wpa_supplicant.conf"
        files.append(
            {"path": path, "permissions": "0600", "content": wpa_supplicant(node.wifi, first_boot=True)}
        )
    return files


def _stanza(node: CardNode, name: str) -> str:
    lines = [f"allow-hotplug {name}"]
    if name == node.interface and node.address:
        interface = parse_interface(node.address)
        lines += [
            f"iface {name} inet static",
            f"    address {interface.ip}",
            f"    network {interface.network}",
            f"    netmask {interface.netmask}",
            f"    broadcast {interface.broadcast}",
            *([f"    gateway {node.gateway}"] if node.gateway else []),
        ]
    else:
        lines.append(f"iface {name} inet dhcp")
    if node.wifi_ssid and name == node.wifi_interface:
        lines.append("    wpa-conf /etc/wpa_supplicant/wpa_supplicant.conf")
    return "\n".join(lines) + "\n"


def resolv_conf(node: CardNode) -> str:
    """Return the resolver's configuration."""
    search = [f"search {' '.join(node.search)}"] if node.search else []
    return "\n".join([*search, *(f"nameserver {address}" for address in node.resolvers)]) + "\n"
