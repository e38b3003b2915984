# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates that have minutes to live, and that have expired, on a running cluster."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.aged_certificate import aged, authority_of
from tests.e2e.conftest import ALL_READY, NODES, Rack, assert_unchanged, wait_for

pytestmark = pytest.mark.long

PLAYBOOK = "playbooks/certificates.yml"
KUBERNETES = "/etc/kubernetes"
KUBELET = "/var/lib/kubelet/pki/kubelet-client-current.pem"
NAMES = (
    "pki/apiserver.crt",
    "pki/apiserver-etcd-client.crt",
    "pki/apiserver-kubelet-client.crt",
    "pki/front-proxy-client.crt",
    "pki/etcd/server.crt",
    "pki/etcd/peer.crt",
    "pki/etcd/healthcheck-client.crt",
    "admin.conf",
    "controller-manager.conf",
    "scheduler.conf",
)
PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
ENDS = f"openssl x509 -noout -checkend $((300 * 86400)) -in {KUBERNETES}/pki/%s.crt"
ASK = (
    "python3",
    "-c",
    "import ssl, urllib.request; urllib.request.urlopen('https://127.0.0.1:6443/livez', timeout=2,"
    " context=ssl._create_unverified_context())",
)


def age(rack: Rack, node: str, *paths: str, seconds: int) -> None:
    """Have certificates of a node end in so many seconds, or so long ago."""
    for path in paths:
        key = rack.shell("pi-1", f"cat {KUBERNETES}/{authority_of(path)}.key")
        text = aged(rack.shell(node, f"cat {path}"), key=key, seconds=seconds)
        data = base64.b64encode(text.encode()).decode()
        rack.shell(node, f"echo {data} | base64 -d >{path}")


def control_plane_age(rack: Rack, *, seconds: int) -> None:
    age(rack, "pi-1", *(f"{KUBERNETES}/{name}" for name in NAMES), seconds=seconds)


def processes(rack: Rack) -> dict[str, str]:
    return {program: rack.shell("pi-1", f"pgrep -x {program[:15]}").strip() for program in PROGRAMS}


@contextmanager
def gaps(rack: Rack) -> Iterator[list[float]]:
    """Ask the API server all the while, and note how long it did not answer, in seconds."""
    found: list[float] = []
    ended = threading.Event()

    def ask() -> None:
        last = time.monotonic()
        command = ["podman", "exec", rack.container("pi-1"), *ASK]
        while not ended.is_set():
            answers = subprocess.run(command, check=False, capture_output=True).returncode == 0
            now = time.monotonic()
            if answers:
                found.append(now - last)
                last = now
            time.sleep(0.2)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join()


def test_the_playbook_in_four_steps(cluster: Rack) -> None:
    """With certificates that end soon, each program is restarted once, and then nothing is due."""
    control_plane_age(cluster, seconds=20 * 86400)
    before = processes(cluster)
    checked = cluster.playbook(PLAYBOOK, "--check", "--diff")
    assert "would be renewed" in checked.output
    assert processes(cluster) == before
    applied = cluster.playbook(PLAYBOOK)
    assert checked.recap()["pi-1"]["changed"] > 0
    assert applied.recap()["pi-1"]["changed"] > 0
    after = processes(cluster)
    assert all(after[program] != before[program] for program in PROGRAMS)
    assert_unchanged(cluster.playbook(PLAYBOOK, "--check", "--diff").recap())
    again = cluster.playbook(PLAYBOOK)
    assert_unchanged(again.recap())
    assert processes(cluster) == after
    for node in sorted(NODES):
        assert re.search(rf"{node} +{KUBELET} +\d{{4}}-", again.output)
    assert re.search(r"this machine +\S+ +\d{4}-\d\d-\d\d +364", again.output)
    assert cluster.ready() == ALL_READY


def test_the_timer_renews_while_the_api_answers(cluster: Rack) -> None:
    """Minutes before they end; with one API server there is one gap, while it is started again."""
    control_plane_age(cluster, seconds=600)
    with gaps(cluster) as found:
        cluster.shell("pi-1", "systemctl start bramble-certificates.service")
        wait_for(lambda: cluster.ready() == ALL_READY, 120, "all nodes are Ready")
    # The kubelet waits longer each time before it starts again what has ended in the last ten minutes.
    print(f"\nthe longest gap between two answers of the one API server: {max(found):.1f} s")
    for name in ("apiserver", "apiserver-etcd-client", "front-proxy-client", "etcd/server", "etcd/peer"):
        cluster.shell("pi-1", ENDS % name)
    status = json.loads(cluster.shell("pi-1", "cat /var/lib/bramble/certificates-status.json"))
    assert status["error"] is None
    assert len(status["renewed"]) == len(NAMES)
    served = cluster.shell(
        "pi-1",
        "openssl s_client -connect 127.0.0.1:6443 </dev/null 2>/dev/null"
        " | openssl x509 -noout -checkend 86400",
    )
    assert "will not expire" in served
    assert cluster.shell("pi-1", "cmp /etc/kubernetes/admin.conf ~pi/.kube/config && echo same") == "same\n"
    assert_unchanged(cluster.playbook(PLAYBOOK).recap())


def test_a_run_that_is_killed_between_renewal_and_restart_is_finished(cluster: Rack) -> None:
    before = processes(cluster)
    cluster.shell("pi-1", "kubeadm certs renew scheduler.conf")
    done = cluster.playbook(PLAYBOOK)
    assert done.recap()["pi-1"]["changed"] == 1
    after = processes(cluster)
    assert [program for program in PROGRAMS if after[program] != before[program]] == ["kube-scheduler"]
    assert_unchanged(cluster.playbook(PLAYBOOK).recap())


def test_an_expired_cluster_comes_back(cluster: Rack) -> None:
    """All were off for long: the kubelets do not start, so that nothing of the cluster runs."""
    for node in sorted(NODES):
        age(cluster, node, KUBELET, seconds=-86400)
    control_plane_age(cluster, seconds=-86400)
    for node in sorted(NODES):
        cluster.shell(node, "systemctl stop kubelet")
    for program in reversed(PROGRAMS):
        cluster.shell("pi-1", f"pkill -x {program[:15]} || true")
    for node in sorted(NODES):
        cluster.shell(node, "systemctl start kubelet || true")
    cluster.playbook("playbooks/doctor.yml", code=2)
    cluster.playbook(PLAYBOOK, "--check")
    cluster.playbook(PLAYBOOK)
    wait_for(lambda: cluster.ready() == ALL_READY, 300, "all nodes are Ready")
    assert_unchanged(cluster.playbook(PLAYBOOK).recap())
    # What was given goes on to be the kubelet's own: it renews it as any other.
    for node in sorted(NODES):
        assert cluster.shell(node, f"test -L {KUBELET} && echo link") == "link\n"


def test_the_timer_is_removed(cluster: Rack) -> None:
    absent = ("-e", "certificates_state=absent")
    cluster.playbook(PLAYBOOK, "--check", *absent)
    assert cluster.shell("pi-1", "systemctl is-enabled bramble-certificates.timer") == "enabled\n"
    cluster.playbook(PLAYBOOK, *absent)
    left = "ls /etc/systemd/system/bramble-certificates.* /etc/bramble/certificates.json 2>/dev/null || true"
    assert cluster.shell("pi-1", left) == ""
    assert_unchanged(cluster.playbook(PLAYBOOK, "--check", *absent).recap())
    assert_unchanged(cluster.playbook(PLAYBOOK, *absent).recap())
