#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action ``bramble.pi.client_certificate``, which runs on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: client_certificate
short_description: Have a client certificate of a cluster
version_added: '0.1.0'
description:
  - Returns a client certificate with its key. The key is made on the controller; the control plane that the
    task runs for signs the certificate. One that is there and valid is returned as it is.
  - The task wants C(no_log), as the key is in its result.
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
      - A key is a secret.
  idempotent:
    support: full
options:
  common_name:
    description: The user that the cluster knows it by.
    type: str
    required: true
  present:
    description: The certificate that is there, with its key, as PEM; empty if there is none.
    type: str
    default: ''
  renew_days:
    description: How many days before its end another one is made.
    type: int
    default: 60
"""

EXAMPLES = r"""
- name: Create a certificate by which metrics are read
  bramble.pi.client_certificate:
    common_name: bramble:monitoring
  delegate_to: pi-1
  no_log: true
"""

RETURN = r"""
certificate:
  description: The certificate and its key, as PEM; empty in check mode if another one would be made.
  returned: success
  type: str
ca:
  description: The certificate of the cluster's authority, as PEM.
  returned: success
  type: str
"""
