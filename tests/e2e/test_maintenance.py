# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Workers of a running cluster that need a reboot, and a service that is asked all the while from outside."""

from __future__ import annotations

import json
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.e2e.conftest import ALL_READY, BIN, Rack, wait_for

WORKERS = ("pi-2", "pi-3")
KUBECTL = "kubectl --kubeconfig /etc/kubernetes/admin.conf"
# Another one each time, as a rack that is kept has been started with the one before.
TOKEN = f"bramble.e2e={int(time.time())}"
TOKENS = ["cgroup_enable=cpuset", "cgroup_enable=memory", "cgroup_memory=1", "swapaccount=1", TOKEN]
RUN = (
    "site.yml",
    *("--tags", "os_prep", "--limit", "workers"),
    *("-e", json.dumps({"os_prep_kernel_cmdline": TOKENS, "maintenance_timeout": 180})),
)
PORT = 30080
#: Two pods that are never on one node, so that after each reboot the budget has to be waited for.
WORKLOAD = f"""
apiVersion: v1
kind: Namespace
metadata: {{name: maintenance}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web, namespace: maintenance}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      terminationGracePeriodSeconds: 12
      affinity:
        podAntiAffinity:
          requiredDuringSchedulingIgnoredDuringExecution:
            - topologyKey: kubernetes.io/hostname
              labelSelector: {{matchLabels: {{app: web}}}}
      containers:
        - name: web
          image: localhost/hello:1
          imagePullPolicy: IfNotPresent
          # Until no node sends it requests any more.
          lifecycle: {{preStop: {{exec: {{command: [sleep, "8"]}}}}}}
          readinessProbe: {{httpGet: {{path: /, port: 8080}}, periodSeconds: 1}}
---
apiVersion: policy/v1beta1
kind: PodDisruptionBudget
metadata: {{name: web, namespace: maintenance}}
spec:
  minAvailable: 2
  selector: {{matchLabels: {{app: web}}}}
---
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: maintenance}}
spec:
  type: NodePort
  selector: {{app: web}}
  ports: [{{port: 80, targetPort: 8080, nodePort: {PORT}}}]
"""


class Asker(threading.Thread):
    """Asks the service every 100 ms, by the address of a node that is not worked on."""

    def __init__(self, address: str) -> None:
        super().__init__(daemon=True)
        self.url = f"http://{address}:{PORT}/"
        self.failures: list[str] = []
        self.answers: list[float] = []
        self.ended = threading.Event()

    def run(self) -> None:
        """Ask until told to end."""
        while not self.ended.wait(0.1):
            try:
                with urllib.request.urlopen(self.url, timeout=2) as answer:
                    answer.read()
                self.answers.append(time.monotonic())
            except OSError as error:
                self.failures.append(f"{time.strftime('%H:%M:%S')} {error}")

    def longest_gap(self) -> float:
        """Return the longest time between two answers, in seconds."""
        return max(later - before for before, later in zip(self.answers, self.answers[1:], strict=False))


class Watcher(threading.Thread):
    """Notes which nodes are cordoned at the same time."""

    def __init__(self, rack: Rack) -> None:
        super().__init__(daemon=True)
        self.rack = rack
        self.seen: list[frozenset[str]] = []
        self.ended = threading.Event()

    def run(self) -> None:
        """Look until told to end."""
        while not self.ended.wait(1):
            now = cordoned(self.rack)
            if not self.seen or self.seen[-1] != now:
                self.seen.append(now)


def cordoned(rack: Rack) -> frozenset[str]:
    nodes = rack.kubectl("get", "nodes")["items"]
    return frozenset(node["metadata"]["name"] for node in nodes if node["spec"].get("unschedulable"))


def noted(rack: Rack) -> set[str]:
    """Return the nodes on which a run that has not ended is written down."""
    nodes = rack.kubectl("get", "nodes")["items"]
    on_nodes = {
        node["metadata"]["name"]
        for node in nodes
        if "bramble.pi/maintenance" in (node["metadata"].get("annotations") or {})
    }
    marked = {
        node for node in WORKERS if rack.shell(node, "ls /var/lib/kubelet/.bramble-maintenance || true")
    }
    return on_nodes | marked


def boots(rack: Rack) -> dict[str, str]:
    return {node: rack.shell(node, "stat -c %y /proc/1") for node in WORKERS}


def with_token(rack: Rack) -> set[str]:
    return {node for node in WORKERS if TOKEN in rack.shell(node, "cat /proc/cmdline").split()}


@pytest.fixture
def served(cluster: Rack) -> Iterator[Rack]:
    """Run the workload, and take all away again."""
    cluster.shell("pi-1", f"{KUBECTL} apply -f - <<'END'\n{WORKLOAD}\nEND")
    try:
        cluster.shell("pi-1", f"{KUBECTL} -n maintenance rollout status deployment/web --timeout=120s")
        yield cluster
    finally:
        cluster.shell("pi-1", f"{KUBECTL} delete namespace maintenance")
        for node in WORKERS:
            cluster.shell(node, f"sed -i 's/ {TOKEN}//' /boot/firmware/cmdline.txt")


@pytest.mark.alone
def test_workers_reboot_one_after_the_other_and_the_service_answers(served: Rack) -> None:
    at_first = boots(served)
    # The budget wants both pods.
    refused = served.playbook(*RUN, code=2)
    assert "PodDisruptionBudget maintenance/web lets no pod of Deployment web go: 2 of 2" in refused.output
    assert "pi-3 was not touched" in refused.output
    assert (cordoned(served), noted(served), boots(served)) == (frozenset(), set(), at_first)
    spare_one = json.dumps({"spec": {"minAvailable": 1}})
    served.shell("pi-1", f"{KUBECTL} -n maintenance patch pdb web --type=merge -p '{spare_one}'")
    asker = Asker(served.shell("pi-1", "hostname -I").split()[0])
    watcher = Watcher(served)
    asker.start()
    watcher.start()
    try:
        with served.start(*served.playbook_command(*RUN)) as process:
            wait_for(lambda: with_token(served) == {"pi-2"}, 240, "pi-2 has booted with the token")
            process.kill()
        assert cordoned(served) == noted(served) == {"pi-2"}
        served.playbook(*RUN)
    finally:
        asker.ended.set()
        watcher.ended.set()
    asker.join()
    print(f"{len(asker.answers)} answers, the longest gap {asker.longest_gap():.1f} s")
    assert asker.failures == []
    assert all(len(nodes) <= 1 for nodes in watcher.seen)
    assert frozenset().union(*watcher.seen) == set(WORKERS)
    assert with_token(served) == set(WORKERS)
    assert cordoned(served) == noted(served) == frozenset()
    again = served.playbook(*RUN)
    assert all(counts["changed"] == 0 for counts in again.recap().values())


DOCKER_JSON = "/etc/docker/daemon.json"


@pytest.mark.alone
def test_a_runtime_is_restarted_on_a_drained_node_and_other_docker_at_once(served: Rack) -> None:
    spare_one = json.dumps({"spec": {"minAvailable": 1}})
    served.shell("pi-1", f"{KUBECTL} -n maintenance patch pdb web --type=merge -p '{spare_one}'")
    before = {node: served.shell(node, f"cat {DOCKER_JSON}") for node in WORKERS}
    # Of pi-2 Docker is the runtime; on pi-3 it stands beside containerd, and no pod feels it.
    settings = json.dumps({"docker_daemon_json": {"max-concurrent-downloads": 3}, "maintenance_timeout": 180})
    run = ("site.yml", "--tags", "docker", "--limit", "workers", "-e", settings)
    started = "systemctl show --property=ActiveEnterTimestampMonotonic docker"
    docker = {node: served.shell(node, started) for node in WORKERS}
    watcher = Watcher(served)
    asker = Asker(served.shell("pi-1", "hostname -I").split()[0])
    try:
        announced = served.playbook(*run, "--check")
        assert {node: served.shell(node, started) for node in WORKERS} == docker
        watcher.start()
        asker.start()
        done = served.playbook(*run)
        asker.ended.set()
        watcher.ended.set()
        asker.join()
        print(f"{len(asker.answers)} answers, the longest gap {asker.longest_gap():.1f} s")
        assert asker.failures == []
        assert all(counts["changed"] > 0 for each in (announced, done) for counts in each.recap().values())
        assert frozenset().union(*watcher.seen) == {"pi-2"}
        assert all(served.shell(node, started) != docker[node] for node in WORKERS)
        assert cordoned(served) == noted(served) == frozenset()
        assert all(counts["changed"] == 0 for counts in served.playbook(*run).recap().values())
    finally:
        asker.ended.set()
        watcher.ended.set()
        for node, text in before.items():
            # As old as it was, so that nothing is restarted for it.
            served.shell(node, f"cat >{DOCKER_JSON} <<'END'\n{text}\nEND\ntouch --date=@0 {DOCKER_JSON}")
