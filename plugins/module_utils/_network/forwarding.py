# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Forwarding and NAT on the head: files, unit, rules and the kernel's parameters, brought into effect."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from ansible_collections.bramble.pi.plugins.module_utils._common.addresses import interface_addresses
from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.commands import SBIN, Runner, output_of
from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text
from ansible_collections.bramble.pi.plugins.module_utils._common.systemd import Systemd
from ansible_collections.bramble.pi.plugins.module_utils._network import nat


class Forwarding:
    """Makes this node the default gateway of the rack."""

    def __init__(self, *, run: Runner, find: Callable[[str], str | None], changes: Changes) -> None:
        self._run = run
        self._find = find
        self._changes = changes
        self._systemd = Systemd(run=run, changes=changes)

    def _program(self, name: str) -> str:
        path = self._find(name)
        # In check mode the packages may be yet to come; this is where they put their programs.
        if path is None and self._changes.check_mode:
            return f"{SBIN[0]}/{name}"
        if path is None:
            raise nat.NatError(f"{name} is not installed; expected the packages nftables and iptables")
        return path

    def _succeeds(self, *command: str) -> bool:
        return os.path.exists(command[0]) and self._run(list(command))[0] == 0

    def _is_loaded(self, programs: nat.Programs, *, ipv6: str) -> bool:
        """Tell whether the rules are where they were loaded to, as others may have flushed them."""
        filters = [programs.iptables] + ([programs.ip6tables] if ipv6 == nat.ROUTED else [])
        return self._succeeds(programs.nft, "list", "table", "inet", nat.TABLE) and all(
            self._succeeds(program, "--wait", "--check", "FORWARD", "--jump", nat.CHAIN)
            for program in filters
        )

    def _set(self, path: str, value: str) -> None:
        if (read_text(path) or "").strip() == value:
            return
        if self._changes.note(f"set {path} to {value}"):
            with open(path, "w", encoding="ascii") as file:
                file.write(f"{value}\n")

    def ensure(self, *, inner: str, outer: str, ipv6: str, cluster_networks: Sequence[str]) -> None:
        """Ensure that the rack has its default gateway."""
        nat.check_interfaces(inner=inner, outer=outer, existing=os.listdir("/sys/class/net"))
        nat.check_networks(
            inner=inner,
            outer=outer,
            addresses=interface_addresses(self._run),
            cluster_networks=cluster_networks,
        )
        programs = nat.Programs(*(self._program(name.replace("_", "-")) for name in nat.Programs._fields))
        files = nat.files(inner=inner, outer=outer, ipv6=ipv6, programs=programs)
        parameters = files.pop(nat.SYSCTL)
        rewritten = [path for path, text in files.items() if self._changes.write(path, text)]
        if rewritten:
            self._check_rules(programs)
        changed = bool(rewritten) or not self._is_loaded(programs, ipv6=ipv6)
        self._systemd.ensure_running(nat.UNIT, changed=changed, files=files)
        # Nothing is forwarded before what filters it is there, neither now nor at a boot.
        self._changes.write(nat.SYSCTL, parameters)
        for name, value in nat.kernel_parameters(outer=outer, ipv6=ipv6).items():
            self._set(f"/proc/sys/{name}", value)

    def _check_rules(self, programs: nat.Programs) -> None:
        """Refuse rules that the kernel would not take, before those that are in force are taken out."""
        if self._changes.check_mode:
            return
        remedy = "nothing was loaded: look at 'dmesg', and whether the kernel was updated (then reboot)"
        output_of(self._run, [programs.nft, "--check", "--file", nat.RULES], remedy=remedy)
        restore = [programs.iptables_restore, "--wait", "--noflush", "--test", nat.IPTABLES_RULES]
        output_of(self._run, restore, remedy=remedy)
