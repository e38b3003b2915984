# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a card holds for Raspberry Pi OS before cloud-init: ssh, userconf.txt, and a script for the rest.

Raspberry Pi's own imager does the same: systemd runs the script instead of a whole boot, and then reboots.
"""

from __future__ import annotations

import shlex
import uuid
from collections.abc import Iterator

from ansible_collections.bramble.pi.plugins.module_utils._network.wifi import keyfile_sections, wpa_supplicant
from ansible_collections.bramble.pi.plugins.plugin_utils._cards.node import CardNode, HostKey

FORMAT = "systemd"
#: Matches no password; the user may still log in by key, which "!" would forbid where PAM is not asked.
NO_PASSWORD = "*"  # noqa: S105 - the opposite of one
SCRIPT = "firstrun.sh"
_CONNECTIONS = "/etc/NetworkManager/system-connections"

CMDLINE_TOKENS = (
    # Up to bullseye the partition is mounted at /boot, later at /boot/firmware; the other one may be missing.
    f"systemd.run=-/boot/firmware/{SCRIPT}",
    f"systemd.run=-/boot/{SCRIPT}",
    "systemd.run_success_action=reboot",
    "systemd.unit=kernel-command-line.target",
)

#: A file is on the card before its name is, so a power cut leaves the old one or the new.
_BEGIN = """\
#!/bin/sh
# Makes this card a node of the rack, by bramble.pi. A power cut in between is no harm: it runs again.
umask 077
boot=$(dirname "$(readlink -f "$0")")
put() { # MODE FILE: take standard input
  mkdir -p "$(dirname "$2")"
  cat > "$2.new" && chmod "$1" "$2.new" && sync && mv "$2.new" "$2"
}
"""

#: userconf is there from April 2022 on; before that the user is pi.
_USER = """
hash=$(sed -n '1s/^[^:]*://p' "$boot/userconf.txt")
first=$(getent passwd 1000 | cut -d: -f1)
if [ -n "$hash" ] && [ -x /usr/lib/userconf-pi/userconf ]; then
  /usr/lib/userconf-pi/userconf "$user" "$hash"
elif [ -n "$hash" ]; then
  if [ "$first" != "$user" ]; then
    usermod -l "$user" "$first"
    usermod -m -d "/home/$user" "$user"
    groupmod -n "$user" "$first"
  fi
  echo "$user:$hash" | chpasswd -e
fi
home=$(getent passwd "$user" | cut -d: -f6)
install -d -m 0700 -o "$user" -g "$user" "$home/.ssh"
"""

#: The keys of the image are those of every other card.
_HOST_KEYS = """
rm -f /etc/ssh/ssh_host_*
systemctl --quiet disable regenerate_ssh_host_keys 2>/dev/null
"""

_SSH = """
printf 'PasswordAuthentication no\\n' | put 0644 /etc/ssh/sshd_config.d/00-bramble.conf
systemctl --quiet enable ssh
"""

_RADIO = """
command -v raspi-config >/dev/null && raspi-config nonint do_wifi_country "$country"
rfkill unblock wifi 2>/dev/null
for file in /var/lib/systemd/rfkill/*:wlan; do
  [ -f "$file" ] && echo 0 > "$file"
done
"""

#: The command line loses what made this run before the script goes; the other way round nothing would boot.
_END = f"""
sync
sed -i -E 's/ systemd\\.(run|run_success_action|unit)=[^ ]*//g' "$boot/cmdline.txt"
sync
rm -f "$boot/userconf.txt" "$boot/{SCRIPT}"
sync
exit 0
"""


def files(*, node: CardNode, host_key: HostKey) -> dict[str, str]:
    """Return the files of the boot partition."""
    return {
        "ssh": "",
        "userconf.txt": f"{node.user}:{node.password_hash or NO_PASSWORD}\n",
        SCRIPT: "".join(_script(node, host_key)),
    }


def _put(mode: str, path: str, text: str) -> str:
    return f"printf %s {shlex.quote(text)} | put {mode} {shlex.quote(path)}\n"


def _script(node: CardNode, host_key: HostKey) -> Iterator[str]:
    yield _BEGIN
    yield f"\nuser={shlex.quote(node.user)}\nname={shlex.quote(node.hostname)}\n"
    yield 'echo "$name" | put 0644 /etc/hostname\n'
    yield 'sed "s/^127\\.0\\.1\\.1.*/127.0.1.1\\t$name/" /etc/hosts | put 0644 /etc/hosts\n'
    yield _USER
    keys = "".join(f"{key}\n" for key in node.authorized_keys)
    yield f'printf %s {shlex.quote(keys)} | put 0600 "$home/.ssh/authorized_keys"\n'
    yield 'chown "$user:$user" "$home/.ssh/authorized_keys"\n'
    yield 'echo "$user ALL=(ALL) NOPASSWD: ALL" | put 0440 /etc/sudoers.d/010_bramble\n'
    yield _HOST_KEYS
    yield _put("0600", "/etc/ssh/ssh_host_ed25519_key", host_key.private)
    yield _put("0644", "/etc/ssh/ssh_host_ed25519_key.pub", host_key.public)
    yield _SSH
    if node.timezone:
        yield f"\nln -sf {shlex.quote(f'/usr/share/zoneinfo/{node.timezone}')} /etc/localtime\n"
        yield _put("0644", "/etc/timezone", f"{node.timezone}\n")
    if node.wifi_ssid:
        yield f"\ncountry={node.wifi_country}\n"
        yield _RADIO
    yield from _network(node)
    yield _END


def _network(node: CardNode) -> Iterator[str]:
    if not node.address and not node.wifi_ssid and not node.resolvers and not node.search:
        return
    yield "\nif systemctl --quiet is-enabled NetworkManager 2>/dev/null; then\n"
    for name, text in _keyfiles(node):
        yield _put("0600", f"{_CONNECTIONS}/{name}.nmconnection", text)
    yield "else\n"
    yield "sed -i '/^# bramble.pi: begin/,/^# bramble.pi: end/d' /etc/dhcpcd.conf\n"
    if node.address or node.resolvers or node.search:
        yield f"printf %s {shlex.quote(_dhcpcd(node))} >> /etc/dhcpcd.conf\n"
    if node.wifi_ssid:
        yield _put(
            "0600", "/etc/wpa_supplicant/wpa_supplicant.conf", wpa_supplicant(node.wifi, first_boot=True)
        )
    yield "fi\n"


def _keyfiles(node: CardNode) -> Iterator[tuple[str, str]]:
    if not node.interface_is_wifi:
        yield node.interface, _keyfile(node, node.interface)
    if node.wifi_ssid:
        wifi = keyfile_sections(node.wifi, first_boot=True)
        yield node.wifi_interface, _keyfile(node, node.wifi_interface, wifi)


def _keyfile(node: CardNode, interface: str, wifi: str = "") -> str:
    own = interface == node.interface
    ipv4 = ["method=auto"]
    if own and node.address:
        gateway = f",{node.gateway}" if node.gateway else ""
        ipv4 = ["method=manual", f"address1={node.address}{gateway}"]
    if own and node.resolvers:
        ipv4.append(f"dns={';'.join(node.resolvers)};")
    if own and node.search:
        ipv4.append(f"dns-search={';'.join(node.search)};")
    lines = [
        "[connection]",
        f"id={interface}",
        f"uuid={uuid.uuid5(uuid.NAMESPACE_DNS, f'{interface}.{node.hostname}')}",
        f"type={'wifi' if wifi else 'ethernet'}",
        f"interface-name={interface}",
        "",
        *wifi.splitlines(),
        "[ipv4]",
        *ipv4,
        "",
        "[ipv6]",
        "method=auto",
    ]
    return "\n".join(lines) + "\n"


def _dhcpcd(node: CardNode) -> str:
    lines = ["# bramble.pi: begin", f"interface {node.interface}"]
    if node.address:
        lines.append(f"static ip_address={node.address}")
    if node.gateway:
        lines.append(f"static routers={node.gateway}")
    if node.resolvers:
        lines.append(f"static domain_name_servers={' '.join(node.resolvers)}")
    if node.search:
        lines.append(f"static domain_search={' '.join(node.search)}")
    return "\n".join([*lines, "# bramble.pi: end"]) + "\n"
