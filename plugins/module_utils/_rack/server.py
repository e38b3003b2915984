# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The DHCP, DNS and time server of the rack: files and leases, brought into effect."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence

from ansible_collections.bramble.pi.plugins.module_utils._common.addresses import interface_addresses
from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.commands import Runner, output_of
from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text
from ansible_collections.bramble.pi.plugins.module_utils._common.systemd import Systemd
from ansible_collections.bramble.pi.plugins.module_utils._rack import services as rack_services
from ansible_collections.bramble.pi.plugins.module_utils._rack.services import (
    Host,
    Move,
    RackServicesError,
    Services,
)


class RackServer:
    """Makes this node the one that gives the services."""

    def __init__(
        self,
        *,
        run: Runner,
        find: Callable[[str], str | None],
        changes: Changes,
        warn: Callable[[str], None],
    ) -> None:
        self._run = run
        self._find = find
        self._changes = changes
        self._warn = warn
        self._systemd = Systemd(run=run, changes=changes)

    def _test(self, text: str) -> None:
        """Have dnsmasq validate its configuration before it takes the place of the former one."""
        dnsmasq = self._find("dnsmasq")
        # In check mode the package may be yet to come.
        if dnsmasq is None and self._changes.check_mode:
            return
        if dnsmasq is None:
            raise RackServicesError("dnsmasq is not installed; expected the packages dnsmasq and chrony")
        with tempfile.NamedTemporaryFile("w", prefix="bramble-", suffix=".conf", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            output_of(
                self._run,
                [dnsmasq, "--test", f"--conf-file={file.name}"],
                remedy="see rack_services_dnsmasq_options, rack_services_lease_time and the hosts' names",
            )

    def ensure(self, services: Services, *, release: bool) -> list[Move]:
        """Ensure that the rack has its services; return which hosts have to move."""
        try:
            rack_services.check(services, addresses=interface_addresses(self._run))
        except RackServicesError as error:
            # In check mode the address may be yet to come.
            if not self._changes.check_mode:
                raise
            self._warn(str(error))
        configuration = rack_services.dnsmasq_configuration(services)
        self._test(configuration)
        before = read_text(rack_services.LEASES) or ""
        leases, moves = rack_services.stale_leases(text=before, hosts=services.hosts)
        changed = self._changes.write(rack_services.DNSMASQ, configuration)
        changed |= self._changes.write(rack_services.DNSMASQ_UNIT, rack_services.UNIT_SETTINGS)
        if moves:
            self._changes.note("move " + ", ".join(f"{move.name} to {move.new}" for move in moves))
        stale = leases != before and (release or not moves)

        def write_leases() -> None:
            # dnsmasq reads this file when it starts, and writes it over while it runs.
            if stale:
                self._changes.write(rack_services.LEASES, leases)

        self._systemd.ensure_running(
            "dnsmasq",
            changed=changed or stale,
            files=(rack_services.DNSMASQ, rack_services.DNSMASQ_UNIT),
            while_stopped=write_leases,
        )
        changed = self._changes.write(rack_services.CHRONY, rack_services.chrony_configuration(services))
        self._systemd.ensure_running("chrony", changed=changed, files=(rack_services.CHRONY,))
        return moves

    def wait(self, services: Services, *, moves: Sequence[Move], timeout: float) -> list[str]:
        """Wait until each host has its address from here; return the addresses of those that have."""
        deadline = time.monotonic() + timeout
        missing = [host for host in services.leases if host.expected]
        # Until one that moves has its new lease, another may have that address, and answer in its place.
        moving = {move.name for move in moves}
        while missing:
            leases = rack_services.leased_addresses(text=read_text(rack_services.LEASES) or "")
            missing = [
                host for host in missing if not self._has_come(host, leases, by_lease=host.name in moving)
            ]
            if not missing or time.monotonic() > deadline:
                break
            time.sleep(1)
        if missing:
            self._warn(
                f"{', '.join(f'{host.name} ({host.mac})' for host in missing)} did not ask for an address "
                f"within {timeout} s; expected a node that is switched on, has this MAC and takes its "
                "address by DHCP: switch it off and on, or see rack_services_mac"
            )
        return [host.address for host in services.leases if host.expected and host not in missing]

    def _has_come(self, host: Host, leases: Mapping[str, str], *, by_lease: bool) -> bool:
        if host.mac in leases or by_lease:
            return leases.get(host.mac) == host.address
        # One with the same address set for good needs no lease.
        return self._run(["ping", "-c", "1", "-W", "1", host.address])[0] == 0
