#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.os_update``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: os_update
short_description: Update the operating system of a node, and tell whether it needs a reboot
version_added: '0.1.0'
description:
  - Brings all packages to their newest version by C(apt-get full-upgrade), but those that are held. What dpkg
    was interrupted at is finished first.
  - A reboot is needed where a kernel or firmware was unpacked since the boot, where a service that cannot be
    restarted uses a library as it was before, where a new EEPROM waits to be written, or where a package asks
    for it in C(/run/reboot-required). Other services that use libraries as they were before are restarted.
  - A configuration file that was changed on the node stays, and is named; the package's own is beside it.
  - An update that would change packages of Kubernetes, or remove what runs containers, is refused.
  - unattended-upgrades and needrestart, where they are installed, are told to leave container runtimes and
    kubelets alone, by a file of ours in their configuration.
  - Does not reboot.
author:
  - bramble.pi contributors (@bramble-pi)
extends_documentation_fragment:
  - bramble.pi.attributes
attributes:
  check_mode:
    support: full
    details:
      - Package lists are fetched into a temporary folder; those of the node stay as they are. Where they
        cannot be fetched, those of the node count.
      - Which services would be restarted is known only once the packages are there.
  diff_mode:
    support: full
    details:
      - Of configuration files; packages are in the result.
  idempotent:
    support: full
options:
  state:
    description:
      - V(latest) updates.
      - V(prepared) only fetches package lists, tells other programs to leave runtimes alone, and says what
        V(latest) would do.
    type: str
    choices: [latest, prepared]
    default: latest
  refresh:
    description: Whether package lists are fetched. Otherwise those that there are count.
    type: bool
    default: true
  eeprom:
    description:
      - Whether a newer EEPROM of a Pi 4 or 5 is to be written at the next boot, by C(rpi-eeprom-update).
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Show what would be updated
  bramble.pi.os_update:
  check_mode: true
  become: true
  register: update

- name: Update all packages, and the EEPROM
  bramble.pi.os_update:
    eeprom: true
  become: true
  register: update

- name: Reboot if something needs it
  ansible.builtin.reboot:
  become: true
  when: update.reboot_required
"""

RETURN = r"""
changes:
  description: What was changed, or would be.
  returned: success
  type: list
  elements: str
  sample: [libc6 2.36-9+deb12u9 to 2.36-9+deb12u10]
packages:
  description: The packages that got another version, or that are new.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The package.
      returned: success
      type: str
      sample: libc6
    before:
      description: The version before; none for a new one.
      returned: success
      type: str
      sample: 2.36-9+deb12u9
    after:
      description: The version now.
      returned: success
      type: str
      sample: 2.36-9+deb12u10
removed:
  description: The packages that were removed, as others need that.
  returned: success
  type: list
  elements: str
  sample: []
kept_back:
  description: The packages that stayed although there is a newer version, such as held ones.
  returned: success
  type: list
  elements: str
  sample: [kubeadm, kubectl, kubelet]
half_way:
  description: The packages that an interrupted run has left half-way, and that were not finished yet.
  returned: success
  type: list
  elements: str
  sample: []
restarts:
  description: The services that were restarted, as they used libraries as they were before.
  returned: success
  type: list
  elements: str
  sample: [ssh.service]
eeprom:
  description: Whether there is a newer EEPROM that is not to be written at the next boot yet.
  returned: success
  type: bool
  sample: false
kept_conffiles:
  description:
    - Configuration files of the node beside which a package has put its own, as C(.dpkg-dist) or
      C(.ucf-dist).
  returned: success
  type: list
  elements: str
  sample: [/etc/ssh/sshd_config]
lists:
  description:
    - Which package lists counted, V(fetched), V(fetched into a temporary folder) or those of the node
      V(as they were).
  returned: success
  type: str
  sample: fetched
update_required:
  description: Whether anything is to be updated or restarted yet.
  returned: success
  type: bool
  sample: false
reboot_required:
  description: Whether the node needs a reboot, or would after the update.
  returned: success
  type: bool
  sample: true
reboot_reasons:
  description: Why.
  returned: success
  type: list
  elements: str
  sample: [kernel 6.12.47+rpt-rpi-v8 is installed and 6.12.34+rpt-rpi-v8 runs]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common import apt
from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import module_errors
from ansible_collections.bramble.pi.plugins.module_utils._node.apply_os_update import OsUpdate


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["latest", "prepared"], "default": "latest"},
            "refresh": {"type": "bool", "default": True},
            "eeprom": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )

    def run(command: list[str]) -> tuple[int, str, str]:
        code, output, error = module.run_command(command, environ_update=apt.ENVIRONMENT)
        return code, output, error

    changes = Changes(check_mode=module.check_mode, run=run)
    given = module.params
    with module_errors(module, result=changes.result):
        os_update = OsUpdate(run=run, changes=changes, warn=module.warn, eeprom=given["eeprom"])
        act = os_update.update if given["state"] == "latest" else os_update.prepare
        result = act(refresh=given["refresh"])
    module.exit_json(**changes.result(), **result)


if __name__ == "__main__":
    main()
