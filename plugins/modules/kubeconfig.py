#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.kubeconfig``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kubeconfig
short_description: Give a user the administrator's kubeconfig of a cluster
version_added: '0.1.0'
description:
  - Copies the kubeconfig that kubeadm made to where a user's kubectl looks for it, with mode V(0600). A
    folder that has to be made for it has mode V(0700).
  - A kubeconfig at that place which does not know this cluster is kept beside it, under a name that ends in
    C(.before-bramble) and a number, before it is replaced.
  - One which knows this cluster beside others was put together by its user. It is left alone.
author:
  - bramble.pi contributors (@bramble-pi)
extends_documentation_fragment:
  - bramble.pi.attributes
attributes:
  check_mode:
    support: full
    details:
      - Where there is no O(src) yet, because there is no cluster yet, check mode says what would be done.
  diff_mode:
    support: none
    details:
      - A kubeconfig is a secret.
  idempotent:
    support: full
options:
  dest:
    description: The kubeconfig to write or to remove, such as V(~pi/.kube/config).
    type: path
    required: true
  state:
    description:
      - V(present) writes it.
      - V(absent) removes it if it speaks of the cluster with O(ca_cert_hash) and of no other.
    type: str
    choices: [present, absent]
    default: present
  src:
    description: The kubeconfig that kubeadm made, on this host.
    type: path
    default: /etc/kubernetes/admin.conf
  content:
    description: The kubeconfig itself, in place of O(src). Empty if there is no cluster yet, in check mode.
    type: str
  server:
    description: Address of the API server to put in, such as V(https://192.168.1.11:6443); else it is kept.
    type: str
  owner:
    description:
      - User who shall own the file and its folder, which gets mode V(0700) then.
      - By default the file belongs to the one who runs the module, and a folder that is there stays as it is.
    type: str
  ca_cert_hash:
    description: The cluster, by the hash of its CA. Required for O(state=absent).
    type: str
"""

EXAMPLES = r"""
- name: Give pi the administrator's kubeconfig
  bramble.pi.kubeconfig:
    dest: ~pi/.kube/config
    owner: pi
  no_log: true
  register: admin

- name: Fetch it to the controller
  bramble.pi.kubeconfig:
    dest: ~/.kube/bramble.conf
    content: "{{ admin.content }}"
    server: https://192.168.1.11:6443
  delegate_to: localhost
  become: false
  no_log: true

- name: Remove the kubeconfig of a cluster that is gone
  bramble.pi.kubeconfig:
    dest: ~pi/.kube/config
    state: absent
    ca_cert_hash: sha256:83a7f3c2d9ab4e4b6bb9c7d74b7a37d2a8b3d49a0b1d11f0f2c5e2c4f3b6a1de
"""

RETURN = r"""
content:
  description: The kubeconfig that was read, which is a secret; empty in check mode before there is a cluster.
  returned: if it was read from O(src)
  type: str
  sample: "apiVersion: v1\nclusters: ..."
dest:
  description: The file.
  returned: success
  type: str
  sample: /home/pi/.kube/config
why:
  description: What was done and why.
  returned: success
  type: str
  sample: it was not there
backup_file:
  description: Where a kubeconfig of another cluster was kept.
  returned: when one was kept
  type: str
  sample: /home/pi/.kube/config.before-bramble.1
"""

import os
import pwd
import stat
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common.files import (
    free_backup_name,
    read_text,
    write_text,
)
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import kubeconfig


def _ids(name: str | None) -> tuple[int, int]:
    if name is None:
        return os.getuid(), os.getgid()
    try:
        user = pwd.getpwnam(name)
    except KeyError as error:
        raise kubeconfig.KubeconfigError(
            f"there is no user {name} on this host: set control_plane_admin_user to one who is there"
        ) from error
    return user.pw_uid, user.pw_gid


def _wrong(path: str, mode: int, ids: tuple[int, int]) -> bool:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return True
    return stat.S_IMODE(status.st_mode) != mode or (status.st_uid, status.st_gid) != ids


def _set(path: str, mode: int, ids: tuple[int, int]) -> None:
    os.chown(path, *ids)
    os.chmod(path, mode)


def _source(module: AnsibleModule) -> str:
    """Return the kubeconfig as kubeadm made it; empty in check mode before there is a cluster."""
    content: str | None = module.params["content"]
    if content is None:
        content = read_text(module.params["src"]) or ""
    if not content and not module.check_mode:
        raise kubeconfig.KubeconfigError(
            f"{module.params['src']} is not there: bring the control plane up first (role control_plane)"
        )
    return content


def present(module: AnsibleModule) -> dict[str, Any]:
    """Write the kubeconfig unless it is somebody's own."""
    dest = module.params["dest"]
    folder = os.path.dirname(dest)
    content = _source(module)
    result: dict[str, Any] = {"changed": True, "dest": dest}
    if module.params["content"] is None:
        result["content"] = content
    if not content:
        return {**result, "why": "there is no cluster yet whose kubeconfig it could be"}

    server = module.params["server"]
    wanted = kubeconfig.with_server(text=content, server=server) if server else content
    ids = _ids(module.params["owner"])
    before = read_text(dest)
    if before is None:
        result["why"] = "it was not there"
    elif before == wanted:
        folder_wrong = module.params["owner"] is not None and _wrong(folder, 0o700, ids)
        result["changed"] = folder_wrong or _wrong(dest, 0o600, ids)
        result["why"] = "its owner or mode was wrong" if result["changed"] else "it is as it should be"
    else:
        whose = kubeconfig.owner(text=before, ca_hash=kubeconfig.admin_ca_hash(wanted))
        if whose is kubeconfig.Owner.SHARED:
            why = "its user put this cluster in beside others, so it is left alone"
            return {**result, "changed": False, "why": why}
        result["why"] = "it was out of date"
        if whose is kubeconfig.Owner.FOREIGN:
            result["backup_file"] = free_backup_name(dest)
            result["why"] = "it was that of another cluster, and is kept beside"

    if result["changed"] and not module.check_mode:
        if not os.path.isdir(folder):
            os.makedirs(os.path.dirname(folder), exist_ok=True)
            os.mkdir(folder, 0o700)
            _set(folder, 0o700, ids)
        elif module.params["owner"] is not None:
            _set(folder, 0o700, ids)
        if "backup_file" in result:
            os.rename(dest, result["backup_file"])
        write_text(dest, wanted, mode=0o600)
        _set(dest, 0o600, ids)
    return result


def absent(module: AnsibleModule) -> dict[str, Any]:
    """Remove the kubeconfig if it is that of the cluster."""
    dest = module.params["dest"]
    text = read_text(dest)
    if text is None:
        return {"changed": False, "dest": dest, "why": "it is not there"}
    if kubeconfig.owner(text=text, ca_hash=module.params["ca_cert_hash"]) is not kubeconfig.Owner.OURS:
        return {"changed": False, "dest": dest, "why": "it knows other clusters, so it is left alone"}
    if not module.check_mode:
        os.unlink(dest)
    return {"changed": True, "dest": dest, "why": "it was that of this cluster"}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "dest": {"type": "path", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "src": {"type": "path", "default": "/etc/kubernetes/admin.conf"},
            "content": {"type": "str", "no_log": True},
            "server": {"type": "str"},
            "owner": {"type": "str"},
            "ca_cert_hash": {"type": "str"},
        },
        required_if=[("state", "absent", ("ca_cert_hash",))],
        supports_check_mode=True,
    )
    try:
        result = present(module) if module.params["state"] == "present" else absent(module)
    except (kubeconfig.KubeconfigError, OSError) as error:
        module.fail_json(msg=f"{module.params['dest']}: {error}")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
