#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.authorized_keys``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: authorized_keys
short_description: Manage the SSH keys that may log in as a user
version_added: '0.1.0'
description:
  - Enters public keys into C(~/.ssh/authorized_keys) of a user, and puts owner and modes right, without
    which sshd takes no key; the folder has mode V(0700) then, the file V(0600) or a stricter one.
  - A link in place of the folder or the file is refused, as what it leads to may belong to somebody else.
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
  user:
    description: The user, who has to be there.
    type: str
    required: true
  keys:
    description:
      - Lines of C(.pub) files, with options before them if need be.
      - A key that is there already keeps its line, unless it is desired with other options.
    type: list
    elements: str
    required: true
  exclusive:
    description:
      - Whether to remove all other keys.
      - Refused if the key by which Ansible gets to this node would be removed.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Let two people in
  bramble.pi.authorized_keys:
    user: pi
    keys:
      - ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGYPBWtAFNQ5YQbNGYPo8DRBZu1sBFHZ1bCDFMK+3Gah ada@laptop
      - from="192.168.1.0/24" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE0MBBk5dAzqyFzMzfRcGBBRZBhg6oZVxmxaXpaNj6L5
"""

RETURN = r"""
path:
  description: The file.
  returned: success
  type: str
  sample: /home/pi/.ssh/authorized_keys
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import module_errors
from ansible_collections.bramble.pi.plugins.module_utils._ssh import authorized_keys


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "user": {"type": "str", "required": True},
            "keys": {"type": "list", "elements": "str", "required": True, "no_log": False},
            "exclusive": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    name, keys = module.params["user"], module.params["keys"]
    with module_errors(module, subject=f"the keys of {name}", remedy=f"fix it in the home of {name}"):
        authorized_keys.check_keys(keys)
        user = authorized_keys.account(name)
        result = authorized_keys.authorize(
            user=user, keys=keys, exclusive=module.params["exclusive"], dry_run=module.check_mode
        )
    if result.pop("loose_home"):
        module.warn(f"others may write to {user.pw_dir}, so that sshd takes no key: chmod go-w {user.pw_dir}")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
