#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.nat_forwarding``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: nat_forwarding
short_description: Forward between a rack and the outside, with NAT
version_added: '0.1.0'
description:
  - Makes a head node the way out for the nodes behind it. What leaves by the outer interface gets its
    address, answers come back, and nothing else is forwarded from outside but what is sent to a forwarded
    port. The head's own address inside is not to be reached from outside.
  - The rules stand in an nftables table of their own, C(bramble_nat), and in an iptables chain of their own,
    C(BRAMBLE-NAT), so that neither kube-proxy's rules nor Docker's are saved, flushed or overridden. The
    chain is there because Docker and firewalls drop in iptables whatever is not accepted there.
  - The unit C(bramble-nat.service) loads them at each boot, before the network is up, and whenever
    C(nftables.service) is restarted. C(/etc/sysctl.d/90-bramble-nat.conf) keeps forwarding switched on.
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
  - nftables
  - iptables
options:
  inner_interface:
    description: The interface to the rack, such as V(eth0).
    type: str
    required: true
  outer_interface:
    description: The interface to the outside, such as V(wlan0).
    type: str
    required: true
  ipv6:
    description:
      - V(off) forwards no IPv6 between the rack and the outside.
      - V(routed) forwards it without NAT. The router outside has to send the rack's prefix to the head, and
        the head has to have an address of that prefix at O(inner_interface). Nothing enters unasked either.
    type: str
    choices: ['off', routed]
    default: 'off'
  cluster_networks:
    description: IPv4 networks that neither side may overlap, such as those of pods and services.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Make the head the way out for the rack
  bramble.pi.nat_forwarding:
    inner_interface: eth0
    outer_interface: wlan0
"""

RETURN = r"""
changes:
  description: What was changed, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: [write /etc/bramble/nat.nft, load the rules]
"""

import json
import os
from collections.abc import Sequence

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text, write_text
from ansible_collections.bramble.pi.plugins.module_utils._network import nat

_SBIN = ("/usr/sbin", "/sbin")


class NatForwarding:
    """Brings files, unit, rules and forwarding into effect and remembers what that changed."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.changes: list[str] = []
        self.diff: list[dict[str, str]] = []

    def _program(self, name: str) -> str:
        path = self.module.get_bin_path(name, opt_dirs=list(_SBIN))
        # In check mode the packages may be yet to come; this is where they put their programs.
        if path is None and self.module.check_mode:
            return f"{_SBIN[0]}/{name}"
        if path is None:
            raise nat.NatError(f"{name} is not installed; wanted are the packages nftables and iptables")
        return path

    def _succeeds(self, *command: str) -> bool:
        return os.path.exists(command[0]) and self.module.run_command(list(command))[0] == 0

    def _run(self, command: Sequence[str]) -> None:
        status, _stdout, stderr = self.module.run_command(list(command))
        if status != 0:
            raise nat.NatError(
                f"{' '.join(command)} ended with {status}: {stderr.strip()}; see journalctl -u {nat.UNIT}"
            )

    def _change(self, sentence: str, *commands: Sequence[str]) -> None:
        self.changes.append(sentence)
        if not self.module.check_mode:
            for command in commands:
                self._run(command)

    def _addresses(self) -> dict[str, list[str]]:
        """Return the IPv4 addresses of each interface, with their prefixes."""
        ip = self._program("ip")
        status, stdout, stderr = self.module.run_command([ip, "-json", "-4", "address", "show"])
        if status != 0:
            raise nat.NatError(f"{ip} address ended with {status}: {stderr.strip()}")
        return {
            link["ifname"]: [f"{entry['local']}/{entry['prefixlen']}" for entry in link["addr_info"]]
            for link in json.loads(stdout)
            if "ifname" in link
        }

    def ensure(self, *, inner: str, outer: str, ipv6: str, cluster_networks: Sequence[str]) -> None:
        """Ensure that the rack has its way out."""
        nat.check_interfaces(inner=inner, outer=outer, existing=os.listdir("/sys/class/net"))
        nat.check_networks(
            inner=inner, outer=outer, addresses=self._addresses(), cluster_networks=cluster_networks
        )
        programs = nat.Programs(
            *(self._program(name.replace("_", "-")) for name in nat.Programs._fields),
        )
        systemctl = self._program("systemctl")
        for path, text in nat.files(inner=inner, outer=outer, ipv6=ipv6, programs=programs).items():
            self._write(path, text)
        for name, value in nat.kernel_parameters(outer=outer, ipv6=ipv6).items():
            self._set(f"/proc/sys/{name}", value)
        rules_changed = bool(
            {nat.RULES, nat.IPTABLES_RULES, nat.UNIT_PATH}.intersection(
                entry["after_header"] for entry in self.diff
            )
        )
        if not self._succeeds(systemctl, "is-enabled", "--quiet", nat.UNIT):
            self._change("load the rules at each boot", [systemctl, "enable", nat.UNIT])
        filters = [programs.iptables] + ([programs.ip6tables] if ipv6 == nat.ROUTED else [])
        loaded = (
            self._succeeds(systemctl, "is-active", "--quiet", nat.UNIT)
            and self._succeeds(programs.nft, "list", "table", "inet", nat.TABLE)
            and all(
                self._succeeds(program, "--wait", "--check", "FORWARD", "--jump", nat.CHAIN)
                for program in filters
            )
        )
        if rules_changed or not loaded:
            # Stopped by what the unit said before: what it loaded then goes, whatever it is to load now.
            self._change(
                "load the rules",
                [systemctl, "stop", nat.UNIT],
                [systemctl, "daemon-reload"],
                [systemctl, "start", nat.UNIT],
            )

    def _set(self, path: str, value: str) -> None:
        if (read_text(path) or "").strip() == value:
            return
        self.changes.append(f"set {path} to {value}")
        if not self.module.check_mode:
            with open(path, "w", encoding="ascii") as file:
                file.write(f"{value}\n")

    def _write(self, path: str, text: str) -> None:
        before = read_text(path)
        if before == text:
            return
        self.changes.append(f"write {path}")
        self.diff.append({"before_header": path, "after_header": path, "before": before or "", "after": text})
        if not self.module.check_mode:
            write_text(path, text)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "inner_interface": {"type": "str", "required": True},
            "outer_interface": {"type": "str", "required": True},
            "ipv6": {"type": "str", "choices": [nat.OFF, nat.ROUTED], "default": nat.OFF},
            "cluster_networks": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    forwarding = NatForwarding(module)
    try:
        forwarding.ensure(
            inner=module.params["inner_interface"],
            outer=module.params["outer_interface"],
            ipv6=module.params["ipv6"],
            cluster_networks=module.params["cluster_networks"],
        )
    except PermissionError as error:
        module.fail_json(msg=f"{error}; wanted are the rights of root: set become to true")
    except (ValueError, OSError) as error:
        module.fail_json(msg=str(error), changes=forwarding.changes)
    module.exit_json(changed=bool(forwarding.changes), changes=forwarding.changes, diff=forwarding.diff)


if __name__ == "__main__":
    main()
