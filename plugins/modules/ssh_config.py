#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.ssh_config``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ssh_config
short_description: Let ssh reach the nodes of a rack by their names
version_added: '0.1.0'
description:
  - Writes a file with an entry for each node, and one line at the top of the user's own configuration that
    includes it.
  - C(ssh -G) has to take both before they are put in place, to find each node as it is wanted, and to make
    the same of any other host as before. A configuration that ssh does not take already is not touched.
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
      - The user's configuration. Before it is edited for the first time it is kept beside, under a name that
        ends in C(.bramble-original).
    type: path
    default: ~/.ssh/config
  entries:
    description: The file with the entries, which is the rack's own.
    type: path
    required: true
  title:
    description: What the rack is called in the first line of that file.
    type: str
    required: true
  hosts:
    description: The nodes.
    type: list
    elements: dict
    required: true
    suboptions:
      names:
        description: What the user calls the node, such as V([pi-2]).
        type: list
        elements: str
        required: true
      address:
        description: Its address or name.
        type: str
        required: true
      user:
        description: Who logs in there; empty for the user's own name.
        type: str
        default: ''
      port:
        description: The port of its sshd.
        type: int
        default: 22
      jump:
        description: The node through which it is reached, by one of its names; empty for none.
        type: str
        default: ''
  key_file:
    description: The key that opens them.
    type: path
    required: true
  known_hosts:
    description: The file with their host keys, if it is not the one that ssh has by itself.
    type: path
"""

EXAMPLES = r"""
- name: Reach the nodes by their names
  bramble.pi.ssh_config:
    entries: ~/.ssh/bramble-rack.conf
    title: rack
    key_file: ~/.ssh/id_ed25519
    hosts:
      - names: [pi-1]
        address: 192.168.1.50
        user: pi
      - names: [pi-2]
        address: 10.0.0.2
        user: pi
        jump: pi-1
"""

RETURN = r"""
backup_file:
  description: Where the user's configuration is kept as it was before the first edit.
  returned: when there is one
  type: str
  sample: /home/ada/.ssh/config.bramble-original
"""

import os
import pwd
import tempfile

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common.file_edit import (
    FileEdit,
    apply_edit,
    backup_file,
)
from ansible_collections.bramble.pi.plugins.module_utils._ssh import config as ssh_config

#: Stands for all hosts that are not of the rack.
_OTHER_HOST = "bramble-no-such-host.invalid"


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


def _settings(module: AnsibleModule, config: str, host: str) -> str:
    """Ask ssh what it makes of a host, by the user's configuration alone."""
    rc, output, error = module.run_command(["ssh", "-F", config, "-G", host])
    if rc != 0:
        raise ssh_config.SshConfigError(" ".join(error.split()))
    return output


def _check(module: AnsibleModule, config: str, hosts: list[ssh_config.Host]) -> None:
    """Check that each node is found as it is wanted."""
    for host in hosts:
        for name in host.names:
            seen = ssh_config.parse_settings(_settings(module, config, name))
            wanted = {"hostname": host.address.lower(), "port": str(host.port)}
            wanted.update({"user": host.user} if host.user else {})
            wanted.update({"proxyjump": host.jump} if host.jump else {})
            for key, value in wanted.items():
                if seen.get(key, "").lower() != value.lower():
                    raise ssh_config.SshConfigError(
                        f"with the entries ssh has {key} {seen.get(key)!r} for {name}; wanted is {value!r}: "
                        "rename one of two hosts of that name, of which one may be another rack's"
                    )


def _try(module: AnsibleModule, before: bytes, entries: str, hosts: list[ssh_config.Host], home: str) -> None:
    """Check the new configuration in a place where it changes nothing."""
    with tempfile.TemporaryDirectory() as folder:
        old, new, included = (os.path.join(folder, name) for name in ("old", "new", "entries"))
        with open(old, "wb") as file:
            file.write(before)
        try:
            other_host = _settings(module, old, _OTHER_HOST)
        except ssh_config.SshConfigError as error:
            raise ssh_config.SshConfigError(
                f"ssh does not take it as it is, before anything was changed: {error}; mend it"
            ) from error
        with open(included, "w", encoding="utf-8") as file:
            file.write(entries)
        with open(new, "wb") as file:
            file.write(ssh_config.with_include(before, path=included, home=home))
        _check(module, new, hosts)
        if _settings(module, new, _OTHER_HOST) != other_host:
            raise ssh_config.SshConfigError(
                "with the entries at its top other hosts would be reached in another way; include "
                f"{module.params['entries']} by hand where it suits"
            )


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "default": "~/.ssh/config"},
            "entries": {"type": "path", "required": True},
            "title": {"type": "str", "required": True},
            "hosts": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "names": {"type": "list", "elements": "str", "required": True},
                    "address": {"type": "str", "required": True},
                    "user": {"type": "str", "default": ""},
                    "port": {"type": "int", "default": 22},
                    "jump": {"type": "str", "default": ""},
                },
            },
            "key_file": {"type": "path", "required": True, "no_log": False},
            "known_hosts": {"type": "path"},
        },
        supports_check_mode=True,
    )
    module.get_bin_path("ssh", required=True)
    options = module.params
    # ssh asks the system for the user's home, and not the environment.
    home = pwd.getpwuid(os.getuid()).pw_dir
    hosts = [ssh_config.Host(**host) for host in options["hosts"]]
    # A link, as people have it who keep such files elsewhere, stays one.
    path = os.path.realpath(options["path"])
    result: dict[str, object] = {}
    try:
        entries = ssh_config.entries(
            title=options["title"],
            hosts=hosts,
            key_file=options["key_file"],
            known_hosts=options["known_hosts"] or "",
        )
        config = _read(path)
        after = ssh_config.with_include(config or b"", path=options["entries"], home=home)
        edits = [
            FileEdit(path=options["entries"], before=_read(options["entries"]), after=entries.encode()),
            FileEdit(path=path, before=config, after=after),
        ]
        result = {"changed": any(edit.changed for edit in edits), "diff": [edit.diff for edit in edits]}
        if result["changed"]:
            _try(module, config or b"", entries, hosts, home)
        if result["changed"] and not module.check_mode:
            _write(module, edits, hosts)
        kept = backup_file(edit=edits[1], backup=config is not None)
        result.update({"backup_file": kept} if kept else {})
    except (ssh_config.SshConfigError, OSError) as error:
        module.fail_json(msg=f"{options['path']}: {error}")
    module.exit_json(**result)


def _write(module: AnsibleModule, edits: list[FileEdit], hosts: list[ssh_config.Host]) -> None:
    """Put the files in place, and what was there back if ssh does not take them after all."""
    for edit in edits:
        folder = os.path.dirname(edit.path)
        if not os.path.isdir(folder):
            os.makedirs(folder, mode=0o700)
    try:
        for edit in edits:
            if edit.changed:
                apply_edit(edit=edit, backup=edit is edits[1])
                if edit.before is None:
                    os.chmod(edit.path, 0o600)
        _check(module, edits[1].path, hosts)
    except BaseException:
        for edit in reversed(edits):
            if edit.before is not None:
                apply_edit(edit=edit._replace(after=edit.before), backup=False)
            elif os.path.lexists(edit.path):
                os.unlink(edit.path)
        raise


if __name__ == "__main__":
    main()
