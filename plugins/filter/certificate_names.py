# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter bramble.pi.certificate_names."""

from __future__ import annotations

from typing import Any, Callable

from ansible.errors import AnsibleFilterError
from ansible_collections.bramble.pi.plugins.plugin_utils._remote_access import kubeconfig

DOCUMENTATION = r"""
name: certificate_names
short_description: Name what a server's certificate is for
version_added: '0.1.0'
author: bramble.pi contributors (@bramble-pi)
description:
  - Returns the names and addresses in a certificate's subjectAltName.
options:
  _input:
    description: The certificate, as PEM.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Show the names of the API server
  ansible.builtin.debug:
    msg: "{{ found.content | b64decode | bramble.pi.certificate_names }}"
"""

RETURN = r"""
_value:
  description: The names and addresses.
  type: list
  elements: str
  sample: [kubernetes, kubernetes.default, pi-1, 10.96.0.1, 192.168.1.11]
"""


def certificate_names(pem: str) -> list[str]:
    """Read the names."""
    try:
        return kubeconfig.certificate_names(pem)
    except kubeconfig.RemoteKubeconfigError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name the filter."""
        return {"certificate_names": certificate_names}
