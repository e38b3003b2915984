#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.netboot_tree``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: netboot_tree
short_description: Unpack an OS image into the trees that a node boots from over the network
version_added: '0.1.0'
description:
  - Unpacks the boot partition of an image into the folder that the TFTP server has for the node's serial
    number, and its root file system into the folder that the node mounts over NFS, and makes both those of
    this node.
  - The image is unpacked once and copied for each node, by reference where the file system can do that.
    There are no hard links between nodes, as a file that one node writes in place would change for the
    others.
  - A tree is made beside what is served, and takes its place at the end. A run that was interrupted at any
    moment is run again, and goes on or begins again.
  - A tree that is there keeps all that its node has written. Only what makes it this node's tree is put
    right again.
  - What was asked for of the boot partition before, and is not any more (files, settings of C(config.txt),
    kernel tokens), goes from it, and what the image has in its place comes back.
notes:
  - Runs on the machine that serves the trees, as root. Needs mtools, e2fsprogs, zstd, and lsinitramfs of
    initramfs-tools-core for images that boot with an initramfs.
  - Growing of file systems, cloud-init, and what else a first boot from a card does is switched off. User,
    keys, host name and the rest are in the tree before the first boot.
author:
  - bramble.pi contributors (@bramble-pi)
extends_documentation_fragment:
  - bramble.pi.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  dir:
    description: The folder of all trees, in which C(tftp) and C(nfs) are served.
    type: path
    default: /srv/netboot
  image:
    description: The image, as M(bramble.pi.os_image) returns its path, or any image file.
    type: path
    required: true
  node:
    description: The name of the node, which its tree has in C(nfs), and its host name.
    type: str
    required: true
  serial:
    description: The last eight hexadecimal digits of the board's serial number, in lower case.
    type: str
    required: true
  server:
    description: The address at which the node reaches the NFS server.
    type: str
    required: true
  user:
    description: Who logs in; is made if the image does not have this user.
    type: str
    required: true
  authorized_keys:
    description: The public keys that the user logs in by.
    type: list
    elements: str
    default: []
  password_hash:
    description: The hash of the user's password, for a screen and a keyboard; empty for none.
    type: str
    default: ''
  timezone:
    description: The time zone, such as V(Europe/Berlin); empty to leave that of the image.
    type: str
    default: ''
  resolvers:
    description: The name servers of the node.
    type: list
    elements: str
    default: []
  cmdline_present:
    description: Tokens that the kernel command line is to have, beside those of the network boot.
    type: list
    elements: str
    default: []
  config_txt:
    description: Settings of config.txt, as O(bramble.pi.boot_files#module:config_txt).
    type: list
    elements: dict
    default: []
  files:
    description: Names and texts of further files for the boot partition.
    type: dict
    default: {}
  container_storage:
    description:
      - Where images and containers are, as overlayfs does not work on NFS.
      - V(loop) is a file in the tree with a file system in it, V(disk) a device of the node's own, V(none)
        the tree itself.
    type: str
    choices: [loop, disk, none]
    default: loop
  container_storage_size:
    description: The largest size of that file, in bytes; it takes only what is written to it.
    type: int
    default: 17179869184
  container_storage_device:
    description: The device, with ext4 on it, such as V(LABEL=containers). For V(container_storage=disk).
    type: str
    default: ''
  replace:
    description:
      - Whether to make a tree of another image again. What the node has written into the old one is kept in
        C(before) until the new one has booted.
      - With V(false), a tree of another image is left as it is, with a warning.
    type: bool
    default: false
  root_file_system:
    description:
      - Whether the trees may be on the root file system of the server. A node that was taken over can guess
        the handles of all files on the file system that it has its tree on, whatever is exported of it.
      - With V(false), such a O(dir) is refused. This module serves nothing, so that this is for who does.
    type: bool
    default: true
seealso:
  - module: bramble.pi.os_image
"""

EXAMPLES = r"""
- name: Make the tree of a node
  bramble.pi.netboot_tree:
    image: "{{ os_image.image.path }}"
    node: pi-2
    serial: 6a1b9c04
    server: 10.0.0.1
    user: pi
    authorized_keys:
      - ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPFr5nS4kYvgPm7dWdVjW5DVi4rUuxC1oiP7yWvLTSiT you@laptop
    resolvers: [10.0.0.1]
    cmdline_present: [cgroup_enable=memory]
  become: true
  delegate_to: pi-1
"""

RETURN = r"""
changes:
  description: What was changed, or would be.
  returned: success
  type: list
  elements: str
  sample: [make the tree, etc/fstab]
root:
  description: The folder that the node mounts as its root.
  returned: success
  type: str
  sample: /srv/netboot/nfs/pi-2
boot:
  description: The folder that the firmware loads from.
  returned: success
  type: str
  sample: /srv/netboot/tftp/6a1b9c04
why:
  description: How the node comes to its root over NFS 4.1; empty if there is no tree yet.
  returned: success
  type: str
  sample: the kernel mounts it by itself
host_key:
  description: The public SSH host key of the node; empty if there is no tree yet.
  returned: success
  type: str
  sample: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPFr5nS4kYvgPm7dWdVjW5DVi4rUuxC1oiP7yWvLTSiT root@pi-2
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import module_errors
from ansible_collections.bramble.pi.plugins.module_utils._netboot.builder import TreeBuilder
from ansible_collections.bramble.pi.plugins.module_utils._netboot.configuration import TreeOptions


def main() -> None:
    """Run the module."""
    texts = {"type": "list", "elements": "str", "default": []}
    module = AnsibleModule(
        argument_spec={
            "dir": {"type": "path", "default": "/srv/netboot"},
            "image": {"type": "path", "required": True},
            "node": {"type": "str", "required": True},
            "serial": {"type": "str", "required": True},
            "server": {"type": "str", "required": True},
            "user": {"type": "str", "required": True},
            # They are public, whatever their name looks like.
            "authorized_keys": {**texts, "no_log": False},
            "password_hash": {"type": "str", "default": "", "no_log": True},
            "timezone": {"type": "str", "default": ""},
            "resolvers": texts,
            "cmdline_present": texts,
            "config_txt": {"type": "list", "elements": "dict", "default": []},
            "files": {"type": "dict", "default": {}},
            "container_storage": {"type": "str", "choices": ["loop", "disk", "none"], "default": "loop"},
            "container_storage_size": {"type": "int", "default": 16 << 30},
            "container_storage_device": {"type": "str", "default": ""},
            "replace": {"type": "bool", "default": False},
            "root_file_system": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    # What the server hands out has to be readable for it.
    os.umask(0o022)
    changes = Changes(check_mode=module.check_mode)
    tree = TreeBuilder(
        options=TreeOptions(**module.params),
        changes=changes,
        run=module.run_command,
        mtools=module.run_command,
        scratch=module.tmpdir,
        warn=module.warn,
    )
    top = module.params["dir"]
    remedy = f"look at the file system of {top} ('df {top}'), or set netboot_tree_dir to another"
    with module_errors(module, subject=module.params["node"], path=top, remedy=remedy):
        tree.check()
        tree.ensure()
    module.exit_json(
        changed=bool(changes),
        changes=changes.sentences,
        root=tree.root,
        boot=tree.boot,
        why=tree.why,
        host_key=tree.host_key,
    )


if __name__ == "__main__":
    main()
