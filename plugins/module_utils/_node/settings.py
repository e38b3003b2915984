# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the files behind a node's settings should say, decided from what they say now."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._common.values import described, mapping_problem

MANAGED = "# Managed by bramble.pi (bramble.pi.node_settings); changes are overwritten.\n"
HOSTS_BEGIN = "# BEGIN bramble.pi"
HOSTS_END = "# END bramble.pi"
FSTAB_MARK = "# swap off by bramble.pi: "

_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
HOST_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*", re.ASCII)
#: The kernel's limit (HOST_NAME_MAX).
HOST_NAME_LENGTH = 64
_MODULE = re.compile(r"[A-Za-z0-9_-]+")
_LINE = re.compile(r"[^\n]+")
_SYSCTL_KEY = re.compile(r"[A-Za-z0-9_-]+([./][A-Za-z0-9_:.-]+)+")

# Built-in code without parameters has no folder in /sys/module; this shows that it is there nevertheless.
_OTHER_EVIDENCE = {"br_netfilter": ["/proc/sys/net/bridge"]}


class SettingsError(BrambleError):
    """A setting that cannot be put into effect; the text says why and how to fix it."""


def check_hostname(hostname: str) -> None:
    """Refuse what Kubernetes would not take as a node's name (RFC 1123, lower case)."""
    if (
        HOST_NAME.fullmatch(hostname) is None
        or len(hostname) > HOST_NAME_LENGTH
        or re.fullmatch(r"[0-9.]+", hostname)
    ):
        raise SettingsError(
            f"the host name is {hostname!r}; expected a-z, 0-9 and hyphens (RFC 1123), not digits alone, "
            f"with at most {HOST_NAME_LENGTH} characters: rename the host in hosts.yml, or set "
            "os_prep_hostname"
        )


def check_names(names: Iterable[str], *, address: str) -> None:
    """Refuse names that /etc/hosts cannot hold, or that no resolver asks for."""
    for name in names:
        if not HOST_NAME.fullmatch(name.lower()):
            raise SettingsError(
                f"a name of {address} is {name!r}; expected letters, digits and hyphens, as /etc/hosts is to "
                "have it on every node: rename the host in hosts.yml, or set os_prep_hostname"
            )


def check_hosts(entries: Iterable[Mapping[str, Any]]) -> None:
    """Refuse entries that /etc/hosts cannot hold."""
    for entry in entries:
        try:
            ipaddress.ip_address(entry["address"])
        except ValueError:
            raise SettingsError(
                f"hosts has the address {entry['address']!r} for {' '.join(entry['names'])}; expected an"
                " IPv4 or IPv6 address"
            ) from None
        check_names(entry["names"], address=entry["address"])
        if not entry["names"]:
            raise SettingsError(f"hosts has no names for {entry['address']}; expected at least one")


def check_modules(modules: Iterable[str]) -> None:
    """Refuse what cannot be the name of a kernel module."""
    for name in modules:
        if not _MODULE.fullmatch(name):
            raise SettingsError(
                f"a kernel module is {name!r}; expected its name, of letters, digits, - and _: set "
                "os_prep_kernel_modules"
            )


def check_sysctl(settings: Mapping[str, Any]) -> None:
    """Refuse what sysctl.d cannot hold."""
    keys_problem = mapping_problem(settings)
    if keys_problem:
        raise SettingsError(f"the kernel's settings {keys_problem}: set os_prep_sysctl")
    for key, value in settings.items():
        if not _SYSCTL_KEY.fullmatch(key):
            raise SettingsError(
                f"a kernel's setting is {key!r}; expected one such as net.ipv4.ip_forward: set os_prep_sysctl"
            )
        if isinstance(value, bool) or not isinstance(value, (int, str)) or not _LINE.fullmatch(str(value)):
            raise SettingsError(
                f"the kernel's setting {key} is {described(value)}; expected a whole number or one line of "
                "text: set os_prep_sysctl"
            )


def hostname_text(*, text: str, hostname: str) -> str:
    """Return what /etc/hostname should say; a file that means the same is left as it is."""
    lines = [line.strip() for line in text.splitlines()]
    if [line for line in lines if line and not line.startswith("#")] == [hostname]:
        return text
    return f"{hostname}\n"


def cloud_init_text(*, hostname: bool) -> str:
    """Return the drop-in by which cloud-init leaves alone what is managed here."""
    return MANAGED + ("preserve_hostname: true\n" if hostname else "") + "manage_etc_hosts: false\n"


def _own_line(line: str, hostname: str) -> str:
    """Let a line ``127.0.1.1 oldname.domain oldname`` (Debian's custom) follow the host name."""
    match = re.fullmatch(r"(127\.0\.1\.1\s+)([^#]*?)(\s*(?:#.*)?)", line)
    if not match:
        return line
    # Names in cloud-init's template of this file are such as {{ fqdn }}.
    names = re.findall(r"\{\{.*?\}\}|\S+", match.group(2))
    if hostname in names:
        return line
    old = names[0].partition(".")[0] if names else ""
    following = [
        hostname + name[len(old) :] if name == old or name.startswith(f"{old}.") else name for name in names
    ]
    return match.group(1) + " ".join(dict.fromkeys(following)) + match.group(3)


def hosts_text(
    *, text: str, hostname: str | None = None, entries: Sequence[Mapping[str, Any]] | None = None
) -> str:
    """Return what a hosts file should say: one marked block of entries, the rest as it was.

    With a host name, the line 127.0.1.1 follows it. No entries (but not None) take the block away.
    """
    lines = text.removesuffix("\n").split("\n") if text else []
    if hostname is not None:
        lines = [_own_line(line, hostname) for line in lines]
    if entries is not None:
        begins = [number for number, line in enumerate(lines) if line.strip() == HOSTS_BEGIN]
        ends = [number for number, line in enumerate(lines) if line.strip() == HOSTS_END]
        if len(begins) > 1 or len(begins) != len(ends) or begins > ends:
            numbers = ", ".join(str(number + 1) for number in sorted(begins + ends))
            raise SettingsError(
                f"the marks {HOSTS_BEGIN!r} and {HOSTS_END!r} stand in lines {numbers}; expected one"
                " pair, in this order, or none: take the wrong lines out by hand"
            )
        block = [f"{entry['address']} {' '.join(entry['names'])}" for entry in entries]
        if block:
            block = [HOSTS_BEGIN, *block, HOSTS_END]
        if begins:
            lines[begins[0] : ends[0] + 1] = block
        else:
            lines += block
    return "".join(f"{line}\n" for line in lines)


def hosts_conflicts(*, text: str, entries: Iterable[Mapping[str, Any]]) -> list[str]:
    """Name the lines before the block that give a name of the block another address: the first line wins."""
    desired = {
        (name, ":" in entry["address"]): entry["address"] for entry in entries for name in entry["names"]
    }
    conflicts = []
    for line in text.split(f"{HOSTS_BEGIN}\n", maxsplit=1)[0].split("\n"):
        address, *names = line.partition("#")[0].split() or [""]
        # Debian's own line for the host itself is meant to be so.
        if address == "127.0.1.1":
            continue
        for name in names:
            other = desired.get((name, ":" in address), address)
            if other != address:
                conflicts.append(f"{address} {name} (expected {other})")
    return conflicts


def modules_text(*, modules: Sequence[str]) -> str:
    """Return what modules-load.d should say."""
    return MANAGED + "".join(f"{name}\n" for name in modules)


def module_evidence(name: str) -> list[str]:
    """Return paths of which each shows that a module is loaded or built in."""
    return [f"/sys/module/{name.replace('-', '_')}", *_OTHER_EVIDENCE.get(name, [])]


def is_built_in(*, module: str, filesystems: str, modules_builtin: str) -> bool:
    """Tell whether a module is part of the kernel, by /proc/filesystems or modules.builtin."""
    name = module.replace("-", "_")
    if name in filesystems.split():
        return True
    return any(
        line.rsplit("/", 1)[-1].partition(".ko")[0].replace("-", "_") == name
        for line in modules_builtin.split()
    )


def sysctl_text(*, settings: Mapping[str, Any]) -> str:
    """Return what sysctl.d should say."""
    return MANAGED + "".join(f"{key} = {value}\n" for key, value in settings.items())


def sysctl_path(key: str) -> str:
    """Return the file of a key; where its first separator is a slash, dots belong to names (sysctl.d(5))."""
    separator = re.search(r"[./]", key)
    if separator and separator.group() == ".":
        key = key.translate(str.maketrans("./", "/."))
    return f"/proc/sys/{key}"


def sysctl_values(text: str) -> dict[str, str]:
    """Return the assignments of a sysctl.d file, by the path of their key."""
    values = {}
    for line in text.splitlines():
        key, equals, value = line.strip().partition("=")
        if equals and key and key[0] not in "#;":
            values[sysctl_path(key.strip().lstrip("-"))] = " ".join(value.split())
    return values


def is_same_sysctl(*, running: str, desired: Any) -> bool:
    """Compare values as the kernel does: blanks and tabs between numbers are one."""
    return running.split() == str(desired).split()


def fstab_without_swap(*, text: str) -> str:
    """Return fstab with its swap lines commented out."""
    return "\n".join(FSTAB_MARK + line if _is_swap(line) else line for line in text.split("\n"))


def _is_swap(fstab_line: str) -> bool:
    fields = fstab_line.split()
    return len(fields) >= 3 and not fields[0].startswith("#") and fields[2] == "swap"
