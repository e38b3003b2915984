#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.node_settings``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_settings
short_description: Set host name, hosts, kernel modules, sysctl and swap of a node in one step
version_added: '0.1.0'
description:
  - Puts the settings that Kubernetes wants into effect now and keeps them over reboots.
  - Options that are not given are left alone.
  - Files are replaced in one step. The parts of C(/etc/hosts) and C(/etc/fstab) that others wrote stay.
author:
  - bramble.pi contributors (@bramble-pi)
extends_documentation_fragment:
  - bramble.pi.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: partial
    details: Shows what changes in files, not what changes in the running kernel; RV(changes) names both.
  idempotent:
    support: full
options:
  hostname:
    description:
      - The host name, running and in C(/etc/hostname). A line C(127.0.1.1) in C(/etc/hosts) follows it.
      - Where cloud-init is installed it is told to leave the name alone, since it would set its own again.
    type: str
  hosts:
    description:
      - Entries for one marked block in C(/etc/hosts). An empty list takes the block away.
      - Where cloud-init is installed its template of that file is treated alike, because user-data can have
        the file written anew from it at each boot.
    type: list
    elements: dict
    suboptions:
      address:
        description: IPv4 or IPv6 address.
        type: str
        required: true
      names:
        description: Names of the address, the main one first.
        type: list
        elements: str
        required: true
  kernel_modules:
    description:
      - Kernel modules to load now, and at each boot by C(/etc/modules-load.d/bramble.conf).
      - What is built into the kernel counts as loaded.
    type: list
    elements: str
  sysctl:
    description:
      - Kernel parameters and their values, set now if the running value is another, and at each boot by
        C(/etc/sysctl.d/99-bramble.conf).
    type: dict
  swap:
    description:
      - V(off) switches swap off now and for good, whichever mechanism there is. It masks C(swap.target) and
        the services C(dphys-swapfile) and C(zramswap), disables swap units that other targets want, sets
        C(Mechanism=none) for rpi-swap, and comments out the swap lines of C(/etc/fstab)
        (C(/etc/fstab.bramble-original) keeps the original).
      - V(keep) leaves swap as it is, for example on a USB disk of its own. The kubelet then needs
        C(failSwapOn=false).
    type: str
    choices: ['off', keep]
    default: keep
"""

EXAMPLES = r"""
- name: Prepare the node for Kubernetes
  bramble.pi.node_settings:
    hostname: pi-1
    hosts:
      - address: 192.168.1.11
        names: [pi-1]
      - address: 192.168.1.12
        names: [pi-2]
    kernel_modules: [overlay, br_netfilter]
    sysctl:
      net.bridge.bridge-nf-call-iptables: 1
      net.ipv4.ip_forward: 1
    swap: 'off'
"""

RETURN = r"""
changes:
  description: What was changed, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: [set net.ipv4.ip_forward from 0 to 1, mask swap.target]
pending:
  description: What takes effect with the next boot only.
  returned: success
  type: list
  elements: str
  sample: ['the kernel module br_netfilter is not loaded: /lib/modules/6.1.21-v8+ is gone since an upgrade']
reboot_required:
  description: Whether anything is pending.
  returned: success
  type: bool
  sample: false
"""

import glob
import os
from collections.abc import Mapping, Sequence
from typing import Any, Callable

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text, write_text
from ansible_collections.bramble.pi.plugins.module_utils._node import settings as node_settings
from ansible_collections.bramble.pi.plugins.module_utils._node.facts import active_swaps

_CLOUD_INIT = "/etc/cloud/cloud.cfg.d"
_CLOUD_INIT_HOSTS = "/etc/cloud/templates/hosts.debian.tmpl"
_FSTAB_BACKUP = "/etc/fstab.bramble-original"
# The running names: writing the first is what sethostname(2) does.
_KERNEL_HOSTNAME = "/proc/sys/kernel/hostname"
_KERNEL_RELEASE = "/proc/sys/kernel/osrelease"
_RPI_SWAP = "/etc/rpi/swap.conf"
_SWAP_SERVICES = ("dphys-swapfile.service", "zramswap.service")
_SYSCTL = "/etc/sysctl.d/99-bramble.conf"
_SYSCTL_FOLDERS = ("/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d")
_UNITS = "/etc/systemd/system"
_UNIT_FOLDERS = (_UNITS, "/lib/systemd/system", "/usr/lib/systemd/system")


class NodeSettings:
    """Brings one setting after the other into effect and remembers what that changed."""

    def __init__(
        self,
        *,
        run: Callable[[list[str]], tuple[int, str, str]],
        warn: Callable[[str], None],
        check_mode: bool,
        root: str = "",
    ) -> None:
        self.run = run
        self.warn = warn
        self.check_mode = check_mode
        self.root = root
        self.changes: list[str] = []
        self.pending: list[str] = []
        self.diff: list[dict[str, str]] = []

    def _read(self, path: str) -> str:
        return read_text(self.root + path) or ""

    def _exists(self, path: str) -> bool:
        return os.path.exists(self.root + path)

    def _glob(self, pattern: str) -> list[str]:
        return sorted(path[len(self.root) :] for path in glob.glob(self.root + pattern))

    def _write(self, path: str, text: str, change: str | None = None) -> None:
        before = read_text(self.root + path)
        if before == text:
            return
        self.changes.append(change or f"write {path}")
        self.diff.append({"before_header": path, "after_header": path, "before": before or "", "after": text})
        if not self.check_mode:
            write_text(self.root + path, text)

    def _set_kernel(self, path: str, name: str, value: str) -> None:
        running = self._read(path).strip()
        if node_settings.is_same_sysctl(running=running, wanted=value):
            return
        self.changes.append(f"set {name} from {running} to {value}")
        if self.check_mode:
            return
        try:
            with open(self.root + path, "w", encoding="utf-8") as file:
                file.write(value)
        except OSError as error:
            raise node_settings.SettingsError(
                f"the kernel does not let {name} be set from {running} to {value}: {error.strerror}"
            ) from error

    def _systemctl(self, verb: str, unit: str) -> None:
        self.changes.append(f"{verb} {unit}")
        if self.check_mode:
            return
        status, _stdout, stderr = self.run(["systemctl", verb, unit])
        if status != 0:
            raise node_settings.SettingsError(
                f"systemctl {verb} {unit} ended with {status}: {stderr.strip()}; wanted is that {unit} does"
                " not switch swap on: mend that by hand, or set swap to keep"
            )

    def set_hostname(self, hostname: str) -> None:
        """Set the host name that is configured and the one that is running."""
        node_settings.check_hostname(hostname)
        self._write(
            "/etc/hostname", node_settings.hostname_text(text=self._read("/etc/hostname"), hostname=hostname)
        )
        self._set_kernel(_KERNEL_HOSTNAME, "the running host name", hostname)

    def set_hosts(self, hostname: str | None, entries: Sequence[Mapping[str, Any]] | None) -> None:
        """Bring /etc/hosts up to date, and what cloud-init would make of it."""
        node_settings.check_hosts(entries or [])
        before = self._read("/etc/hosts")
        for conflict in node_settings.hosts_conflicts(text=before, entries=entries or []):
            self.warn(
                f"/etc/hosts has {conflict} before the block of this collection, and the first line wins; it"
                " was not written by this collection and stays: take it out if it is outdated"
            )
        self._write("/etc/hosts", node_settings.hosts_text(text=before, hostname=hostname, entries=entries))
        if self._exists(_CLOUD_INIT_HOSTS):
            template = self._read(_CLOUD_INIT_HOSTS)
            self._write(
                _CLOUD_INIT_HOSTS, node_settings.hosts_text(text=template, hostname=hostname, entries=entries)
            )
        if self._exists(_CLOUD_INIT):
            self._write(
                f"{_CLOUD_INIT}/99-bramble.cfg", node_settings.cloud_init_text(hostname=hostname is not None)
            )

    def load_modules(self, modules: Sequence[str]) -> None:
        """Load kernel modules now and at each boot."""
        node_settings.check_modules(modules)
        self._write("/etc/modules-load.d/bramble.conf", node_settings.modules_text(modules=modules))
        release = self._read(_KERNEL_RELEASE).strip()
        folder = f"/lib/modules/{release}"
        filesystems = self._read("/proc/filesystems")
        modules_builtin = self._read(f"{folder}/modules.builtin")
        for name in modules:
            if any(map(self._exists, node_settings.module_evidence(name))) or node_settings.is_built_in(
                module=name, filesystems=filesystems, modules_builtin=modules_builtin
            ):
                continue
            if not self._exists(folder) and self._glob("/lib/modules/*/modules.dep"):
                self.pending.append(
                    f"the kernel module {name} is not loaded: {folder} is gone since an upgrade of the kernel"
                )
                continue
            self.changes.append(f"load the kernel module {name}")
            if not self.check_mode:
                self._modprobe(name, release)

    def _modprobe(self, name: str, release: str) -> None:
        status, _stdout, stderr = self.run(["modprobe", name])
        if status != 0:
            raise node_settings.SettingsError(
                f"the kernel module {name} is neither loaded nor built into the kernel {release}, and"
                f" modprobe cannot load it: {stderr.strip()}. Wanted is the module: install the package that"
                " brings it for this kernel (on Ubuntu linux-modules-extra-raspi on a Pi, elsewhere"
                " linux-modules-extra-generic) and reboot, or, in a container, load it on its machine"
            )

    def set_sysctl(self, settings: Mapping[str, Any]) -> None:
        """Set kernel parameters now and at each boot."""
        node_settings.check_sysctl(settings)
        self._refuse_overriding(settings)
        self._write(_SYSCTL, node_settings.sysctl_text(settings=settings))
        for key, value in settings.items():
            path = node_settings.sysctl_path(key)
            if self._exists(path):
                self._set_kernel(path, key, str(value))
            elif self.check_mode:
                # Modules bring parameters of their own, which are not there before they are loaded.
                self.changes.append(f"set {key} to {value}")
            elif not self.pending:
                raise node_settings.SettingsError(
                    f"the running kernel has no parameter {key} ({path} is not there); wanted is the value"
                    f" {value}: add the module that brings it to kernel_modules (br_netfilter for net.bridge)"
                )

    def _refuse_overriding(self, settings: Mapping[str, Any]) -> None:
        """Refuse files that would undo the settings at the next boot, because they are read later."""
        wanted = {node_settings.sysctl_path(key): (key, value) for key, value in settings.items()}
        for path in [path for folder in _SYSCTL_FOLDERS for path in self._glob(f"{folder}/*.conf")]:
            if os.path.basename(path) <= os.path.basename(_SYSCTL):
                continue
            for parameter, theirs in node_settings.sysctl_values(self._read(path)).items():
                key, value = wanted.get(parameter, ("", theirs))
                if not node_settings.is_same_sysctl(running=theirs, wanted=value):
                    raise node_settings.SettingsError(
                        f"{path} sets {key} to {theirs} and is read after {_SYSCTL} at each boot; wanted is"
                        f" {value}: take that line out (99-sysctl.conf is a link to /etc/sysctl.conf)"
                    )

    def switch_swap_off(self) -> None:
        """Switch swap off for good first, and then for now."""
        fstab = self._read("/etc/fstab")
        without = node_settings.fstab_without_swap(text=fstab)
        if without != fstab:
            if not self._exists(_FSTAB_BACKUP):
                self._write(_FSTAB_BACKUP, fstab, f"keep /etc/fstab as {_FSTAB_BACKUP}")
            self._write("/etc/fstab", without, "comment out the swap lines of /etc/fstab")
        if self._exists(_RPI_SWAP):
            self._write(f"{_RPI_SWAP}.d/99-bramble.conf", f"{node_settings.MANAGED}[Main]\nMechanism=none\n")
        self._hold_swap_units()
        for device in active_swaps(text=self._read("/proc/swaps")):
            self.changes.append(f"switch off swap on {device}")
            if self.check_mode:
                continue
            status, _stdout, stderr = self.run(["swapoff", device])
            if status != 0:
                # Most often there is not enough memory for what is swapped out; a reboot is what mends that.
                self.pending.append(f"swap on {device} is still in use: {stderr.strip()}")

    def _hold_swap_units(self) -> None:
        # Masking swap.target holds whatever it wants: units from fstab, generators and administrators.
        services = [
            name
            for name in _SWAP_SERVICES
            if any(self._exists(f"{folder}/{name}") for folder in _UNIT_FOLDERS)
        ]
        for unit in ["swap.target", *services]:
            if os.path.realpath(f"{self.root}{_UNITS}/{unit}") != os.devnull:
                self._systemctl("mask", unit)
        wanted = self._glob(f"{_UNITS}/*.wants/*.swap") + self._glob(f"{_UNITS}/*.requires/*.swap")
        elsewhere = [path for path in wanted if not path.startswith(f"{_UNITS}/swap.target.")]
        for unit in sorted(set(map(os.path.basename, elsewhere))):
            self._systemctl("disable", unit)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "hostname": {"type": "str"},
            "hosts": {
                "type": "list",
                "elements": "dict",
                "options": {
                    "address": {"type": "str", "required": True},
                    "names": {"type": "list", "elements": "str", "required": True},
                },
            },
            "kernel_modules": {"type": "list", "elements": "str"},
            "sysctl": {"type": "dict"},
            "swap": {"type": "str", "choices": ["off", "keep"], "default": "keep"},
        },
        supports_check_mode=True,
    )

    def run(command: list[str]) -> tuple[int, str, str]:
        program = module.get_bin_path(command[0])
        if program is None:
            return 127, "", f"{command[0]} is not installed"
        status, stdout, stderr = module.run_command([program, *command[1:]])
        return int(status), str(stdout), str(stderr)

    parameters = module.params
    settings = NodeSettings(run=run, warn=module.warn, check_mode=module.check_mode)
    try:
        if parameters["hostname"] is not None:
            settings.set_hostname(parameters["hostname"])
        if parameters["hostname"] is not None or parameters["hosts"] is not None:
            settings.set_hosts(parameters["hostname"], parameters["hosts"])
        if parameters["kernel_modules"] is not None:
            settings.load_modules(parameters["kernel_modules"])
        if parameters["sysctl"] is not None:
            settings.set_sysctl(parameters["sysctl"])
        if parameters["swap"] == "off":
            settings.switch_swap_off()
    except PermissionError as error:
        module.fail_json(msg=f"{error}; wanted are the rights of root: set become to true")
    except (node_settings.SettingsError, OSError) as error:
        module.fail_json(msg=str(error), changes=settings.changes, pending=settings.pending)
    module.exit_json(
        changed=bool(settings.changes),
        changes=settings.changes,
        pending=settings.pending,
        reboot_required=bool(settings.pending),
        diff=settings.diff,
    )


if __name__ == "__main__":
    main()
