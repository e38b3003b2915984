#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action ``bramble.pi.remote_kubeconfig``, which runs on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: remote_kubeconfig
short_description: Put a cluster into a kubeconfig on the controller
version_added: '0.1.0'
description:
  - Merges a cluster, a context and a user with a client certificate of its own into a kubeconfig. All else
    in it stays as it was written, comments, the chosen context and options in the entries themselves (such as
    C(proxy-url)) too; the file as it was is kept beside, under a name that ends in C(.before-bramble) and a
    number.
  - A file in which a name occurs twice is refused, as kubectl does.
  - The private key is made on the controller and stays there. The control plane that the task runs for signs
    the certificate. One that is there and valid is kept.
  - Before anything is written, the API server is asked with it at O(server).
author:
  - bramble.pi contributors (@bramble-pi)
extends_documentation_fragment:
  - bramble.pi.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    details:
      - A kubeconfig is a secret.
  idempotent:
    support: full
options:
  state:
    description: Whether the cluster is to be in the kubeconfig.
    type: str
    choices: [present, absent]
    default: present
  dest:
    description: The kubeconfig, on the controller.
    type: path
    default: ~/.kube/config
  server:
    description: Address of the API server, such as V(https://192.168.1.50:6443). Required for
      O(state=present).
    type: str
  cluster:
    description: Name of the cluster in the kubeconfig.
    type: str
    default: rpi-cluster
  context:
    description: Name of the context.
    type: str
    default: rpi
  user:
    description: Name of the user in the kubeconfig.
    type: str
    default: rpi-admin
  common_name:
    description: Name that the certificate is for, which gets rights in the cluster. Required for
      O(state=present).
    type: str
  renew_days:
    description: A certificate that ends within so many days is replaced.
    type: int
    default: 30
  timeout:
    description: How long to try to reach the API server, in seconds.
    type: int
    default: 120
"""

EXAMPLES = r"""
- name: Put the cluster into my kubeconfig
  bramble.pi.remote_kubeconfig:
    server: https://192.168.1.50:6443
    common_name: remote:ada
"""

RETURN = r"""
dest:
  description: The file.
  returned: success
  type: str
  sample: /home/ada/.kube/config
backup_file:
  description: Where the file was kept as it was.
  returned: when it was changed
  type: str
  sample: /home/ada/.kube/config.before-bramble.1
"""
