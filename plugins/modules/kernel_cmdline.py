#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.kernel_cmdline``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kernel_cmdline
short_description: Edit the kernel command line of a Raspberry Pi
version_added: '0.1.0'
description:
  - Puts whole tokens on the one line of C(cmdline.txt), takes them off, or sets the value of a key.
  - Finds the file that the node boots with by what lies on its boot partition, and says which and why.
  - Says whether the running kernel was started without something that it should have, so that a reboot is
    needed.
  - All other tokens stay as they are and where they are, also repeated keys and quoted values with blanks.
  - C(cgroup_disable=memory) is taken off the line when V(cgroup_enable=memory) is desired; the same for other
    controllers.
  - A file that is not one line of text, or that would not boot the node any more, is refused and left alone.
notes:
  - "RV(layout=ab): Ubuntu 25.10 and later, C(/boot/firmware/current/cmdline.txt)."
  - "RV(layout=firmware): Raspberry Pi OS from bookworm, Ubuntu up to 25.04, C(/boot/firmware/cmdline.txt)."
  - "RV(layout=raspi-firmware): Debian with raspi-firmware, C(/boot/firmware/cmdline.txt)."
  - "RV(layout=boot): Raspberry Pi OS bullseye, HypriotOS, C(/boot/cmdline.txt)."
  - The lines C(os_prefix=), C(cmdline=) and C(include) in C(config.txt) are followed.
  - On Ubuntu 25.10 and later, a kernel that was installed and not yet booted has a command line of its own in
    C(/boot/firmware/new/), which the next boot takes. It gets the same edit.
  - On Debian with raspi-firmware, C(cmdline.txt) is written again at every update of a kernel or initramfs.
    The edit is therefore made in C(/etc/default/raspi-extra-cmdline) too. A token that raspi-firmware writes
    of its own accord comes back if it is taken off; a warning says so and names the setting in
    C(/etc/default/raspi-firmware), if there is one.
  - The file is replaced in one step, so that a power cut leaves the old one or the new one, as far as its
    file system can promise that.
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
options:
  path:
    description:
      - File to edit, if it is not the one that would be found. Nothing else is edited then.
      - A link is followed.
    type: path
  present:
    description:
      - A list of the tokens that are to be on the line, each once, for example V([cgroup_enable=memory]).
      - Missing ones go to the end, in this order. A token that is there several times keeps its first place.
    type: raw
    default: []
  absent:
    description:
      - A list of the tokens that are not to be on the line, whole, such as V(["console=serial0,115200"]).
    type: raw
    default: []
  set:
    description:
      - Keys and the one value that each is to have, for example C(panic) and V(10).
      - The first token of a key is replaced where it stands, and further ones are taken off. A missing one
        goes to the end.
      - Values are text or whole numbers. A value with blanks is put in double quotes.
    type: dict
    default: {}
  running:
    description: The command line that the running kernel was started with.
    type: path
    default: /proc/cmdline
  backup:
    description:
      - Keep the file as it was before the first change beside it, its name with C(.bramble-original) added.
      - A copy that is already there is never overwritten.
    type: bool
    default: true
seealso:
  - name: Kernel command line of a Raspberry Pi
    description: Which tokens there are.
    link: https://www.raspberrypi.com/documentation/computers/configuration.html#kernel-command-line-cmdline-txt
  - name: A/B boot on Ubuntu for Raspberry Pi
    description: What the folders current, new and old are.
    link: https://canonical-ubuntu-boards.readthedocs-hosted.com/en/latest/explanations/piboot-ab
"""

EXAMPLES = r"""
- name: Enable the control groups that kubelet needs
  bramble.pi.kernel_cmdline:
    present:
      - cgroup_enable=cpuset
      - cgroup_enable=memory
      - cgroup_memory=1
      - swapaccount=1
  register: kernel_cmdline

- name: Reboot if the running kernel was started without them
  ansible.builtin.reboot:
  when: kernel_cmdline.reboot_required

- name: Free the serial port and restart ten seconds after a panic
  bramble.pi.kernel_cmdline:
    absent:
      - console=serial0,115200
    set:
      panic: 10

- name: Boot from a disk that was moved to USB
  bramble.pi.kernel_cmdline:
    path: /mnt/card/cmdline.txt
    set:
      root: LABEL=writable
"""

RETURN = r"""
path:
  description: The file that counts, with links followed.
  returned: success
  type: str
  sample: /boot/firmware/cmdline.txt
layout:
  description:
    - What the boot partition looks like, V(ab), V(firmware), V(raspi-firmware) or V(boot).
    - V(path) if the file was given.
  returned: success
  type: str
  sample: firmware
why:
  description: Why this file counts.
  returned: success
  type: str
  sample: /boot/firmware/config.txt is what the firmware reads
cmdline:
  description: The line as it is now, or as it would be in check mode.
  returned: success
  type: str
  sample: console=tty1 root=PARTUUID=4d8097e2-02 rootfstype=ext4 fsck.repair=yes rootwait cgroup_enable=memory
changed_files:
  description: The files that were changed, which are two where the line is also kept elsewhere.
  returned: success
  type: list
  elements: str
  sample: [/boot/firmware/cmdline.txt]
backup_file:
  description: The file as it was before the first change, V(none) if there is no such copy.
  returned: success
  type: str
  sample: /boot/firmware/cmdline.txt.bramble-original
reboot_required:
  description:
    - Whether the running kernel was started without something that it should have, or with something that it
      should not.
    - What the firmware puts before the line counts as desired if it is, and never as undesired.
  returned: success
  type: bool
  sample: true
"""

import os
from typing import Any, NamedTuple

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._boot import cmdline
from ansible_collections.bramble.pi.plugins.module_utils._boot.layout import (
    RASPI_FIRMWARE_SETTINGS,
    BootLayout,
    find_cmdline,
)
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import module_errors
from ansible_collections.bramble.pi.plugins.module_utils._common.file_edit import (
    FileEdit,
    apply_edit,
    backup_file,
    read_file,
    require_writable,
)
from ansible_collections.bramble.pi.plugins.module_utils._common.files import NodeFiles
from ansible_collections.bramble.pi.plugins.module_utils._common.secrets import masked_message


class _Edit(NamedTuple):
    """A command line before and after, and the file that it is in."""

    line: str
    new_line: str
    file: FileEdit


def _edit(path: str, data: bytes | None, line: str, new_line: str) -> _Edit:
    # A source that is not there is as good as one without a line.
    after = f"{new_line}\n".encode() if new_line or data else b""
    return _Edit(line, new_line, FileEdit(path, data, after))


def _plan(path: str, desired: cmdline.Desired) -> _Edit:
    """Say what becomes of a command line."""
    real, data = read_file(path=path)
    line = cmdline.read_line(data=data, path=path)
    return _edit(real, data, line, cmdline.edit_line(line=line, desired=desired))


def _plan_source(path: str, desired: cmdline.Desired, generated: _Edit) -> _Edit:
    """Say what becomes of the file that a command line is generated from."""
    desired = cmdline.source_desired(desired=desired, tokens=cmdline.split(line=generated.line))
    if not os.path.lexists(path):
        return _edit(path, None, "", cmdline.edit_line(line="", desired=desired))
    real, data = read_file(path=path)
    line = cmdline.read_line(data=data, path=path, may_be_empty=True)
    return _edit(real, data, line, cmdline.edit_line(line=line, desired=desired))


def _warn_of_generated(module: AnsibleModule, edit: _Edit) -> None:
    before, after = cmdline.split(line=edit.line), cmdline.split(line=edit.new_line)
    for token in cmdline.lost_edits(before=before, after=after):
        setting = cmdline.generated_setting(token)
        remedy = (
            f"set {setting} in {RASPI_FIRMWARE_SETTINGS}" if setting else "there is no setting against it"
        )
        module.warn(f"{token} comes back in {edit.file.path} with the next update of a kernel: {remedy}.")


def _run(module: AnsibleModule) -> dict[str, Any]:
    options = module.params
    desired = cmdline.desired(present=options["present"], absent=options["absent"], settings=options["set"])
    if options["path"]:
        layout = BootLayout("path", options["path"], "it was given as 'path'")
    else:
        layout = find_cmdline(files=NodeFiles())
    edit = _plan(layout.path, desired)
    edits = [edit]
    if layout.pending:
        edits.append(_plan(layout.pending, desired))

    with open(options["running"], encoding="utf-8", errors="replace") as file:
        running = file.read()
    for line in edits:
        cmdline.check_result(
            before=line.line,
            after=line.new_line,
            path=line.file.path,
            prepended=cmdline.prepended_length(line=edit.line, running=running),
            machine=os.uname().machine,
        )
    if layout.source:
        edits.append(_plan_source(layout.source, desired, edit))
    changes = [each.file for each in edits if each.file.changed]
    for change in changes:
        require_writable(path=change.path)
    if layout.source:
        _warn_of_generated(module, edit)
    if not module.check_mode:
        for change in changes:
            apply_edit(edit=change, backup=options["backup"])

    return {
        "changed": bool(changes),
        "path": edit.file.path,
        "layout": layout.name,
        "why": layout.why,
        "cmdline": masked_message(edit.new_line),
        "changed_files": [change.path for change in changes],
        "backup_file": backup_file(edit=edit.file, backup=options["backup"]),
        "reboot_required": cmdline.reboot_required(
            tokens=cmdline.split(line=edit.new_line), running=running, desired=desired
        ),
        "diff": [change.diff for change in changes],
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path"},
            # Ansible would make the text "False" of the word no, and cut a text at its commas, which tokens
            # such as console=serial0,115200 have; both are checked later.
            "present": {"type": "raw", "default": []},
            "absent": {"type": "raw", "default": []},
            "set": {"type": "dict", "default": {}},
            "running": {"type": "path", "default": "/proc/cmdline"},
            "backup": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    remedy = "look in the kernel's log ('dmesg') whether the card fails"
    with module_errors(module, path="the command line", remedy=remedy):
        result = _run(module)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
