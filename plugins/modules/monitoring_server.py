#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.monitoring_server``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: monitoring_server
short_description: Have a host watch the others by Prometheus
version_added: '0.1.0'
description:
  - Installs Debian's Prometheus and alertmanager, outside of the cluster, and has them ask the hosts of a
    rack and tell what is wrong with them. The rules are made of what M(bramble.pi.doctor) knows.
  - Both programs validate what they are to read before it is put in place.
  - The configuration of Debian's packages is left alone; what is added to their units names another one.
author:
  - bramble.pi contributors (@bramble-pi)
extends_documentation_fragment:
  - bramble.pi.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details: Of what has secrets in it there is none.
  idempotent:
    support: full
options:
  state:
    description: V(absent) removes all of it, the packages that it has installed too.
    type: str
    choices: [present, absent]
    default: present
  address:
    description: The address at which both programs listen.
    type: str
    default: 127.0.0.1
  port:
    description: The port of Prometheus.
    type: int
    default: 9090
  data_folder:
    description: Where they keep their data.
    type: path
    default: /var/lib/bramble-monitoring
  remove_data:
    description: Whether O(state=absent) removes the data too.
    type: bool
    default: false
  retention_size:
    description: How large the data may grow.
    type: str
    default: 1GB
  targets:
    description: The hosts that are asked.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The host's name in the inventory.
        type: str
        required: true
      address:
        description: Where it is reached.
        type: str
        required: true
      control_plane:
        description: Whether it is a control plane.
        type: bool
        default: false
      worker:
        description: Whether it is a worker.
        type: bool
        default: false
  certificate:
    description:
      - The client certificate by which the cluster is asked, with its key. Without it one that was given
        before is used; if there is none, the cluster is not asked.
    type: str
  ca:
    description: The certificate of the cluster's authority.
    type: str
  scrape_interval:
    description: How many seconds lie between two questions.
    type: int
    default: 30
  examine_interval:
    description: How many seconds lie between two examinations of a node, as of M(bramble.pi.monitoring_node).
    type: int
    default: 300
  alert_after:
    description: For how many seconds a fault stands before it is told.
    type: int
    default: 300
  etcd_port:
    description: The port at which control planes hand on etcd's metrics.
    type: int
    default: 12381
  mail:
    description: Where alerts are mailed to.
    type: dict
    suboptions:
      to:
        description: To whom.
        type: str
        required: true
      from:
        description: The sender.
        type: str
        required: true
      server:
        description: The mail server, with its port.
        type: str
        required: true
      user:
        description: The user to log in there as.
        type: str
        default: ''
      password:
        description: The user's password.
        type: str
        default: ''
      tls:
        description: Whether the mail server has to encrypt.
        type: bool
        default: true
  webhook:
    description: The URL to which alertmanager sends alerts as JSON.
    type: str
    default: ''
  ntfy:
    description: The URL of a topic of ntfy.
    type: str
    default: ''
  ntfy_token:
    description: The token to publish there with.
    type: str
    default: ''
  timeout:
    description: How many seconds both programs may take to answer.
    type: int
    default: 120
"""

EXAMPLES = r"""
- name: Watch two nodes
  bramble.pi.monitoring_server:
    targets:
      - {name: pi-1, address: 10.0.0.1, control_plane: true}
      - {name: pi-2, address: 10.0.0.2, worker: true}
    webhook: http://10.0.0.9:8080/alerts
"""

RETURN = r"""
changes:
  description: What was changed, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: [write /etc/bramble/monitoring/rules.yml, restart prometheus.service]
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common import apt
from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import module_errors
from ansible_collections.bramble.pi.plugins.module_utils._monitoring.configuration import (
    Mail,
    Receivers,
    Target,
)
from ansible_collections.bramble.pi.plugins.module_utils._monitoring.server import ServerPart, ServerWishes


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "address": {"type": "str", "default": "127.0.0.1"},
            "port": {"type": "int", "default": 9090},
            "data_folder": {"type": "path", "default": "/var/lib/bramble-monitoring"},
            "remove_data": {"type": "bool", "default": False},
            "retention_size": {"type": "str", "default": "1GB"},
            "targets": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    "address": {"type": "str", "required": True},
                    "control_plane": {"type": "bool", "default": False},
                    "worker": {"type": "bool", "default": False},
                },
            },
            "certificate": {"type": "str", "no_log": True},
            "ca": {"type": "str"},
            "scrape_interval": {"type": "int", "default": 30},
            "examine_interval": {"type": "int", "default": 300},
            "alert_after": {"type": "int", "default": 300},
            "etcd_port": {"type": "int", "default": 12381},
            "mail": {
                "type": "dict",
                "options": {
                    "to": {"type": "str", "required": True},
                    "from": {"type": "str", "required": True},
                    "server": {"type": "str", "required": True},
                    "user": {"type": "str", "default": ""},
                    "password": {"type": "str", "default": "", "no_log": True},
                    "tls": {"type": "bool", "default": True},
                },
            },
            "webhook": {"type": "str", "default": "", "no_log": True},
            "ntfy": {"type": "str", "default": "", "no_log": True},
            "ntfy_token": {"type": "str", "default": "", "no_log": True},
            "timeout": {"type": "int", "default": 120},
        },
        supports_check_mode=True,
    )
    module.run_command_environ_update = apt.ENVIRONMENT
    parameters = module.params
    changes = Changes(check_mode=module.check_mode, run=module.run_command)
    part = ServerPart(run=module.run_command, find=module.get_bin_path, changes=changes)
    with module_errors(module, result=changes.result):
        if parameters["state"] == "absent":
            part.remove(data=parameters["data_folder"], with_data=parameters["remove_data"])
        else:
            part.ensure(_wishes(parameters), timeout=parameters["timeout"])
    module.exit_json(**changes.result())


def _wishes(parameters: dict[str, Any]) -> ServerWishes:
    mail = parameters["mail"]
    return ServerWishes(
        address=parameters["address"],
        port=parameters["port"],
        data=parameters["data_folder"],
        size=parameters["retention_size"],
        targets=[Target(**target) for target in parameters["targets"]],
        receivers=Receivers(
            mail=mail and Mail(**{"sender" if name == "from" else name: mail[name] for name in mail}),
            webhook=parameters["webhook"],
            ntfy=parameters["ntfy"],
            ntfy_token=parameters["ntfy_token"],
        ),
        scrape_interval=parameters["scrape_interval"],
        examine_interval=parameters["examine_interval"],
        after=parameters["alert_after"],
        etcd_port=parameters["etcd_port"],
        certificate=parameters["certificate"],
        ca=parameters["ca"],
    )


if __name__ == "__main__":
    main()
