#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.failover_timeline``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: failover_timeline
short_description: Measure what happens when a node of a cluster is lost
version_added: '0.1.0'
description:
  - Runs on a control plane. Watches a node, the pods of a namespace and a service, waits until the node is
    lost, and then until all its pods run on other nodes and the service answers.
  - It stops nothing itself, and changes nothing.
author:
  - bramble.pi contributors (@bramble-pi)
extends_documentation_fragment:
  - bramble.pi.attributes
attributes:
  check_mode:
    support: full
    details:
      - Says what to expect, and waits for nothing.
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  node:
    description: The name of the node in the cluster.
    type: str
    required: true
  namespace:
    description: The namespace of the pods and the service.
    type: str
    required: true
  service:
    description: The name of the service, which answers HTTP at its first port.
    type: str
    required: true
  path:
    description: The path that is asked for.
    type: str
    default: /
  replicas:
    description: How many pods there are to be.
    type: int
    required: true
  loss_timeout:
    description: How long to wait for the loss, in seconds.
    type: int
    default: 300
  timeout:
    description: How long after the loss to wait for the rest, in seconds.
    type: int
    default: 600
  kubeconfig:
    description: The kubeconfig to use, on this host.
    type: path
    default: /etc/kubernetes/admin.conf
"""

EXAMPLES = r"""
- name: Watch pi-3 be lost
  bramble.pi.failover_timeline:
    node: pi-3
    namespace: failover
    service: failover
    replicas: 4
"""

RETURN = r"""
expected:
  description: What to expect, in words.
  returned: success
  type: str
  sample: A node that is lost is NotReady after 10 to 16 s
longest:
  description: The longest time after which its pods are given up, in seconds.
  returned: success
  type: int
  sample: 21
timeline:
  description: What happened.
  returned: success, not in check mode
  type: list
  elements: dict
  contains:
    event:
      description: What.
      type: str
      returned: success
      sample: the node is NotReady
    expected:
      description: When it is expected.
      type: str
      returned: success
      sample: 10 to 16 s
    seconds:
      description: When it was, in seconds after the loss; none for what was not seen.
      type: float
      returned: success
      sample: 12.4
table:
  description: The same as lines of text.
  returned: success, not in check mode
  type: list
  elements: str
  sample: [EVENT                 EXPECTED    MEASURED, the node is NotReady  10 to 16 s    12.4 s]
pods:
  description: The pods that were on the node.
  returned: success, not in check mode
  type: list
  elements: str
  sample: [failover-5fd79744c5-dnxvm]
"""

import json
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.state import (
    KUBELET_CONFIGURATION,
    MANIFESTS,
)
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import failover, failure_detection
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.cluster_watch import Seen, Watch

_MANIFEST = MANIFESTS + "/{}.yaml"


class FailoverError(BrambleError):
    """It cannot be measured; the message says why."""


def _expectation() -> failure_detection.Expectation:
    """Return what to expect by the settings that this control plane has."""
    texts = {name: read_text(_MANIFEST.format(name)) for name in failure_detection.PROGRAMS}
    missing = [_MANIFEST.format(name) for name, text in texts.items() if text is None]
    if missing:
        raise FailoverError(f"{missing[0]} is not there; wanted is a control plane: run site.yml before")
    manifests = {name: text or "" for name, text in texts.items()}
    return failure_detection.expected(
        failure_detection.in_force(
            manifests=manifests, kubelet_configuration=read_text(KUBELET_CONFIGURATION) or ""
        )
    )


def _get(module: AnsibleModule, *what: str) -> dict[str, Any]:
    command = ["kubectl", f"--kubeconfig={module.params['kubeconfig']}", "get", *what, "--output=json"]
    status, output, errors = module.run_command(command)
    if status != 0:
        raise FailoverError(f"{' '.join(command)} ended with {status}: {errors.strip()}")
    answer: dict[str, Any] = json.loads(output)
    return answer


def _heartbeats(node: dict[str, Any]) -> list[str]:
    return [entry.get("lastHeartbeatTime", "") for entry in node["status"].get("conditions") or []]


class _Observer:
    """Gives what the watch sees to the timeline."""

    def __init__(self, timeline: failover.Timeline) -> None:
        self.timeline = timeline
        self._beats: list[str] = []

    def take(self, seen: Seen) -> None:
        at, what, event = seen
        if what == "kubelet":
            self.timeline.see_node_answers(at, event)
        elif what == "service":
            self.timeline.see_service_answers(at, event)
        elif event.get("type") not in ("ADDED", "MODIFIED", "DELETED"):
            # An error of the watch, which begins anew.
            return
        elif what == "pods":
            self.timeline.see_pod(at, event["object"], gone=event["type"] == "DELETED")
        elif what == "lease":
            self.timeline.see_heartbeat(at)
        else:
            beats = _heartbeats(event["object"])
            self.timeline.see_node(at, event["object"], heartbeat=beats != self._beats)
            self._beats = beats


def measure(module: AnsibleModule, expectation: failure_detection.Expectation) -> dict[str, Any]:
    """Wait for the loss and for what comes of it."""
    given = module.params
    node = _get(module, "node", given["node"])
    address = next(entry["address"] for entry in node["status"]["addresses"] if entry["type"] == "InternalIP")
    service = _get(module, "service", given["service"], f"--namespace={given['namespace']}")["spec"]
    timeline = failover.Timeline(node=given["node"], replicas=given["replicas"])
    observer = _Observer(timeline)
    name = f"?fieldSelector=metadata.name%3D{given['node']}"
    with Watch(kubeconfig=given["kubeconfig"]) as watch:
        watch.follow("node", f"/api/v1/nodes{name}")
        watch.follow("lease", f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases{name}")
        watch.follow("pods", f"/api/v1/namespaces/{given['namespace']}/pods")
        watch.ask_node("kubelet", address)
        watch.ask_service("service", service["clusterIP"], service["ports"][0]["port"], given["path"])
        for seen in watch.until(time.monotonic() + given["loss_timeout"]):
            if seen:
                observer.take(seen)
            if timeline.lost is not None:
                break
        else:
            raise FailoverError(
                f"{given['node']} still answered at {address} after {given['loss_timeout']} s; wanted is "
                "that it is stopped within that time"
            )
        for seen in watch.until(time.monotonic() + given["timeout"]):
            if seen:
                observer.take(seen)
            if timeline.settled(time.monotonic()):
                break
    rows = timeline.rows(expectation)
    return {
        "timeline": [row._asdict() for row in rows],
        "table": failover.table(rows),
        "pods": sorted(timeline.victims),
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "node": {"type": "str", "required": True},
            "namespace": {"type": "str", "required": True},
            "service": {"type": "str", "required": True},
            "path": {"type": "str", "default": "/"},
            "replicas": {"type": "int", "required": True},
            "loss_timeout": {"type": "int", "default": 300},
            "timeout": {"type": "int", "default": 600},
            "kubeconfig": {"type": "path", "default": "/etc/kubernetes/admin.conf"},
        },
        supports_check_mode=True,
    )
    module.run_command_environ_update = {"LC_ALL": "C.UTF-8"}
    try:
        expectation = _expectation()
        result = {} if module.check_mode else measure(module, expectation)
    except PermissionError as error:
        module.fail_json(msg=f"{error}; wanted are the rights of root: set become to true")
    except (FailoverError, failure_detection.FailureDetectionError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, expected=str(expectation), longest=expectation.evicted[1], **result)


if __name__ == "__main__":
    main()
