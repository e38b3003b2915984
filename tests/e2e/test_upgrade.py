# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster climbs two minors in one command, killed on its way, and a service answers all the time.

The versions are stamped on one source (see roles/virtual_rack/README.md): kubeadm, the static pods and the
kubelets are real, and so is what is replaced; what is new in a minor is not.
"""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from tests.e2e.conftest import POD_CIDR, RACK_NAME, RACK_SUBNET, Rack, wait_for
from tests.e2e.test_maintenance import KUBECTL, WORKLOAD, Asker, Watcher, cordoned
from tests.seed import chance

OLD, BETWEEN, NEW = "1.20.2", "1.21.0", "1.22.0"
PLAYBOOK = "playbooks/upgrade.yml"
RUN = (PLAYBOOK, "-e", f"kube_packages_version={NEW}")
MARKS = "/var/lib/kubelet/.bramble-upgrade.json", "/var/lib/kubelet/.bramble-maintenance"
COMPONENTS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
MANIFESTS = "/etc/kubernetes/manifests"
FEW = {
    "control_plane": {"pi-1": "dockershim"},
    "workers": {"pi-2": "dockershim", "pi-3": "containerd"},
}
#: kubeadm before 1.31 upgrades a control plane on containerd by crictl, which no suite of Debian has.
MANY = {
    "control_plane": dict.fromkeys(("pi-1", "pi-2", "pi-3"), "dockershim"),
    "workers": {"pi-4": "containerd"},
}


class PatientWatcher(Watcher):
    """Looks on while the API server is away, and counts how long each node is cordoned."""

    def __init__(self, rack: Rack) -> None:
        super().__init__(rack)
        self.seconds: Counter[str] = Counter()

    def run(self) -> None:
        """Look until told to end."""
        before = time.monotonic()
        while not self.ended.wait(1):
            with contextlib.suppress(subprocess.CalledProcessError):
                self.seen.append(cordoned(self.rack))
                now = time.monotonic()
                self.seconds.update(dict.fromkeys(self.seen[-1], round(now - before)))
                before = now


class Moment(NamedTuple):
    """When a run is killed: what is so by then, on which node."""

    name: str
    node: str
    condition: str


def package(name: str) -> str:
    return f"dpkg-query -Wf '${{Version}}' {name} | grep -q {BETWEEN}"


def moments(worker: str) -> list[Moment]:
    """Return all moments of the way to the first minor, in the order in which they come."""
    upgrading, maintained = MARKS
    written = f"[ /var/lib/kubelet/config.yaml -nt {upgrading} ]"
    return [
        Moment("a backup is made", "pi-1", "ls -l /proc/[0-9]*/fd | grep -q bramble-backup.lock"),
        Moment("kubeadm is installed", "pi-1", package("kubeadm")),
        Moment(
            "static pods are replaced",
            "pi-1",
            f"grep -q v{BETWEEN} {MANIFESTS}/kube-apiserver.yaml"
            f" && ! grep -q v{BETWEEN} {MANIFESTS}/kube-scheduler.yaml",
        ),
        Moment("the configuration is written", "pi-1", f"[ -e {upgrading} ] && {written}"),
        Moment("the control plane goes out of use", "pi-1", f"[ -e {maintained} ]"),
        Moment("the control plane's kubelet is unpacked", "pi-1", package("kubelet")),
        Moment("a worker goes out of use", worker, f"[ -e {maintained} ]"),
        Moment("a worker's configuration is written", worker, f"[ -e {upgrading} ] && {written}"),
        Moment("a worker's kubelet is unpacked", worker, package("kubelet")),
    ]


def layout(rack: Rack, groups: dict[str, dict[str, str]], more: dict[str, Any]) -> None:
    """Write an inventory of these nodes, each with its runtime."""
    systems = {"pi-3": {"virtual_rack_node_os": "trixie"}}
    variables = {
        "virtual_rack_name": RACK_NAME,
        "virtual_rack_subnet": RACK_SUBNET,
        "virtual_rack_kubernetes_minors": [BETWEEN, NEW],
        "control_plane_pod_cidr": POD_CIDR,
        **more,
    }
    children = {
        group: {
            "hosts": {
                name: {**systems.get(name, {}), "docker_kubernetes_runtime": runtime}
                for name, runtime in nodes.items()
            }
        }
        for group, nodes in groups.items()
    }
    inventory = {"all": {"vars": variables}, "rack": {"children": children}}
    (rack.inventory / "hosts.yml").write_text(yaml.safe_dump(inventory, sort_keys=False))


def bring_up(rack: Rack, groups: dict[str, dict[str, str]], folder: Path, **inputs: str) -> None:
    """Make a rack with a cluster of the old version, and somebody whom backups are encrypted for."""
    endpoint = {"control_plane_endpoint": "{{ hostvars['pi-1'].ansible_host }}:6443"}
    more: dict[str, Any] = {**(endpoint if len(groups["control_plane"]) > 1 else {}), **inputs}
    rack.playbook("playbooks/virtual_rack_destroy.yml")
    layout(rack, groups, more)
    rack.playbook("playbooks/virtual_rack_create.yml")
    rack.playbook("site.yml")
    identity = rack.shell("pi-1", "apt-get install -qq -y age >&2; age-keygen 2>/dev/null")
    (folder / "backup.key").write_text(identity)
    (recipient,) = (line.split()[-1] for line in identity.splitlines() if "public key" in line)
    layout(rack, groups, {**more, "backup_recipients": [recipient], "backup_fetch_folder": str(folder)})


def versions(rack: Rack, groups: dict[str, dict[str, str]]) -> dict[str, set[str]]:
    """Return the versions of all that has one: what runs, what is installed, what is written down."""
    nodes = [*groups["control_plane"], *groups["workers"]]
    pods = rack.kubectl("-n", "kube-system", "get", "pods")["items"]
    images = {
        image["image"].rpartition("/")[2]
        for pod in pods
        for image in pod["status"].get("containerStatuses", [])
    }
    config = rack.kubectl("-n", "kube-system", "get", "configmap", "kubeadm-config")["data"]
    found = {
        name: {image.rpartition(":v")[2] for image in images if image.startswith(f"{name}:")}
        for name in (*COMPONENTS, "kube-proxy")
    }
    found["kubelets"] = {
        node["status"]["nodeInfo"]["kubeletVersion"].lstrip("v")
        for node in rack.kubectl("get", "nodes")["items"]
    }
    found["configuration"] = {yaml.safe_load(config["ClusterConfiguration"])["kubernetesVersion"].lstrip("v")}
    query = "dpkg-query -Wf '${Version} ${db:Status-Abbrev}\\n' kubelet kubeadm kubectl | sort -u"
    packages = {line for node in nodes for line in rack.shell(node, query).splitlines()}
    # All of them held.
    assert {line.split()[1] for line in packages} == {"hi"}
    found["packages"] = {line.partition("-")[0] for line in packages}
    return found


def all_at(version: str) -> dict[str, set[str]]:
    names = (*COMPONENTS, "kube-proxy", "kubelets", "configuration", "packages")
    return {name: {version} for name in names}


def run_and_kill(rack: Rack, moment: Moment) -> None:
    """Begin the upgrade, and kill it with all that it has started on the node at that moment."""
    print(f"\n--- killed when {moment.name}, on {moment.node}")
    watch = (
        f"until {{ {moment.condition}; }} 2>/dev/null; do sleep 0.02; done;"
        " for program in kubeadm apt-get dpkg; do pkill -KILL -x $program; done; true"
    )
    podman = ["podman", "exec", rack.container(moment.node), "timeout", "1500", "sh", "-c", watch]
    with rack.beside(*rack.playbook_command(*RUN)) as first, subprocess.Popen(podman) as watched:
        while watched.poll() is None and first.poll() is None:
            time.sleep(0.1)
        # A run may also end because its kubeadm or dpkg was killed, before that is heard of here.
        with contextlib.suppress(subprocess.TimeoutExpired):
            watched.wait(timeout=30)
        first.kill()
        watched.kill()
    assert watched.returncode == 0, f"{moment.name} did not come; the run ended with {first.returncode}"


def ingress(api: str) -> str:
    """Write an Ingress for the workload in one of its APIs."""
    old = {"serviceName": "web", "servicePort": 80}
    backend = {"service": {"name": "web", "port": {"number": 80}}} if api.endswith("/v1") else old
    document = {
        "apiVersion": api,
        "kind": "Ingress",
        "metadata": {"name": "web", "namespace": "maintenance"},
        "spec": {"defaultBackend" if api.endswith("/v1") else "backend": backend},
    }
    return yaml.safe_dump(document)


def refused_with_all_that_stops_it(rack: Rack, groups: dict[str, dict[str, str]]) -> None:
    """Ask for the climb while an object and a pod stop it, and put both right."""
    deployment = rack.kubectl("-n", "maintenance", "get", "deployment", "web")
    image = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
    rack.shell("pi-1", f"{KUBECTL} apply -f - <<'END'\n{ingress('networking.k8s.io/v1beta1')}END")
    rack.shell("pi-1", f"{KUBECTL} -n maintenance run bare --image={image} --restart=Never")
    told = (
        "Ingress maintenance/web was written with networking.k8s.io/v1beta1",
        "pod maintenance/bare: it has no controller",
    )
    before = versions(rack, groups)
    for arguments, code in (("--check",), 0), ((), 2):
        run = rack.playbook(*RUN, *arguments, code=code)
        text = " ".join(run.output.split())
        assert "Kubernetes comes to 1.22.0 in 2 steps" in text
        assert [each for each in told if each not in text] == []
        assert all(counts["changed"] == 0 for counts in run.recap().values())
        assert cordoned(rack) == frozenset()
    assert versions(rack, groups) == before
    # Up to there the Ingress stops nothing.
    less = rack.playbook(PLAYBOOK, "-e", f"kube_packages_version={BETWEEN}", "--check")
    assert told[0] not in " ".join(less.output.split())
    rack.shell("pi-1", f"{KUBECTL} apply -f - <<'END'\n{ingress('networking.k8s.io/v1')}END")
    rack.shell("pi-1", f"{KUBECTL} -n maintenance delete pod bare --now")


def climb(rack: Rack, groups: dict[str, dict[str, str]], kills: Sequence[Moment]) -> None:
    """Climb two minors, killed at these moments, while a service is asked."""
    before = versions(rack, groups)
    assert before == all_at(OLD)
    refused = rack.playbook(*RUN, "-e", '{"backup_recipients": []}', code=2)
    assert "backup_recipients is empty" in refused.output
    refused_with_all_that_stops_it(rack, groups)
    checked = rack.playbook(*RUN, "--check")
    assert "What would stop it" not in checked.output
    assert all(counts["changed"] == counts["failed"] == 0 for counts in checked.recap().values())
    assert versions(rack, groups) == before
    asker = Asker(rack.shell("pi-1", "hostname -I").split()[0])
    watcher = PatientWatcher(rack)
    asker.start()
    watcher.start()
    try:
        for moment in kills:
            run_and_kill(rack, moment)
        done = rack.playbook(*RUN)
    finally:
        asker.ended.set()
        watcher.ended.set()
    asker.join()
    watcher.join()
    print(f"{len(asker.answers)} answers, the longest gap {asker.longest_gap():.1f} s")
    assert asker.failures == []
    print("seconds for which each node was cordoned, killed runs included")
    print("\n".join(f"{node:16}{seconds:6}" for node, seconds in sorted(watcher.seconds.items())))
    assert all(len(nodes) <= 1 for nodes in watcher.seen)
    assert versions(rack, groups) == all_at(NEW)
    for text in (f"The cluster runs Kubernetes {NEW}", "The last backup before: /var/lib/bramble/backups/"):
        assert text in done.output
    assert cordoned(rack) == frozenset()
    for node in [*groups["control_plane"], *groups["workers"]]:
        assert rack.shell(node, f"ls {' '.join(MARKS)} 2>/dev/null || true") == ""
        assert ":/v1.22/deb/" in rack.shell(node, "cat /etc/apt/sources.list.d/kubernetes.sources")
    again = rack.playbook(*RUN)
    assert all(counts["changed"] == 0 for counts in again.recap().values())


@pytest.fixture
def served(
    rack: Rack, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[Rack, dict[str, dict[str, str]]]]:
    """Return a rack of those nodes with a cluster that has a workload."""
    groups = request.param
    bring_up(rack, groups, tmp_path)
    spared = WORKLOAD.replace("minAvailable: 2", "minAvailable: 1")
    tolerant = spared.replace(
        "      terminationGracePeriodSeconds: 12\n",
        "      terminationGracePeriodSeconds: 12\n"
        "      tolerations: [{key: node-role.kubernetes.io/master, operator: Exists}]\n",
    )
    assert len({WORKLOAD, spared, tolerant}) == 3
    text = tolerant if len(groups["workers"]) == 1 else spared
    rack.shell("pi-1", f"{KUBECTL} apply -f - <<'END'\n{text}\nEND")
    rack.shell("pi-1", f"{KUBECTL} -n maintenance rollout status deployment/web --timeout=120s")
    url = f"http://{rack.shell('pi-1', 'hostname -I').split()[0]}:30080/"
    wait_for(lambda: subprocess.call(["curl", "-fsSm2", "-o/dev/null", url]) == 0, 30, f"{url} answers")
    yield rack, groups
    rack.playbook("playbooks/virtual_rack_destroy.yml")


@pytest.mark.long
@pytest.mark.parametrize("served", [FEW], indirect=True, ids=["workers"])
def test_cluster_climbs_two_minors_and_the_service_answers(
    served: tuple[Rack, dict[str, dict[str, str]]],
) -> None:
    rack, groups = served
    every = moments("pi-2")
    chosen = sorted(chance("upgrade").sample(range(len(every)), 3))
    climb(rack, groups, [every[place] for place in chosen])


@pytest.mark.long
@pytest.mark.parametrize("served", [MANY], indirect=True, ids=["control planes"])
def test_three_control_planes_climb_killed_in_each_phase(
    served: tuple[Rack, dict[str, dict[str, str]]],
) -> None:
    rack, groups = served
    climb(rack, groups, moments("pi-4"))
