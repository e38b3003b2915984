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
  - A kubeconfig at that place is kept beside it, under a name that ends in C(.before-bramble) and a number,
    before it is replaced.
  - One which knows this cluster and has anything that kubeadm does not write, such as a further context or
    user, a namespace or a proxy, belongs to its user. It is left alone.
  - Run as root, it follows a link only where nobody but root can have put it. A link below a user's home, a
    file with a second name and what is not a regular file are refused.
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
      - V(absent) removes it if it has nothing but what kubeadm writes for the cluster with O(ca_cert_hash).
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

- name: Read it
  ansible.builtin.slurp:
    src: /etc/kubernetes/admin.conf
  register: admin
  no_log: true

- name: Fetch it to the controller
  bramble.pi.kubeconfig:
    dest: ~/.kube/bramble.conf
    content: "{{ admin.content | b64decode }}"
    server: https://192.168.1.11:6443
  delegate_to: localhost
  become: false

- name: Remove the kubeconfig of a cluster that is gone
  bramble.pi.kubeconfig:
    dest: ~pi/.kube/config
    state: absent
    ca_cert_hash: sha256:83a7f3c2d9ab4e4b6bb9c7d74b7a37d2a8b3d49a0b1d11f0f2c5e2c4f3b6a1de
"""

RETURN = r"""
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
  description: Where the kubeconfig that was there was kept.
  returned: when it was replaced
  type: str
  sample: /home/pi/.kube/config.before-bramble.1
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import module_errors
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import kubeconfig_file


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
    parameters = module.params
    dest = parameters["dest"]
    with module_errors(module, subject=dest):
        if parameters["state"] == "present":
            result = kubeconfig_file.install(
                dest=dest,
                src=parameters["src"],
                content=parameters["content"],
                server=parameters["server"],
                owner=parameters["owner"],
                check_mode=module.check_mode,
            )
        else:
            result = kubeconfig_file.remove(
                dest=dest, ca_hash=parameters["ca_cert_hash"], check_mode=module.check_mode
            )
    module.exit_json(**result)


if __name__ == "__main__":
    main()
