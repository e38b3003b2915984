#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.config_txt``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: config_txt
short_description: Edit settings of a Raspberry Pi's firmware
version_added: '0.1.0'
description:
  - Sets what the firmware reads in C(config.txt), under the filter that it is meant for, or takes it out.
  - A setting that is there is edited where it stands, a new one goes to the end of its section, or into a new
    section at the end of the file. Comments, order and all other lines stay as they are.
  - A setting of another section is another setting. Where a later line of a more general section would
    override the desired one, the desired one is put after it.
notes:
  - "Filters are read as the firmware reads them: a header counts until the next one, headers of different
    kinds combine, one of the same kind replaces the other, and C([all]) ends them all."
  - Of most settings the last line counts. It is edited, and earlier ones of the same section, which have no
    effect, are taken out. Of V(dtoverlay), V(gpio), V(include) and V(initramfs) each line counts, and the
    desired one is added if it is not there.
  - Of V(dtparam) each parameter is a setting of its own. Below a V(dtoverlay), a V(dtparam) belongs to that
    overlay first; give the parameters of overlays as a part of V(dtoverlay). A new V(dtparam) is for the
    board, so it stands before the first V(dtoverlay), or after an empty one, which is added where needed.
  - The firmware ignores what is beyond 98 characters of a line, so a longer one is refused.
  - On Debian with raspi-firmware, C(config.txt) is written again at every update of a kernel. The edit is
    therefore made in C(/etc/default/raspi-firmware-custom) too. What raspi-firmware writes of its own accord
    comes back if it is taken out; a warning says so.
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
      - File to edit, for example on a card that is mounted elsewhere. Nothing else is edited then.
      - C(/boot/firmware/config.txt), or else C(/boot/config.txt), if it is not given.
    type: path
  settings:
    description: Settings as they are to be.
    type: list
    elements: dict
    required: true
    suboptions:
      section:
        description:
          - Filter that the setting stands under, a text without brackets, for example V(all), V(pi4), V(cm5),
            V(board-type=0x14), V(0x12345678), V(EDID=DEL-DELL_U2422H) or V(gpio4=1).
          - Several that have to match together, with a blank between, for example V(pi4 gpio4=1).
        type: raw
        default: all
      setting:
        description: Name, a text, for example V(dtoverlay) or V(hdmi_group:1).
        type: raw
        required: true
      value:
        description:
          - Value, a number or text. It is required if the setting is to be present.
          - With O(settings[].state=absent), only lines with this value are taken out.
        type: raw
      state:
        description: Whether it is to be there.
        type: str
        choices: [present, absent]
        default: present
  backup:
    description:
      - Keep the file as it was before the first change beside it, its name with C(.bramble-original) added.
      - A copy that is already there is never overwritten.
    type: bool
    default: true
seealso:
  - name: config.txt
    description: Which settings and filters there are.
    link: https://www.raspberrypi.com/documentation/computers/config_txt.html
  - module: bramble.pi.kernel_cmdline
"""

EXAMPLES = r"""
- name: Turn Wi-Fi off and give the graphics processor little memory
  bramble.pi.config_txt:
    settings:
      - setting: dtoverlay
        value: disable-wifi
      - setting: gpu_mem
        value: 16
  register: config_txt

- name: Reboot if the firmware started with other settings
  ansible.builtin.reboot:
  when: config_txt.reboot_required

- name: Boot the Pi 5 with pages of 4 KiB
  bramble.pi.config_txt:
    settings:
      - section: pi5
        setting: kernel
        value: kernel8.img

- name: Take the camera out of a card
  bramble.pi.config_txt:
    path: /mnt/card/config.txt
    settings:
      - setting: start_x
        state: absent
"""

RETURN = r"""
path:
  description: The file that was looked at, with links followed.
  returned: success
  type: str
  sample: /boot/firmware/config.txt
changed_files:
  description: The files that were changed, which are two where the settings are also kept elsewhere.
  returned: success
  type: list
  elements: str
  sample: [/boot/firmware/config.txt]
backup_file:
  description: The file as it was before the first change, V(none) if there is no such copy.
  returned: success
  type: str
  sample: /boot/firmware/config.txt.bramble-original
reboot_required:
  description:
    - Whether this module has changed the file since the boot, so that the firmware read another one. This is
      kept over runs in C(/run), which a reboot empties, and it turns V(false) if the change is undone.
    - What others change is not seen, as a Pi has no clock to compare with.
    - Always V(false) for a file that this node does not boot with.
  returned: success
  type: bool
  sample: true
"""

import hashlib
import os
from collections.abc import Sequence
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._boot import config_txt
from ansible_collections.bramble.pi.plugins.module_utils._boot.config_txt_settings import (
    Setting,
    parse_settings,
)
from ansible_collections.bramble.pi.plugins.module_utils._boot.layout import RASPI_FIRMWARE_HOOK
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import module_errors
from ansible_collections.bramble.pi.plugins.module_utils._common.file_edit import (
    FileEdit,
    apply_edit,
    backup_file,
    read_file,
    require_writable,
)
from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text, write_text

#: The checksum of the file that the firmware read, kept from the first edit to the next boot.
_BOOTED = "/run/bramble-config.txt.booted"


def _edit(path: str, before: bytes | None, text: str) -> FileEdit:
    return FileEdit(path, before, text.encode(errors="surrogateescape"))


def _plan(path: str, settings: Sequence[Setting], generated: bool) -> list[FileEdit]:
    """Say what becomes of the file, and of the one that it is generated from."""
    real, data = read_file(path=path)
    text = data.decode(errors="surrogateescape")
    config_txt.check_text(text=text, path=path)
    after = config_txt.edit_config_txt(text=text, settings=settings, keep_duplicates=generated)
    edits = [_edit(real, data, after)]
    if generated:
        source = read_text(config_txt.RASPI_FIRMWARE_CUSTOM)
        own = config_txt.source_settings(text=text, source=source or "", settings=settings)
        before = None if source is None else source.encode(errors="surrogateescape")
        after = config_txt.edit_config_txt(text=source or "", settings=own)
        edits.append(_edit(config_txt.RASPI_FIRMWARE_CUSTOM, before, after))
    return edits


def _checksum(data: bytes | None) -> str:
    return hashlib.sha256(data or b"").hexdigest()


def _run(module: AnsibleModule) -> dict[str, Any]:
    options = module.params
    settings = parse_settings(data=options["settings"])
    generated = not options["path"] and config_txt.is_generated(hook=read_text(RASPI_FIRMWARE_HOOK) or "")
    path = options["path"] or config_txt.find_config_txt(exists=os.path.lexists)
    edits = _plan(path, settings, generated)
    edit = edits[0]
    text = edit.after.decode(errors="surrogateescape")
    folder = os.path.dirname(edit.path)
    for warning in config_txt.include_warnings(
        text=text, settings=settings, read=lambda name: read_text(os.path.join(folder, name))
    ):
        module.warn(warning)
    if generated:
        before = (edit.before or b"").decode(errors="surrogateescape")
        for setting in settings:
            if setting.absent and not config_txt.stands(text=before, setting=setting):
                module.warn(
                    f"{setting.line!r} is taken out of {edit.path}, and comes back with the next update of a "
                    f"kernel if raspi-firmware writes it: give it the expected value instead."
                )
    # The source first: a run that ends between the two finds the file as it was and does both.
    changes = [each for each in reversed(edits) if each.changed]
    for change in changes:
        require_writable(path=change.path)

    own = edit.path in {os.path.realpath(place) for place in config_txt.CONFIG_TXT}
    booted = (read_text(_BOOTED) or _checksum(edit.before)) if own else _checksum(edit.after)
    if not module.check_mode:
        if own and edit.changed:
            write_text(_BOOTED, booted)
        for change in changes:
            apply_edit(edit=change, backup=options["backup"])
    return {
        "changed": bool(changes),
        "path": edit.path,
        "changed_files": [change.path for change in changes],
        "backup_file": backup_file(edit=edit, backup=options["backup"]),
        "reboot_required": booted != _checksum(edit.after),
        "diff": [change.diff for change in changes],
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path"},
            "settings": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    # Ansible would make the text "True" of the word yes; both are checked later.
                    "section": {"type": "raw", "default": "all"},
                    "setting": {"type": "raw", "required": True},
                    "value": {"type": "raw"},
                    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
                },
            },
            "backup": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    remedy = "look in the kernel's log ('dmesg') whether the card fails"
    with module_errors(module, path="config.txt", remedy=remedy):
        result = _run(module)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
