#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.boot_files``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: boot_files
short_description: Change files of a Raspberry Pi's boot partition without mounting it
version_added: '0.1.0'
description:
  - Writes and removes files in the boot partition of a card, of an image file, or of a folder where one is
    mounted; edits C(config.txt) and the kernel command line there.
  - The partition is found by the partition table and changed through mtools, so that nothing is mounted.
  - A file that is there keeps its name, whatever upper and lower case is asked for; there is never a second
    one beside it. Files that are not named are left alone, byte for byte.
  - All new files are written and flushed before the first old one goes. A partition without room for both
    is refused before anything is written, and a run that was cut off is fixed by the next one.
  - Files that are already as they are to be are not written.
requirements:
  - mtools, where this runs, except for folders
notes:
  - A card or image that is mounted is refused, as two writers would damage its file system. Give the folder
    where it is mounted instead.
  - The content of files can hold keys and password hashes. What has the name or the form of one is shown
    neither in the difference nor with C(-vvv); set C(no_log) on the task where there is more to hide.
  - The command line is the one that the firmware would take, C(current/cmdline.txt) on Ubuntu 25.10 and
    later. On Debian with raspi-firmware, it is written again with the next kernel; see
    M(bramble.pi.kernel_cmdline) for a running node.
  - What an earlier run has put there and this one does not name stays. Several tasks may share a partition,
    and what an image had in a file that was replaced is not known any more. Name what has to go with
    C(state=absent). The cards of the role flash are another case, as their image is at hand.
  - mtools reads no FAT12, and no FAT32 with fewer than 65525 clusters. Mount such a partition.
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
      - Device of the card such as C(/dev/sdb), its boot partition such as C(/dev/sdb1), an image file, or a
        folder where the boot partition is mounted. Which of these it is, is found out.
    type: path
    required: true
  offset:
    description:
      - Where the boot partition begins in a device or image, in bytes, if it is not the first FAT partition.
    type: int
  files:
    description: Files to write or remove.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description:
          - Name on the partition, for example V(user-data) or V(overlays/my.dtbo).
          - Folders that are missing are made.
        type: str
        required: true
      content:
        description: What is to be in the file, a text. An empty one makes an empty file, such as V(ssh).
        type: raw
      src:
        description: File to copy, on the machine where this runs.
        type: path
      state:
        description: Whether the file is to be there.
        type: str
        choices: [present, absent]
        default: present
  config_txt:
    description: Settings of C(config.txt), as in M(bramble.pi.config_txt).
    type: list
    elements: dict
    default: []
    suboptions:
      section:
        description: The filters that the setting stands under, a text without brackets, for example V(pi4).
        type: raw
        default: all
      setting:
        description: The setting, a text, for example V(arm_boost).
        type: raw
        required: true
      value:
        description: Its value, for example V(1). Needed, unless O(config_txt[].state=absent).
        type: raw
      state:
        description: Whether the setting is to be there.
        type: str
        choices: [present, absent]
        default: present
  cmdline:
    description: Edit of the kernel command line, as in M(bramble.pi.kernel_cmdline).
    type: dict
    default: {}
    suboptions:
      path:
        description: Name of the file on the partition, if it is not the one that would be found.
        type: str
      present:
        description: A list of the tokens that are to be on the line, each a text and once.
        type: raw
        default: []
      absent:
        description: A list of the tokens that are not to be on the line, each a text.
        type: raw
        default: []
      set:
        description: Keys and the one value that each is to have.
        type: dict
        default: {}
seealso:
  - module: bramble.pi.config_txt
  - module: bramble.pi.kernel_cmdline
"""

EXAMPLES = r"""
- name: Put a node's identity on a card that is in the reader
  bramble.pi.boot_files:
    path: /dev/sdb
    files:
      - path: user-data
        content: "{{ lookup('ansible.builtin.file', 'pi-1/user-data') }}"
      - path: meta-data
        content: |
          instance-id: pi-1-20260921
          local-hostname: pi-1
  no_log: true
  become: true

- name: Prepare an image for all nodes
  bramble.pi.boot_files:
    path: raspios.img
    files:
      - path: ssh
        content: ""
      - path: overlays/hat.dtbo
        src: hat.dtbo
      - path: firstrun.sh
        state: absent
    config_txt:
      - section: pi4
        setting: arm_boost
        value: "1"
    cmdline:
      present:
        - cgroup_enable=memory

- name: Enable a serial console on a card that is mounted
  bramble.pi.boot_files:
    path: /media/pi/bootfs
    config_txt:
      - setting: enable_uart
        value: "1"
"""

RETURN = r"""
kind:
  description: What O(path) is, V(fat) for a device or an image, or V(folder).
  returned: success
  type: str
  sample: fat
changed_files:
  description: The files that were written or removed, under the names that they have on the partition.
  returned: success
  type: list
  elements: str
  sample: [user-data, meta-data, cmdline.txt]
cmdline_path:
  description: The command line file that counts, V(none) if nothing was asked of it.
  returned: success
  type: str
  sample: current/cmdline.txt
cmdline:
  description: The command line as it is now, or as it would be in check mode.
  returned: success
  type: str
  sample: console=tty1 root=PARTUUID=4d8097e2-02 rootfstype=ext4 fsck.repair=yes rootwait cgroup_enable=memory
free:
  description: How many bytes are free on the partition afterwards.
  returned: success
  type: int
  sample: 460513280
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._boot.folder import FolderBoot
from ansible_collections.bramble.pi.plugins.module_utils._boot.open_boot import open_boot
from ansible_collections.bramble.pi.plugins.module_utils._boot.partition import apply_seed, make_seed
from ansible_collections.bramble.pi.plugins.module_utils._boot.storage import BootPartitionError
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import module_errors
from ansible_collections.bramble.pi.plugins.module_utils._common.secrets import masked, masked_message
from ansible_collections.bramble.pi.plugins.module_utils._common.values import text_problem


def _content(file: Mapping[str, Any]) -> bytes:
    name, content, src = file["path"], file["content"], file["src"]
    if (content is None) == (src is None):
        seen = "neither 'content' nor 'src'" if content is None else "both 'content' and 'src'"
        raise BootPartitionError(f"the file {name!r} has {seen}; expected one of them, or 'state: absent'.")
    if src is None:
        problem = text_problem(content, secret=True)
        if problem:
            raise BootPartitionError(f"'content' of the file {name!r} {problem}.")
        return str(content).encode("utf-8", "surrogateescape")
    try:
        with open(src, "rb") as source:
            return source.read()
    except OSError as error:
        raise BootPartitionError(
            f"the file {name!r} is to be copied from {src}: {error.strerror}. Set 'src' to a file on the "
            f"machine where this runs."
        ) from error


def _names(files: Sequence[Mapping[str, Any]], state: str) -> list[str]:
    return [file["path"] for file in files if file["state"] == state]


def _run(module: AnsibleModule) -> dict[str, Any]:
    options = module.params
    files = options["files"]
    given = _names(files, "present")
    if len(set(given)) < len(given):
        twice = next(name for name in given if given.count(name) > 1)
        raise BootPartitionError(f"'files' has {twice!r} more than once; expected each file once.")
    try:
        contents = {file["path"]: _content(file) for file in files if file["state"] == "present"}
    finally:
        for file in files:
            # Ansible shows the options of a module that runs with -vvv.
            file["content"] = masked(file["content"]) if isinstance(file["content"], str) else None
    seed = make_seed(
        files=contents,
        absent=_names(files, "absent"),
        config_txt=options["config_txt"],
        cmdline=options["cmdline"],
    )
    writable = not module.check_mode
    with open_boot(
        path=options["path"], run=module.run_command, writable=writable, offset=options["offset"]
    ) as boot:
        result = apply_seed(boot=boot, seed=seed, dry_run=module.check_mode)
        answer = {
            "changed": bool(result.changed),
            "kind": "folder" if isinstance(boot, FolderBoot) else "fat",
            "changed_files": result.changed,
            "cmdline_path": result.cmdline_path,
            "cmdline": result.cmdline and masked_message(result.cmdline),
            "free": boot.free,
        }
    # What is not to be logged is not to be shown either.
    return answer if module.no_log else {**answer, "diff": result.diff}


def main() -> None:
    """Run the module."""
    state = {"type": "str", "choices": ["present", "absent"], "default": "present"}
    # Ansible would make the text "False" of the word no, and cut a text at its commas, which tokens such as
    # console=serial0,115200 have; what is raw is checked later.
    tokens = {"type": "raw", "default": []}
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "offset": {"type": "int"},
            "files": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "path": {"type": "str", "required": True},
                    "content": {"type": "raw"},
                    "src": {"type": "path"},
                    "state": state,
                },
            },
            "config_txt": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "section": {"type": "raw", "default": "all"},
                    "setting": {"type": "raw", "required": True},
                    "value": {"type": "raw"},
                    "state": state,
                },
            },
            "cmdline": {
                "type": "dict",
                "default": {},
                "options": {
                    "path": {"type": "str"},
                    "present": tokens,
                    "absent": tokens,
                    "set": {"type": "dict", "default": {}},
                },
            },
        },
        supports_check_mode=True,
    )
    remedy = "look in the kernel's log ('dmesg') whether the card fails"
    with module_errors(module, path=module.params["path"], remedy=remedy):
        result = _run(module)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
