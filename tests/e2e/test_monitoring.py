# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster that is watched from outside of it: what is asked, by which rights, and what is told."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from tests.bench import live_view as bench
from tests.e2e.conftest import NODES, RACK_SUBNET, Rack, assert_unchanged, is_up, wait_for
from tests.e2e.test_live_view import PLAYBOOK as LIVE_VIEW
from tests.e2e.test_live_view import readings_of

pytestmark = pytest.mark.long

PLAYBOOK = "playbooks/monitoring.yml"
#: So that nobody has to wait.
QUICK = (
    *("-e", "monitoring_scrape_interval=5"),
    *("-e", "monitoring_examine_interval=30"),
    *("-e", "monitoring_alert_after=10"),
)
ABSENT = ("-e", json.dumps({"monitoring_state": "absent", "monitoring_remove_data": True}))
PI_1, PI_2 = (str(ipaddress.ip_network(RACK_SUBNET).network_address + number) for number in (11, 12))
ETCD = f"http://{PI_1}:12381/metrics"
CERTIFICATE, CA = "/etc/bramble/monitoring/cluster.pem", "/etc/bramble/monitoring/cluster-ca.crt"
MANIFESTS, ASIDE = "/etc/kubernetes/manifests", "/root/manifests"
#: Asks by the certificate of the monitoring, and prints the code of the answer.
ASK = """
import ssl, sys, urllib.error, urllib.request
context = ssl.create_default_context(cafile="{ca}")
if ":10250/" in sys.argv[1]:
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
context.load_cert_chain("{certificate}")
try:
    print(urllib.request.urlopen(sys.argv[1], timeout=20, context=context).status)
except urllib.error.HTTPError as error:
    print(error.code)
"""


def says(path: str, text: str) -> tuple[str, str]:
    """Say by a file in its place what a container's kernel cannot be made to say, and end that."""
    kept = f"/root/planted{path}"
    return (
        f"mkdir -p {Path(kept).parent} && {text} >{kept} && mount --bind {kept} {path}",
        f"umount {path} && rm {kept}",
    )


def folder(path: str, options: str, fill: str = "true") -> tuple[str, str]:
    """Plant a file system at a place that a worker with containerd has no use for, and take it away."""
    return (
        f"mkdir -p {path} && mount -t tmpfs -o {options} tmpfs {path} && {fill}",
        # It may be a volume of its own that is below.
        f"umount {path} && {{ mountpoint -q {path} || rmdir {path}; }}",
    )


#: Faults of a worker with containerd, with what puts each right; all of them can stand at the same time.
FAULTS = {
    ("BrambleKubelet", "BrambleKubeletDown", "BrambleNodeNotReady"): (
        "systemctl stop kubelet",
        "systemctl start kubelet",
    ),
    ("BrambleRuntime",): ("systemctl disable -q containerd", "systemctl enable -q containerd"),
    ("BrambleRuntimeSettings",): (
        "sed -i.kept 's|sandbox_image = .*|sandbox_image = \"example.org/p:1\"|' /etc/containerd/config.toml",
        "mv /etc/containerd/config.toml.kept /etc/containerd/config.toml",
    ),
    ("BrambleReadOnly",): folder("/var/lib/docker", "ro"),
    ("BrambleDisk", "BrambleInodes"): folder(
        "/var/lib/etcd",
        "size=4m,nr_inodes=20",
        "head -c 3900k /dev/zero >/var/lib/etcd/full && for n in $(seq 18); do : >/var/lib/etcd/$n; done",
    ),
    ("BrambleMemory",): says(
        "/proc/meminfo", "sed 's/^MemAvailable:.*/MemAvailable: 90000 kB/' /proc/meminfo"
    ),
    ("BrambleSwap",): says("/proc/swaps", "printf 'Filename Type Size Used Priority\\n/swap file 9 0 -2\\n'"),
    ("BrambleCgroup",): says("/proc/cgroups", "sed 's/^\\(memory.*\\)1$/\\10/' /proc/cgroups"),
    ("BrambleCmdline",): (
        "sed -i.kept 's/$/ cgroup_enable=planted/' /boot/firmware/cmdline.txt",
        "mv /boot/firmware/cmdline.txt.kept /boot/firmware/cmdline.txt",
    ),
    ("BrambleReboot",): ("touch /run/reboot-required", "rm /run/reboot-required"),
    ("BrambleCertificate",): (
        "openssl req -x509 -newkey rsa:2048 -nodes -keyout /dev/null -subj /CN=planted -days 3"
        " -out /etc/kubernetes/pki/planted.crt 2>/dev/null",
        "rm /etc/kubernetes/pki/planted.crt",
    ),
    ("BrambleCni",): (
        """echo '{"cniVersion": "0.3.1", "name": "planted", "plugins": [{"type": "bridge"}]}'"""
        " >/etc/cni/net.d/00-planted.conflist",
        "rm /etc/cni/net.d/00-planted.conflist",
    ),
    ("BrambleUndervoltage", "BrambleThrottled"): (
        "printf '#!/bin/sh\\necho throttled=0x50005\\n' >/usr/local/bin/vcgencmd"
        " && chmod +x /usr/local/bin/vcgencmd",
        "rm /usr/local/bin/vcgencmd",
    ),
    ("BrambleTemperature",): (
        "mount -t tmpfs tmpfs /sys/class/thermal && mkdir /sys/class/thermal/thermal_zone0"
        " && echo 85000 >/sys/class/thermal/thermal_zone0/temp",
        "umount /sys/class/thermal",
    ),
}


def answer(rack: Rack, url: str) -> str:
    """Return the code with which a server of the cluster answers to the monitoring."""
    script = ASK.format(ca=CA, certificate=CERTIFICATE)
    return rack.shell("pi-1", f"python3 - '{url}' <<'END'\n{script}\nEND").strip()


def get(rack: Rack, url: str) -> str:
    """Ask a program of the monitoring host."""
    code = f"import urllib.request as u; print(u.urlopen('{url}', timeout=20).read().decode())"
    return rack.shell("pi-1", f'python3 -c "{code}"')


def up(rack: Rack) -> dict[str, set[str]]:
    """Return the nodes that answer, by what is asked of them."""
    found = json.loads(get(rack, "http://127.0.0.1:9090/api/v1/query?query=up==1"))["data"]["result"]
    jobs: dict[str, set[str]] = {}
    for each in found:
        jobs.setdefault(each["metric"]["job"], set()).add(each["metric"]["node"])
    return jobs


def told(rack: Rack) -> set[tuple[str, str]]:
    """Return the alerts that are told by now, with their nodes, without those that are held back."""
    alerts = json.loads(get(rack, "http://127.0.0.1:9093/api/v2/alerts?inhibited=false"))
    return {(alert["labels"]["alertname"], alert["labels"].get("node", "")) for alert in alerts}


ALL = {"node": NODES, "apiserver": {"pi-1"}, "kubelet": NODES, "etcd": {"pi-1"}}


@pytest.fixture(scope="module")
def watched(cluster: Rack) -> Iterator[Rack]:
    """Return the rack with Prometheus on its control plane, which is removed in the end."""
    cluster.playbook(PLAYBOOK, "--check", *QUICK)
    assert cluster.shell("pi-1", "ls /etc/bramble/monitoring 2>/dev/null || true") == ""
    cluster.playbook(PLAYBOOK, *QUICK)
    yield cluster
    cluster.shell("pi-1", f"[ ! -d {ASIDE} ] || mv {ASIDE}/*.yaml {MANIFESTS}/")
    cluster.playbook(PLAYBOOK, *ABSENT)


def test_all_of_it_is_asked(watched: Rack) -> None:
    wait_for(lambda: up(watched) == ALL, 120, "an answer of all that is asked")
    examined = json.loads(get(watched, "http://127.0.0.1:9090/api/v1/query?query=bramble_node_ready==1"))
    assert {each["metric"]["node"] for each in examined["data"]["result"]} == NODES


def test_a_further_run_changes_nothing_and_keeps_the_certificate(watched: Rack) -> None:
    before = watched.shell("pi-1", f"sha256sum {CERTIFICATE}")
    assert_unchanged(watched.playbook(PLAYBOOK, "--check", *QUICK).recap())
    assert_unchanged(watched.playbook(PLAYBOOK, *QUICK).recap())
    assert watched.shell("pi-1", f"sha256sum {CERTIFICATE}") == before
    assert watched.shell("pi-1", f"stat -c '%a %U' {CERTIFICATE}").split() == ["600", "prometheus"]


def test_what_a_killed_run_has_written_is_read_by_the_next(watched: Rack) -> None:
    """It has written a file and not yet restarted what reads it: the file is younger than what runs."""
    own = "/etc/systemd/system"
    restarted = {
        "prometheus.service": "/etc/bramble/monitoring/rules.yml",
        "prometheus-alertmanager.service": "/etc/bramble/monitoring/alertmanager.yml",
        "prometheus-node-exporter.service": f"{own}/prometheus-node-exporter.service.d/bramble.conf",
        "bramble-monitoring.timer": f"{own}/bramble-monitoring.timer",
        "bramble-etcd-metrics.socket": f"{own}/bramble-etcd-metrics.socket",
    }
    started = f"systemctl show --property=Id,ActiveEnterTimestampMonotonic {' '.join(restarted)}"
    before = watched.shell("pi-1", started).split()
    watched.shell("pi-1", f"touch {' '.join(restarted.values())}")
    watched.playbook(PLAYBOOK, *QUICK)
    after = watched.shell("pi-1", started).split()
    assert [line for line in before if line.startswith("Id=")] == [f"Id={unit}" for unit in restarted]
    assert {line for line in before if line in after} == {f"Id={unit}" for unit in restarted}
    assert_unchanged(watched.playbook(PLAYBOOK, *QUICK).recap())


@pytest.mark.parametrize(
    ("url", "code"),
    [
        (f"https://{PI_1}:6443/metrics", "200"),
        (f"https://{PI_1}:6443/api/v1/namespaces/kube-system/secrets", "403"),
        (f"https://{PI_1}:6443/api/v1/nodes", "403"),
        (f"https://{PI_1}:6443/api/v1/nodes/pi-2/proxy/metrics", "403"),
        (f"https://{PI_2}:10250/metrics", "200"),
        (f"https://{PI_2}:10250/pods", "403"),
        (f"https://{PI_2}:10250/logs/", "403"),
    ],
)
def test_its_certificate_reads_metrics_and_nothing_else(watched: Rack, url: str, code: str) -> None:
    assert answer(watched, url) == code


def test_the_cluster_says_so_too(watched: Rack) -> None:
    rights = watched.shell(
        "pi-1",
        "kubectl --kubeconfig /etc/kubernetes/admin.conf"
        " auth can-i --list --no-headers --as bramble:monitoring",
    )
    # What everybody who is known may do is to ask what one may do, and the API server's own pages.
    granted = [line for line in rights.splitlines() if "nodes/metrics" in line or "[/metrics]" in line]
    assert len(granted) == 2, rights
    for line in rights.splitlines():
        verbs = line.rpartition("[")[2].rstrip().rstrip("]").split()
        assert line in granted or "selfsubject" in line or ("[/" in line and verbs == ["get"]), line


def test_etcd_s_metrics_are_for_the_monitoring_host_alone(watched: Rack) -> None:
    assert "etcd_server_has_leader 1" in get(watched, ETCD)
    command = f"python3 -c \"import urllib.request as u; u.urlopen('{ETCD}', timeout=5)\""
    with pytest.raises(subprocess.CalledProcessError):
        watched.shell("pi-2", command)


def test_each_fault_of_a_worker_is_told_and_goes_with_its_remedy(watched: Rack) -> None:
    wait_for(lambda: up(watched) == ALL, 120, "an answer of all that is asked")
    wait_for(
        lambda: not {alert for alert in told(watched) if alert[1] == "pi-3"}, 180, "nothing told of pi-3"
    )
    expected = {(name, "pi-3") for names in FAULTS for name in names}
    planted: list[str] = []
    try:
        for steps in FAULTS.values():
            watched.shell("pi-3", steps[0])
            planted.append(steps[1])
        with contextlib.suppress(AssertionError):
            wait_for(lambda: expected <= told(watched), 300, "all alerts")
        assert expected - told(watched) == set()
    finally:
        for remedy in reversed(planted):
            watched.shell("pi-3", remedy)
    wait_for(lambda: is_up(watched), 180, "all nodes Ready")
    wait_for(lambda: not expected & told(watched), 300, "the end of all alerts")


def test_the_page_and_the_report_show_what_it_knows(watched: Rack, tmp_path: Path) -> None:
    hot, cooled = FAULTS["BrambleTemperature",]
    watched.shell("pi-3", hot)
    try:
        # The page runs where the monitoring does.
        watched.playbook(LIVE_VIEW)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=bench.CHROMIUM, args=bench.OPTIONS)
            page = browser.new_page()
            page.goto(f"http://{PI_1}:8001/")
            wait_for(lambda: readings_of(page).get("pi-3", "").startswith("85 °C"), 120, "a temperature")
            browser.close()
    finally:
        watched.shell("pi-3", cooled)
        watched.playbook(LIVE_VIEW, "-e", "live_view_state=absent")
    watched.playbook("playbooks/report.yml", "-e", f"report_file={tmp_path}/report.html")
    day = json.loads((tmp_path / "report.json").read_text())["day"]
    assert {node["host"]: node["watched"] for node in day["nodes"]} == dict.fromkeys(NODES, True)


def test_a_node_that_is_not_examined_any_more_is_told(watched: Rack) -> None:
    alert = ("BrambleNotExamined", "pi-2")
    watched.shell("pi-2", "systemctl stop bramble-monitoring.timer")
    try:
        wait_for(lambda: alert in told(watched), 420, "the alert")
    finally:
        watched.shell("pi-2", "systemctl start bramble-monitoring.timer")
    wait_for(lambda: alert not in told(watched), 180, "the end of the alert")


def test_a_frozen_worker_is_told_and_nothing_else_of_it(watched: Rack) -> None:
    wait_for(lambda: up(watched) == ALL, 120, "an answer of all that is asked")
    subprocess.run(["podman", "pause", watched.container("pi-2")], check=True)
    try:
        wait_for(lambda: ("BrambleUnreachable", "pi-2") in told(watched), 120, "the alert of the frozen node")
        assert {name for name, node in told(watched) if node == "pi-2"} == {"BrambleUnreachable"}
    finally:
        subprocess.run(["podman", "unpause", watched.container("pi-2")], check=True)
    wait_for(lambda: ("BrambleUnreachable", "pi-2") not in told(watched), 180, "the end of the alert")
    wait_for(lambda: is_up(watched), 180, "all nodes Ready")


def test_a_control_plane_that_is_stopped_is_told_by_what_runs_outside_of_it(watched: Rack) -> None:
    expected = {
        ("BrambleApiServerDown", "pi-1"),
        ("BrambleEtcdDown", "pi-1"),
        ("BrambleEtcdNoQuorum", ""),
        # Found by the nodes themselves.
        ("BrambleApi", "pi-2"),
        ("BrambleApi", "pi-3"),
    }
    watched.shell("pi-1", f"mkdir -p {ASIDE} && mv {MANIFESTS}/*.yaml {ASIDE}/")
    try:
        wait_for(lambda: expected <= told(watched), 300, "the alerts of the control plane")
    finally:
        watched.shell("pi-1", f"mv {ASIDE}/*.yaml {MANIFESTS}/ && rmdir {ASIDE}")
    wait_for(lambda: is_up(watched), 300, "all nodes Ready")
    wait_for(lambda: not expected & told(watched), 300, "the end of the alerts")


def test_removal_takes_the_rights_too(watched: Rack, tmp_path: Path) -> None:
    kept = tmp_path / "cluster.pem"
    kept.write_text(watched.shell("pi-1", f"cat {CERTIFICATE} {CA}"))
    watched.playbook(PLAYBOOK, *ABSENT)
    assert_unchanged(watched.playbook(PLAYBOOK, *ABSENT).recap())
    names = {item["metadata"]["name"] for item in watched.kubectl("get", "clusterroles")["items"]}
    assert "bramble-monitoring" not in names
    # Whoever has kept the certificate reads nothing by it any more.
    subprocess.run(
        [
            "podman",
            "exec",
            "-i",
            watched.container("pi-1"),
            "sh",
            "-c",
            "mkdir -p /root/m && cat >/root/m/c.pem",
        ],
        input=kept.read_text(),
        text=True,
        check=True,
    )
    script = ASK.format(ca="/root/m/c.pem", certificate="/root/m/c.pem")
    url = f"https://{PI_1}:6443/metrics"
    assert watched.shell("pi-1", f"python3 - '{url}' <<'END'\n{script}\nEND").strip() == "403"
    watched.shell("pi-1", "rm -r /root/m")
