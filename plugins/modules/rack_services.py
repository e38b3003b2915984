#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.rack_services``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rack_services
short_description: Give addresses, names and time to a rack's own network
version_added: '0.1.0'
description:
  - Configures dnsmasq to give names, and addresses by DHCP to hosts whose MAC is known, and chrony to give
    the time. Both listen at one interface alone, beside whatever else resolves names on the node.
  - Writes C(/etc/dnsmasq.d/bramble.conf) and C(/etc/chrony/conf.d/bramble.conf), starts both services, and
    has them started at each boot. dnsmasq tests its file before it takes the place of the former one.
  - Leases that stand against the fixed addresses are released. Where a host has to move to another address
    by that, its lease stays and it is named, so that it can be told to renew it, which dnsmasq then refuses;
    what is left is released with O(release).
author:
  - bramble.pi contributors (@bramble-pi)
extends_documentation_fragment:
  - bramble.pi.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
requirements:
  - dnsmasq
  - chrony 4.0 or newer
options:
  interface:
    description: The interface to the rack, such as V(eth0).
    type: str
    required: true
  address:
    description: The node's own address there, such as V(10.0.0.1).
    type: str
    required: true
  network:
    description: The rack's network, such as V(10.0.0.0/24).
    type: str
    required: true
  domain:
    description: The domain of the rack's names.
    type: str
    required: true
  hosts:
    description: The hosts of the rack.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Its name, without or with the domain.
        type: str
        required: true
      address:
        description: Its address.
        type: str
        required: true
      mac:
        description: Its MAC address, by which it gets the address; empty if it gets none.
        type: str
        default: ''
      bootfile:
        description: File that it is told to boot from; empty for none.
        type: str
        default: ''
      expected:
        description: Whether O(timeout) is for this host as well, if it has a MAC.
        type: bool
        default: false
  reverse_zones:
    description: Zones of the network's reverse names, such as V(0.0.10.in-addr.arpa).
    type: list
    elements: str
    default: []
  dhcp_range:
    description: Addresses for hosts whose MAC is not known, such as V(10.0.0.100-10.0.0.199); empty for none.
    type: str
    default: ''
  lease_time:
    description: How long a lease lasts, as dnsmasq writes it.
    type: str
    default: 12h
  router:
    description: The default gateway that leases name; empty for none.
    type: str
    default: ''
  resolvers:
    description: Name servers that are asked for all other names; empty for those that the node itself has.
    type: list
    elements: str
    default: []
  dnsmasq_options:
    description: Further lines for dnsmasq's configuration.
    type: list
    elements: str
    default: []
  ntp_servers:
    description: Time servers that are asked beside those that chrony comes with.
    type: list
    elements: str
    default: []
  ipv6:
    description: Whether to advertise the IPv6 prefix that O(interface) has.
    type: bool
    default: false
  release:
    description: Whether to release the leases of hosts that have to move.
    type: bool
    default: false
  timeout:
    description:
      - How many seconds to wait for expected hosts after a change; a warning names those that were not seen.
      - With V(0) there is no waiting.
      - Where hosts have to move yet, there is waiting only with O(release), and then for their new leases.
    type: int
    default: 0
"""

EXAMPLES = r"""
- name: Give addresses, names and time to the rack
  bramble.pi.rack_services:
    interface: eth0
    address: 10.0.0.1
    network: 10.0.0.0/24
    domain: rack.internal
    router: 10.0.0.1
    hosts:
      - name: pi-2
        mac: b8:27:eb:5b:0d:0f
        address: 10.0.0.2
"""

RETURN = r"""
changes:
  description: What was changed, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: [write /etc/dnsmasq.d/bramble.conf, restart dnsmasq]
moves:
  description: Hosts that have a lease of another address than the one they are to have.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The host.
      type: str
      returned: success
      sample: pi-2
    old:
      description: The address of its lease.
      type: str
      returned: success
      sample: 10.0.0.17
    new:
      description: The address that it is to have.
      type: str
      returned: success
      sample: 10.0.0.2
"""

import json
import tempfile
import time
from collections.abc import Mapping

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text, write_text
from ansible_collections.bramble.pi.plugins.module_utils._rack import services as rack_services

_SBIN = ["/usr/sbin", "/sbin"]


class RackServices:
    """Brings files, leases and services into effect and remembers what that changed."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.changes: list[str] = []
        self.diff: list[dict[str, str]] = []

    def _run(self, *command: str, hint: str = "") -> str:
        status, stdout, stderr = self.module.run_command(list(command))
        if status != 0:
            raise rack_services.RackServicesError(
                f"{' '.join(command)} ended with {status}: {stderr.strip()}{hint}"
            )
        return str(stdout)

    def _addresses(self) -> dict[str, list[str]]:
        return {
            link["ifname"]: [f"{entry['local']}/{entry['prefixlen']}" for entry in link["addr_info"]]
            for link in json.loads(self._run("ip", "-json", "-4", "address", "show"))
            if "ifname" in link
        }

    def _is(self, what: str, unit: str) -> bool:
        return self.module.run_command(["systemctl", what, "--quiet", unit])[0] == 0

    def _test(self, text: str) -> None:
        dnsmasq = self.module.get_bin_path("dnsmasq", opt_dirs=_SBIN)
        # In check mode the package may be yet to come.
        if dnsmasq is None and self.module.check_mode:
            return
        if dnsmasq is None:
            raise rack_services.RackServicesError(
                "dnsmasq is not installed; wanted are the packages dnsmasq and chrony"
            )
        with tempfile.NamedTemporaryFile("w", prefix="bramble-", suffix=".conf", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            self._run(
                *(dnsmasq, "--test", f"--conf-file={file.name}"),
                hint="; see rack_services_dnsmasq_options, rack_services_lease_time and the hosts' names",
            )

    def _write(self, path: str, text: str) -> bool:
        before = read_text(path)
        if before == text:
            return False
        self.changes.append(f"write {path}")
        self.diff.append({"before_header": path, "after_header": path, "before": before or "", "after": text})
        if not self.module.check_mode:
            write_text(path, text)
        return True

    def _have_started(self, unit: str, *, changed: bool, leases: str | None = None) -> None:
        if not self._is("is-enabled", unit):
            self.changes.append(f"start {unit} at each boot")
            if not self.module.check_mode:
                self._run("systemctl", "enable", unit)
        if not changed and self._is("is-active", unit):
            return
        self.changes.append(f"restart {unit}")
        if self.module.check_mode:
            return
        self._run("systemctl", "stop", unit)
        if leases is not None:
            # dnsmasq reads this file when it starts, and writes it over while it runs.
            self._write(rack_services.LEASES, leases)
        self._run("systemctl", "start", unit, hint=f"; see journalctl -u {unit}")

    def ensure(self, services: rack_services.Services, *, release: bool) -> list[rack_services.Move]:
        """Ensure that the rack has its services; return which hosts have to move."""
        try:
            rack_services.check(services, addresses=self._addresses())
        except rack_services.RackServicesError as error:
            # In check mode the address may be yet to come.
            if not self.module.check_mode:
                raise
            self.module.warn(str(error))
        configuration = rack_services.dnsmasq_configuration(services)
        self._test(configuration)
        before = read_text(rack_services.LEASES) or ""
        leases, moves = rack_services.stale_leases(text=before, hosts=services.hosts)
        changed = self._write(rack_services.DNSMASQ, configuration)
        if self._write(rack_services.DNSMASQ_UNIT, rack_services.UNIT_SETTINGS):
            changed = True
            if not self.module.check_mode:
                self._run("systemctl", "daemon-reload")
        if moves:
            self.changes.append("move " + ", ".join(f"{move.name} to {move.new}" for move in moves))
        stale = leases != before and (release or not moves)
        self._have_started("dnsmasq", changed=changed or stale, leases=leases if stale else None)
        changed = self._write(rack_services.CHRONY, rack_services.chrony_configuration(services))
        self._have_started("chrony", changed=changed)
        return moves

    def wait(
        self, services: rack_services.Services, *, moves: list[rack_services.Move], timeout: float
    ) -> None:
        """Wait until each host that gets its address from here has it."""
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
            self.module.warn(
                f"{', '.join(f'{host.name} ({host.mac})' for host in missing)} did not ask for an address "
                f"within {timeout} s; wanted is a node that is switched on, has this MAC and takes its "
                "address by DHCP: switch it off and on, or see rack_services_mac"
            )

    def _has_come(self, host: rack_services.Host, leases: Mapping[str, str], *, by_lease: bool) -> bool:
        if host.mac in leases or by_lease:
            return leases.get(host.mac) == host.address
        # One with the same address set for good needs no lease.
        return self.module.run_command(["ping", "-c", "1", "-W", "1", host.address])[0] == 0


def main() -> None:
    """Run the module."""
    texts = {"type": "list", "elements": "str", "default": []}
    module = AnsibleModule(
        argument_spec={
            "interface": {"type": "str", "required": True},
            "address": {"type": "str", "required": True},
            "network": {"type": "str", "required": True},
            "domain": {"type": "str", "required": True},
            "hosts": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    "address": {"type": "str", "required": True},
                    "mac": {"type": "str", "default": ""},
                    "bootfile": {"type": "str", "default": ""},
                    "expected": {"type": "bool", "default": False},
                },
            },
            "reverse_zones": texts,
            "dhcp_range": {"type": "str", "default": ""},
            "lease_time": {"type": "str", "default": "12h"},
            "router": {"type": "str", "default": ""},
            "resolvers": texts,
            "dnsmasq_options": texts,
            "ntp_servers": texts,
            "ipv6": {"type": "bool", "default": False},
            "release": {"type": "bool", "default": False},
            "timeout": {"type": "int", "default": 0},
        },
        supports_check_mode=True,
    )
    # Messages of the tools are read by people only, but in a language that all of them know.
    module.run_command_environ_update = {"LC_ALL": "C.UTF-8"}
    services = rack_services.Services(
        **{name: module.params[name] for name in rack_services.Services._fields if name != "hosts"},
        hosts=[rack_services.Host(**host) for host in module.params["hosts"]],
    )
    work = RackServices(module)
    try:
        moves = work.ensure(services, release=module.params["release"])
        waits = module.params["timeout"] > 0 and (module.params["release"] or not moves)
        if work.changes and not module.check_mode and waits:
            work.wait(services, moves=moves, timeout=module.params["timeout"])
    except PermissionError as error:
        module.fail_json(msg=f"{error}; wanted are the rights of root: set become to true")
    except (ValueError, OSError) as error:
        module.fail_json(msg=str(error), changes=work.changes)
    module.exit_json(
        changed=bool(work.changes),
        changes=work.changes,
        moves=[move._asdict() for move in moves],
        diff=work.diff,
    )


if __name__ == "__main__":
    main()
