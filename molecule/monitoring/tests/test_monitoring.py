"""Faults that are planted on a node come as alerts to who is told, and go with their remedies."""

import email
import json
import os
import subprocess
import time
from email.policy import default as policy
from pathlib import Path

import yaml
from ansible_collections.bramble.pi.plugins.module_utils._monitoring import metrics, rules, units

testinfra_hosts = ["local://"]

INVENTORY = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "inventory"
SCENARIO = Path(__file__).resolve().parents[1]
PLAYBOOK = SCENARIO.parents[1] / "playbooks/monitoring.yml"
NODES = ("watcher", "board")
EXAMINE, AFTER = 15, 2
PATIENCE = 120


def container(node):
    return f"molecule-monitoring-{node}"


def on(node, script, check=True):
    """Run a script on a node."""
    command = ["podman", "exec", container(node), "sh", "-c", script]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not check or result.returncode == 0, result.stdout + result.stderr
    return result.stdout.strip()


def received():
    """Return what came to the receiver, the oldest first."""
    return [json.loads(line) for line in on("watcher", "cat /root/received").splitlines()]


def told(name, status, since=0):
    """Return the alerts of a name that came by the webhook, from the so-many-th message on."""
    return [
        alert
        for message in received()[since:]
        for alert in message.get("webhook", {}).get("alerts", ())
        if alert["labels"]["alertname"] == name and alert["status"] == status
    ]


def wait_for(what, seconds=PATIENCE):
    """Wait until something is true of the rack, and return it."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, f"{what} did not come: {json.dumps(received())[-2000:]}"
        time.sleep(1)
    return found


def asked(query):
    """Ask Prometheus: the values by node."""
    url = f"http://127.0.0.1:9090/api/v1/query?query={query}"
    code = f"import urllib.request as u; print(u.urlopen({url!r}).read().decode())"
    answer = json.loads(on("watcher", f"python3 -c {json.dumps(code)}"))
    return {each["metric"].get("node"): float(each["value"][1]) for each in answer["data"]["result"]}


def play(*arguments):
    """Run the playbook, and return how much it changed on each node."""
    result = subprocess.run(
        ["ansible-playbook", "-i", str(INVENTORY), *arguments, str(PLAYBOOK)],
        env={**os.environ, "ANSIBLE_FORCE_COLOR": "false"},  # molecule sets it
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def changed(output):
    """Tell whether a run changed anything."""
    return "changed=0" not in output or any(
        word.startswith("changed=") and word != "changed=0" for word in output.split()
    )


def test_every_node_tells_of_itself():
    assert wait_for(lambda: (up := asked("up")) == dict.fromkeys(NODES, 1) and up)
    examined = wait_for(lambda: (found := asked("bramble_examined_seconds")).keys() == set(NODES) and found)
    assert all(abs(time.time() - seconds) < PATIENCE for seconds in examined.values())
    for name in metrics.METRICS:
        if name in ("bramble_finding", "bramble_examined_seconds", "bramble_examine_duration_seconds"):
            assert set(asked(name)) == set(NODES)


def test_the_disk_is_measured_where_etcd_would_be():
    assert set(asked("bramble_fsync_seconds")) == {"watcher"}


def test_they_listen_where_they_are_asked_alone():
    for node in NODES:
        address = on(node, "hostname -I").split()[0]
        listening = {
            line.split()[3] for line in on(node, "ss --tcp --listening --numeric --no-header").splitlines()
        }
        own = {each for each in listening if each.rpartition(":")[2] in ("9090", "9093", "9094", "9100")}
        expected = {f"{address}:9100"}
        if node == "watcher":
            expected |= {"127.0.0.1:9090", "127.0.0.1:9093"}
        assert own == expected


def test_a_disk_that_is_full_is_told_with_its_remedy_until_there_is_room():
    began = len(received())
    on(
        "board",
        "mount -t tmpfs -o size=16m tmpfs /var/lib/kubelet &&"
        " head -c 15500k /dev/zero >/var/lib/kubelet/full",
    )
    alert = wait_for(lambda: told("BrambleDisk", "firing", began))[0]
    assert alert["labels"]["node"] == "board"
    assert alert["labels"]["path"] == "/var/lib/kubelet"
    assert alert["labels"]["severity"] == "error"
    assert alert["annotations"]["summary"].startswith("board /var/lib/kubelet: free space is below")
    assert alert["annotations"]["remedy"].startswith("sudo du -xhd2 /var/lib/kubelet | sort -h")
    on("board", "rm /var/lib/kubelet/full")
    assert wait_for(lambda: told("BrambleDisk", "resolved", began))[0]["labels"]["node"] == "board"
    on("board", "umount /var/lib/kubelet")


def test_it_is_mailed_too():
    mails = wait_for(lambda: [message for message in received() if "BrambleDisk" in message.get("mail", "")])
    assert mails[0]["to"] == ["ada@example.org"]
    message = email.message_from_string(mails[0]["mail"], policy=policy)
    assert "sudo du -xhd2 /var/lib/kubelet" in message.get_body(("html",)).get_content()


def test_a_service_that_is_stopped_is_told_until_it_runs():
    began = len(received())
    on(
        "board",
        "mv /boot/firmware/cmdline.txt /boot/firmware/kept && printf 'a\\nb\\n' >/boot/firmware/cmdline.txt",
    )
    alert = wait_for(lambda: told("BrambleCmdline", "firing", began))[0]
    assert alert["labels"]["severity"] == "warning"
    on("board", "mv /boot/firmware/kept /boot/firmware/cmdline.txt")
    wait_for(lambda: told("BrambleCmdline", "resolved", began))


def test_a_frozen_node_is_told_and_nothing_else_of_it():
    began = len(received())
    subprocess.run(["podman", "pause", container("board")], check=True)
    try:
        alert = wait_for(lambda: told("BrambleUnreachable", "firing", began))[0]
        assert alert["labels"]["node"] == "board"
        assert "ssh to it by hand" in alert["annotations"]["remedy"]
    finally:
        subprocess.run(["podman", "unpause", container("board")], check=True)
    wait_for(lambda: told("BrambleUnreachable", "resolved", began))


def put(node, path, text):
    """Write a file on a node."""
    command = ["podman", "exec", "-i", container(node), "sh", "-c", "mkdir -p ${0%/*} && cat >$0", path]
    subprocess.run(command, input=text, text=True, check=True)


def test_etcd_s_metrics_are_handed_on_to_one_host_alone():
    """A server of files stands for etcd; tests/e2e/test_monitoring.py has the real one."""
    address = on("watcher", "hostname -I").split()[0]
    url = f"http://{address}:12381/metrics"
    ask = f"python3 -c \"import urllib.request as u; print(u.urlopen('{url}', timeout=5).read().decode())\""
    folder = "/run/systemd/system"
    socket = units.etcd_socket(address=address, port=12381, admitted=address)
    put("watcher", f"{folder}/{units.ETCD}.socket", socket)
    put("watcher", f"{folder}/{units.ETCD}.service", units.etcd_service(admitted=address))
    put("watcher", "/root/etcd/metrics", "etcd_server_has_leader 1")
    server = "python3 -m http.server --bind 127.0.0.1 --directory /root/etcd 2381"
    on("watcher", f"systemctl daemon-reload && systemd-run --unit=etcd {server}")
    on("watcher", f"systemctl start {units.ETCD}.socket")
    try:
        assert wait_for(lambda: on("watcher", ask, check=False)) == "etcd_server_has_leader 1"
        assert "timed out" in on("board", f"{ask} 2>&1", check=False)
    finally:
        on("watcher", f"systemctl stop {units.ETCD}.socket {units.ETCD}.service etcd")
        on("watcher", f"rm {folder}/{units.ETCD}.* && systemctl daemon-reload")


def raised(alert):
    """Return series that raise an alert, {series: values}, and what it has as labels then."""
    check = next((check for check in rules.KINDS if rules.alert_name(check) == alert.name), None)
    if check and check != "unreachable":
        severity = next(each for each in rules.KINDS[check].severities if each != "info")
        series = f'bramble_finding{{node="pi-1",check="{check}",severity="{severity}"}}'
        return {series: "1x20 _x40"}, {"node": "pi-1", "check": check, "severity": severity}
    up = 'up{{node="{}",job="{}"}}'
    node = {"node": "pi-1", "severity": alert.severity}
    times = 'node_time_seconds{node="pi-1"}'
    bucket = 'etcd_disk_wal_fsync_duration_seconds_bucket{{node="pi-1",le="{}"}}'
    return {
        "BrambleUnreachable": ({up.format("pi-1", "node"): "0x20 1x40"}, {**node, "job": "node"}),
        "BrambleNotExamined": (
            {times: "0+60x60", 'bramble_examined_seconds{node="pi-1"}': "0x20 1200+60x40"},
            node,
        ),
        "BrambleClockOff": ({times: "1000+60x20 1260+60x40"}, node),
        "BrambleApiServerDown": ({up.format("pi-1", "apiserver"): "0x20 1x40"}, {**node, "job": "apiserver"}),
        "BrambleKubeletDown": ({up.format("pi-1", "kubelet"): "0x20 1x40"}, {**node, "job": "kubelet"}),
        "BrambleEtcdDown": ({up.format("pi-1", "etcd"): "0x20 1x40"}, {**node, "job": "etcd"}),
        "BrambleEtcdNoLeader": ({'etcd_server_has_leader{node="pi-1"}': "0x20 1x40"}, node),
        "BrambleEtcdNoQuorum": (
            {up.format("pi-1", "etcd"): "1x60", up.format("pi-2", "etcd"): "0x20 1x40"},
            {"severity": alert.severity},
        ),
        "BrambleEtcdSlow": (
            {
                bucket.format("0.1"): "0x20 0+600x40",
                bucket.format("0.5"): "0+600x60",
                bucket.format("+Inf"): "0+600x60",
            },
            node,
        ),
    }[alert.name]


def test_each_alert_is_raised_by_its_fault_and_goes_with_it():
    interval, after = 300, 120
    tests = []
    for alert in rules.alerts(examine_interval=interval):
        series, labels = raised(alert)
        tests.append(
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "promql_expr_test": [
                    {
                        "expr": "count by (severity, node) (ALERTS"
                        f'{{alertname="{alert.name}",alertstate="firing"}})',
                        "eval_time": "19m",
                        "exp_samples": [
                            {
                                "labels": "{"
                                + ",".join(
                                    f'{name}="{labels[name]}"'
                                    for name in ("node", "severity")
                                    if name in labels
                                )
                                + "}",
                                "value": 1,
                            }
                        ],
                    }
                ],
                "alert_rule_test": [{"eval_time": "55m", "alertname": alert.name, "exp_alerts": []}],
            }
        )
    document = {"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": tests}
    put("watcher", "/root/rules/rules.yml", rules.rules(examine_interval=interval, after=after))
    put("watcher", "/root/rules/tests.yml", yaml.safe_dump(document))
    on("watcher", "cd /root/rules && promtool test rules tests.yml")
    assert len(tests) == len(rules.alerts(examine_interval=interval))


def test_a_fault_of_the_settings_is_refused_before_anything_is_touched():
    result = subprocess.run(
        ["ansible-playbook", "-i", str(INVENTORY), "-e", "monitoring_retention_size=much", str(PLAYBOOK)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode != 0
    assert "monitoring_retention_size is 'much'; expected a number with MB, GB or TB" in result.stdout


def test_a_disk_that_is_not_mounted_is_refused():
    result = subprocess.run(
        [
            "ansible-playbook",
            "-i",
            str(INVENTORY),
            "-e",
            "monitoring_data_folder=/mnt/disk/data",
            str(PLAYBOOK),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode != 0
    assert "which is on the file system of /; expected a disk that is mounted there" in result.stdout
    assert on("watcher", "ls -d /mnt/disk", check=False) == ""


# The last one: what it removes, the others need.


def test_removal_leaves_nothing():
    gone = {"monitoring_state": "absent", "monitoring_remove_data": True}
    words = ["-e", json.dumps(gone)]
    assert changed(play("--check", *words))
    assert on("watcher", "systemctl is-active prometheus") == "active"
    assert changed(play(*words))
    assert not changed(play("--check", *words))
    assert not changed(play(*words))
    for node in NODES:
        script = SCENARIO / "files/inventory.sh"
        subprocess.run(
            ["podman", "exec", "-i", container(node), "sh", "-s", "/root/after"],
            input=script.read_text(),
            text=True,
            check=True,
        )
        assert on(node, "diff /root/before /root/after", check=False) == ""
        assert on(node, "systemctl list-units --all --plain --no-legend 'bramble*' 'prometheus*'") == ""
