# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Three control planes that are all lost come back from one backup, and the worker's pods go on.

They are told that they have little memory, which has to come back as well.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.conftest import Rack, wait_for
from tests.e2e.test_recovery import KUBECTL, containers, objects
from tests.e2e.test_upgrade import bring_up

THREE = {
    "control_plane": {"pi-1": "containerd", "pi-2": "dockershim", "pi-3": "containerd"},
    "workers": {"pi-4": "containerd"},
}
CONTROL_PLANES = tuple(THREE["control_plane"])
SOCKETS = {"containerd": "/run/containerd/containerd.sock", "dockershim": "/var/run/dockershim.sock"}
#: As where files are removed by hand. kubeadm 1.20 leaves containers of containerd: an API server goes on.
WIPE = """
systemctl stop kubelet
find /etc/kubernetes /var/lib/etcd -mindepth 1 -delete
kubeadm reset --force --cri-socket={socket}
find /etc/cni/net.d /var/lib/kubelet -mindepth 1 -delete
! ls -A /var/lib/etcd | grep .
"""
#: And as on a card that was flashed again: packages are there, and nothing of a cluster.
NOTHING_RUNS = """
ctr -n k8s.io tasks list | tail -n +2 | tr -s ' ' | cut -d ' ' -f 2 | xargs --no-run-if-empty kill -9
sleep 2
! pgrep kube-apiserver
"""
#: One in each control plane; the container of etcd has its tools.
MEMBERS = (
    f"{KUBECTL} -n kube-system exec etcd-pi-1 -- etcdctl --cacert=/etc/kubernetes/pki/etcd/ca.crt"
    " --cert=/etc/kubernetes/pki/etcd/server.crt --key=/etc/kubernetes/pki/etcd/server.key member list"
)


def kept(rack: Rack) -> set[str]:
    """Return the objects that are no node's own: a control plane that joins again has new ones."""
    own = (*CONTROL_PLANES[1:], "kube-proxy-", "kube-flannel-")
    return {each for each in objects(rack) if not any(name in each for name in own)}


def assert_small(rack: Rack) -> None:
    """Fail unless all nodes have what control_plane_profile small says."""
    for node in CONTROL_PLANES:
        assert "--snapshot-count=5000" in rack.shell(node, "cat /etc/kubernetes/manifests/etcd.yaml")
    for node in (*CONTROL_PLANES, *THREE["workers"]):
        assert "maxPods: 40" in rack.shell(node, "cat /var/lib/kubelet/config.yaml")


@pytest.mark.long
def test_three_lost_control_planes_come_back(rack: Rack, tmp_path: Path) -> None:
    bring_up(rack, THREE, tmp_path, control_plane_profile="small")
    assert_small(rack)
    rack.shell("pi-1", f"{KUBECTL} create deployment before --image=localhost/hello:1 --replicas=2")
    wait_for(lambda: len(containers(rack)) == 2, 120, "the pods run")
    rack.playbook("playbooks/backup.yml")
    before, running = kept(rack), containers(rack)
    rack.shell("pi-1", f"{KUBECTL} create configmap since-the-backup")
    for node, runtime in THREE["control_plane"].items():
        rack.shell(node, WIPE.format(socket=SOCKETS[runtime]))
        if runtime == "containerd" and node != "pi-1":
            rack.shell(node, NOTHING_RUNS)
    assert rack.shell("pi-1", "pgrep kube-apiserver")
    identity = ("-e", f"backup_identity_file={tmp_path / 'backup.key'}")
    done = rack.playbook("playbooks/restore.yml", *identity)
    assert "What changed in it since then is lost" in done.output
    every = dict.fromkeys([*CONTROL_PLANES, *THREE["workers"]], "True")
    wait_for(lambda: rack.ready() == every, 180, "all nodes are Ready")
    members = rack.shell("pi-1", MEMBERS).splitlines()
    assert sorted(line.split(", ")[2] for line in members) == sorted(CONTROL_PLANES)
    assert all(line.split(", ")[1] == "started" for line in members)
    assert before ^ kept(rack) == set()
    assert containers(rack) == running
    assert_small(rack)
    rack.shell("pi-1", f"{KUBECTL} scale deployment before --replicas=4")
    wait_for(lambda: len(containers(rack)) == 4, 180, "new pods run")
    rack.playbook("playbooks/verify.yml")
    again = rack.playbook("site.yml")
    assert all(counts["changed"] == 0 for counts in again.recap().values())
    refused = rack.playbook("playbooks/restore.yml", *identity, "--tags", "restore", code=2)
    assert "the other control planes" in refused.output
