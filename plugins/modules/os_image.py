#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.os_image``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: os_image
short_description: Fetch the image of an operating system and keep it ready for cards
version_added: '0.1.0'
description:
  - Downloads an image, or takes a file, checks its SHA-256, and unpacks it once into a cache, in a form that
    is quick to write to cards.
  - Images are raw or packed as zip, gzip, xz or zstd, recognised by what is in the file, not by its name.
  - An interrupted download goes on where it stopped, if the server can do that and still has the same file.
  - What is truncated, corrupt, another file than expected, or no image of a whole disk with a boot partition
    is refused by name, and nothing of it stays in the cache.
notes:
  - Runs on the controller, as a rule, with C(delegate_to=localhost).
  - "Commands that are needed: C(zstd), C(mcopy) (package mtools), and C(xz) or C(gzip) for images packed so."
  - Images stay in the cache until they are removed by hand; each file there may be deleted at any time.
  - Of two calls at once, one waits for the other.
author:
  - bramble.pi contributors (@bramble-pi)
extends_documentation_fragment:
  - bramble.pi.attributes
attributes:
  check_mode:
    support: partial
    details:
      - Nothing is fetched, so an image that is not in the cache yet cannot be checked.
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  src:
    description:
      - URL (http or https) or path of the image. An https URL that leads to http is refused.
    type: str
    required: true
  checksum:
    description:
      - The SHA-256 of the file at O(src), as it is published. One of the following.
      - The checksum itself, with or without C(sha256:) before it.
      - The URL or path of a file with checksums, as C(sha256sum) writes it. The line is found by the name of
        the image.
      - "Empty: such a file is looked for beside the image, with C(.sha256) added to the name of the image, or
        named C(SHA256SUMS). A URL without one is refused, a local file is taken with a warning."
      - "V(none): the image is not checked, and a warning says so. What was fetched once is not fetched
        again."
    type: str
    default: ''
  extract_checksum:
    description:
      - The SHA-256 of the image inside, unpacked.
    type: str
    default: ''
  image_list:
    description:
      - URL or path of the image list that Raspberry Pi Imager uses, or of one of the same form.
      - The image with the same URL in it gives the checksums, the size and RV(image.init_format).
    type: str
    default: ''
  init_format:
    description:
      - How the first boot is configured. V(auto) takes it from O(image_list), or from what lies on the boot
        partition.
      - Where the list has another value, such as V(rpi-preseed), the boot partition decides if there is a
        C(user-data) on it, with a warning; else this option has to be set.
    type: str
    choices: [auto, cloudinit, cloudinit-rpi, systemd, cloudinit-legacy]
    default: auto
  cache_dir:
    description:
      - Folder of the cache. Images are in C(images) within it.
    type: path
    default: ~/.cache/bramble
seealso:
  - name: The image list of Raspberry Pi
    description: What Raspberry Pi Imager offers.
    link: https://downloads.raspberrypi.com/os_list_imagingutility_v4.json
"""

EXAMPLES = r"""
- name: Fetch an image, with the checksum beside it
  bramble.pi.os_image:
    src: https://example.org/images/2025-11-24-raspios-trixie-arm64-lite.img.xz
  delegate_to: localhost
  register: os_image

- name: Fetch an image, with what the official list knows of it
  bramble.pi.os_image:
    src: https://example.org/images/2025-11-24-raspios-trixie-arm64-lite.img.xz
    image_list: https://downloads.raspberrypi.com/os_list_imagingutility_v4.json
  delegate_to: localhost

- name: Take an image from a file
  bramble.pi.os_image:
    src: ~/Downloads/hypriotos-rpi-v1.12.3.img.zip
    checksum: sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
  delegate_to: localhost
"""

RETURN = r"""
image:
  description:
    - The image. In check mode, all but C(source) may be V(none), if it is not in the cache yet.
  returned: success
  type: dict
  contains:
    path:
      description: The image in the cache, packed as zstd.
      type: str
      sample: /home/pi/.cache/bramble/images/9f86d081884c7d659a2f....img.zst
    map:
      description: JSON that says where the image has data, and what else is known of it.
      type: str
      sample: /home/pi/.cache/bramble/images/9f86d081884c7d659a2f....json
    size:
      description: Bytes of the image, unpacked.
      type: int
      sample: 2977955840
    data_bytes:
      description: How many of them are not zero, counted in pieces of 64 KiB.
      type: int
      sample: 2274361344
    sha256:
      description: Checksum of the image, unpacked.
      type: str
      sample: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    name:
      description: File name of the image, unpacked.
      type: str
      sample: 2025-11-24-raspios-trixie-arm64-lite.img
    source:
      description: Where it came from.
      type: str
      sample: https://example.org/images/2025-11-24-raspios-trixie-arm64-lite.img.xz
    archive_sha256:
      description: Checksum of the file as it is published.
      type: str
      sample: 0b822cd15d6c15b0f00a089f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b
    verified:
      description: Whether a checksum was known, and the image has it; RV(image.verified_by) says whose.
      type: bool
      sample: true
    verified_by:
      description:
        - V(given) if the checksum was given as such or in a file on this machine, V(https) if it was fetched
          from a server that proved its name.
        - V(http) if it was fetched from one that did not, so that someone who changed the image on the way
          can have changed the checksum too; a warning says so. V(none) if there was no checksum.
      type: str
      sample: https
    boot_image:
      description: The beginning of the image up to the end of its boot partition, as a sparse file.
      type: str
      sample: /home/pi/.cache/bramble/images/9f86d081884c7d659a2f....boot.img
    boot_partition:
      description: Where the boot partition is.
      type: dict
      contains:
        offset:
          description: Its first byte.
          type: int
          sample: 8388608
        size:
          description: Its length in bytes.
          type: int
          sample: 536870912
    init_format:
      description:
        - How the first boot is configured, V(cloudinit), V(cloudinit-rpi), V(systemd) or
          V(cloudinit-legacy).
      type: str
      sample: cloudinit-rpi
    layout:
      description: Which system the boot partition belongs to; V(none) if that is not known.
      type: str
      sample: raspios
changes:
  description: What was done, or would be.
  returned: success
  type: list
  elements: str
  sample: ['Download https://example.org/images/trixie.img.xz', Keep it in the cache]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._boot.fat import FatBoot
from ansible_collections.bramble.pi.plugins.module_utils._boot.init_format import detect_init_format
from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError, module_errors
from ansible_collections.bramble.pi.plugins.module_utils._os_image.cache import Request
from ansible_collections.bramble.pi.plugins.module_utils._os_image.obtain import INIT_FORMATS, OsImage


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "src": {"type": "str", "required": True},
            "checksum": {"type": "str", "default": ""},
            "extract_checksum": {"type": "str", "default": ""},
            "image_list": {"type": "str", "default": ""},
            "init_format": {"type": "str", "choices": ["auto", *INIT_FORMATS], "default": "auto"},
            "cache_dir": {"type": "path", "default": "~/.cache/bramble"},
        },
        supports_check_mode=True,
    )

    def detect(path: str, offset: int) -> tuple[str, str]:
        found = detect_init_format(boot=FatBoot(path=path, offset=offset, run=module.run_command))
        return found.init_format, found.layout

    options = module.params
    changes = Changes(check_mode=module.check_mode)
    os_image = OsImage(
        request=Request(
            options["src"], options["checksum"], options["extract_checksum"], options["image_list"]
        ),
        init_format=options["init_format"],
        cache_dir=options["cache_dir"],
        detect=detect,
        changes=changes,
        warn=module.warn,
    )
    expected = f"expected an image to read, and room to write in 'cache_dir' ({options['cache_dir']})"
    with module_errors(module, path=os_image.origin, remedy=expected):
        try:
            image = os_image.ensure()
        except PermissionError as error:
            # Most often it is the cache of a user, where root is of no help.
            raise BrambleError(
                f"{error.filename or os_image.origin}: {error.strerror}; {expected}"
            ) from error
    module.exit_json(changed=bool(changes), image=image, changes=changes.sentences)


if __name__ == "__main__":
    main()
