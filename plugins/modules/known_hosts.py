#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.known_hosts``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: known_hosts
short_description: Make host keys of a whole rack known to ssh, without a changed one slipping in
version_added: '0.1.0'
description:
  - Enters the keys of all hosts in one go. A name that is known with another key is an error with both
    fingerprints, unless O(replace) says that it was to be expected; then nothing is written at all.
  - Keys of other names stay as they are.
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
    description: The file; it gets mode V(0600) and its folder V(0700) if they have to be made.
    type: path
    default: ~/.ssh/known_hosts
  hosts:
    description: The hosts.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The host in messages.
        type: str
        required: true
      known_as:
        description: The names and addresses by which ssh looks for its keys, such as V([10.0.0.2, pi-2]).
        type: list
        elements: str
        required: true
      keys:
        description: Its public keys, each as type and key.
        type: list
        elements: str
        required: true
  replace:
    description: Whether a key that changed takes the place of the one that is known.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Know a node
  bramble.pi.known_hosts:
    hosts:
      - name: pi-2
        known_as: [10.0.0.2, pi-2]
        keys: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGYPBWtAFNQ5YQbNGYPo8DRBZu1sBFHZ1bCDFMK+3Gah]
"""

RETURN = r"""
added:
  description: The names for which keys were entered.
  returned: success
  type: list
  elements: str
  sample: [10.0.0.2, pi-2]
replaced:
  description: The names whose keys were replaced.
  returned: success
  type: list
  elements: str
  sample: []
"""

import os
import tempfile
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text, write_text
from ansible_collections.bramble.pi.plugins.module_utils._ssh import known_hosts
from ansible_collections.bramble.pi.plugins.module_utils._ssh.keys import fingerprint


def _shown(key: str) -> str:
    kind, blob = key.split()
    try:
        return f"{kind} {fingerprint(blob)}"
    except ValueError:
        return f"{kind} {blob!r} (no key)"


def _forget(module: AnsibleModule, text: str, names: list[str]) -> str:
    """Return the text without the keys of the names; the file itself is not touched."""
    with tempfile.TemporaryDirectory() as folder:
        copy = os.path.join(folder, "known_hosts")
        write_text(copy, text)
        for name in names:
            module.run_command(known_hosts.forget_command(name=name, path=copy), check_rc=True)
        return read_text(copy) or ""


def _judge(module: AnsibleModule, path: str) -> tuple[list[str], list[str], list[str], list[str]]:
    """Return the lines to enter, the names that they are of, the names to forget first, and what is wrong."""
    lines: list[str] = []
    added: list[str] = []
    replaced: list[str] = []
    problems: list[str] = []
    for host in module.params["hosts"]:
        keys = [" ".join(key.split()[:2]) for key in host["keys"]]
        if not keys:
            problems.append(
                f"{host['name']}: it has no host key in /etc/ssh; make some by `sudo ssh-keygen -A` there"
            )
            continue
        changed: dict[tuple[str, str], list[str]] = {}
        for name in host["known_as"]:
            found = ""
            if os.path.exists(path):
                _rc, found, _error = module.run_command(known_hosts.find_command(name=name, path=path))
            verdict = known_hosts.judge(found=found, keys=keys)
            problems += [
                f"{host['name']}: its {_shown(key)} is revoked by a line for {name}"
                for key in verdict.revoked
            ]
            missing = verdict.missing
            if verdict.others:
                # One pair of keys says it; those of the same type if there are such.
                pairs = [(other, key) for other in verdict.others for key in keys]
                pairs.sort(key=lambda pair: pair[0].split()[0] != pair[1].split()[0])
                changed.setdefault(pairs[0], []).append(name)
                missing = keys
            lines += [f"{name} {key}" for key in missing]
            added += [name] if missing else []
        replaced += [name for names in changed.values() for name in names]
        if not module.params["replace"]:
            problems += [
                f"{host['name']}: {' and '.join(names)} is known with {_shown(other)}, and the node itself "
                f"has {_shown(key)}"
                for (other, key), names in changed.items()
            ]
    return lines, added, replaced, problems


def main() -> None:
    """Run the module."""
    texts = {"type": "list", "elements": "str", "required": True}
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "default": "~/.ssh/known_hosts"},
            "hosts": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "known_as": texts,
                    "keys": {**texts, "no_log": False},
                },
            },
            "replace": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    module.get_bin_path("ssh-keygen", required=True)
    path = module.params["path"]
    lines, added, replaced, problems = _judge(module, path)
    if problems:
        module.fail_json(
            msg=f"{path} was left as it is. {'; '.join(problems)}. If a card was written anew or a board "
            "exchanged, say so once with -e ssh_access_replace_host_keys=true; or find out who answers there"
        )
    before = read_text(path) or ""
    after = _forget(module, before, replaced) if replaced else before
    after += "\n" if lines and after and not after.endswith("\n") else ""
    after += "".join(f"{line}\n" for line in lines)
    if before != after and not module.check_mode:
        folder = os.path.dirname(path)
        if not os.path.isdir(folder):
            os.makedirs(folder, mode=0o700)
        write_text(path, after, mode=0o600)
    result: dict[str, Any] = {"changed": before != after, "added": added, "replaced": replaced}
    module.exit_json(
        **result, diff={"before_header": path, "after_header": path, "before": before, "after": after}
    )


if __name__ == "__main__":
    main()
