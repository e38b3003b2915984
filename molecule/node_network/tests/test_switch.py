"""Changes that cut a node off take themselves back; those that do not stay.

Each node is reached by the very interface that is changed. What a node has is asked through podman, so that
it can be asked of a node that nobody reaches.
"""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

testinfra_hosts = ["local://"]

INVENTORY = Path(os.environ["MOLECULE_INVENTORY_FILE"]).parent
SCENARIO = Path(__file__).parents[1]
NODES = ["ifupdown", "netplan-networkd", "netplan-networkmanager", "networkmanager", "dhcpcd", "networkd"]
NETWORK = "10.89.83"
OLD = {node: f"{NETWORK}.{11 + number}/24" for number, node in enumerate(NODES)}
NEW = {node: f"{NETWORK}.{51 + number}/24" for number, node in enumerate(NODES)}
GATEWAY = f"{NETWORK}.1"
TRIAL = "/var/lib/bramble/network-trial"


def in_node(node, *command):
    arguments = ["podman", "exec", f"molecule-node_network-{node}", *command]
    return subprocess.run(arguments, capture_output=True, text=True, check=False).stdout


def state(node):
    """Return the node's address, its gateway, and what is left of trials."""
    script = f"ip -brief -4 address show dev eth0; ip route; ls -d {TRIAL} /etc/systemd/system/*bramble*"
    output = in_node(node, "sh", "-c", script)
    desired = (r"^eth0\S* +\S+ +(.*\S)", r"^default via (\S+)", r"^/.*")
    return tuple(" ".join(re.findall(pattern, output, re.MULTILINE)) for pattern in desired)


def address(node):
    return state(node)[0]


def has_trial(node, what=""):
    return bool(in_node(node, "find", f"{TRIAL}/{what}", "-maxdepth", "0"))


def command(inventory=(), nodes="all", **variables):
    options = [f"--inventory={file}" for file in (INVENTORY, *inventory)] + [f"--limit={nodes}"]
    settings = [f"--extra-vars={json.dumps(variables)}"]
    return ["ansible-playbook", *options, *settings, str(SCENARIO / "change.yml")]


def change(inventory=(), nodes="all", **variables):
    result = subprocess.run(
        command(inventory, nodes, **variables),
        env={**os.environ, "ANSIBLE_FORCE_COLOR": "false"},  # molecule sets it
        capture_output=True,
        text=True,
        check=False,
    )
    return result.returncode, result.stdout + result.stderr


def wait_until(condition, seconds, message):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, message
        time.sleep(0.3)


def check_all_have(addresses):
    assert {node: state(node) for node in NODES} == {node: (addresses[node], GATEWAY, "") for node in NODES}


def descendants(process):
    """Return what Ansible runs each node's task in, which are sessions of their own, and ssh."""
    output = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(process)], capture_output=True, text=True, check=False
    )
    children = [int(child) for child in output.stdout.split()]
    return children + [pid for child in children for pid in descendants(child)]


@contextlib.contextmanager
def applied_and_then_controller_killed(timeout):
    """Let all nodes move, keep the controller from coming back for as long, and kill it."""
    # Without a way to the new addresses the controller goes on trying until it is killed.
    new_addresses = f"{NETWORK}.48/28"
    subprocess.run(["ip", "route", "add", "blackhole", new_addresses], check=True)
    try:
        controller = subprocess.Popen(
            command(change_offset=40, node_network_confirm_timeout=timeout),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(lambda: all(has_trial(node, "applied") for node in NODES), 120, "the change was not tried")
        for process in (controller.pid, *descendants(controller.pid)):
            # One of them may have ended meanwhile.
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        controller.wait()
    finally:
        subprocess.run(["ip", "route", "del", "blackhole", new_addresses], check=True)
    # Now that nothing is in the way, every node could be reached: only the confirmation is missing.
    assert {node: address(node) for node in NODES} == NEW
    for expected in NEW.values():
        socket.create_connection((expected.partition("/")[0], 22), timeout=5).close()
    yield


def test_nodes_are_managed_as_they_seem():
    expected = {
        "ifupdown": ("cat /run/network/ifstate", "eth0=eth0"),
        "netplan-networkd": ("networkctl status eth0", "/run/systemd/network/10-netplan-eth0.network"),
        "netplan-networkmanager": ("nmcli -f GENERAL device show eth0", "100 (connected)\n"),
        "networkmanager": ("nmcli -f GENERAL device show eth0", "bramble eth0"),
        "dhcpcd": ("ip route show proto dhcp", "10.89.83.0/24 dev eth0"),
        "networkd": ("networkctl status eth0", "/etc/systemd/network/00-bramble-eth0.network"),
    }
    for node, (question, answer) in expected.items():
        assert answer in in_node(node, "sh", "-c", question), node
        assert "192.0.2.53" in in_node(node, "sh", "-c", "cat /etc/resolv.conf; resolvectl dns 2>&1"), node
        assert in_node(node, "systemctl", "is-system-running") == "running\n", node


def test_wrong_prefix():
    # The controller is not in such a small network, and there is no gateway to it.
    started = time.monotonic()
    status, output = change(
        change_offset=190, change_prefix=29, change_gateway=0, node_network_confirm_timeout=12
    )
    print(f"reverted by all within {time.monotonic() - started:.0f} s")
    assert status == 2
    errors = re.findall(r"\[ERROR\]: .*", output)
    assert len(errors) == len(NODES), output
    for error in errors:
        assert "could not be reached at 10.89.83.20" in error
        assert "within 12 s" in error
        assert "set node_network_address and node_network_gateway" in error
        assert error.endswith("/24 again")
    check_all_have(OLD)


def test_wrong_gateway():
    status, output = change(change_gateway=254, node_network_confirm_timeout=30)
    assert status == 2
    message = f"the gateway {NETWORK}.254 does not answer on eth0; expected a machine there that does"
    assert len(re.findall(rf"\[ERROR\]: .*{re.escape(message)}.*/24 again", output)) == len(NODES), output
    check_all_have(OLD)


def test_controller_killed():
    with applied_and_then_controller_killed(timeout=30):
        wait_until(lambda: not any(map(has_trial, NODES)), 90, "the change was not reverted")
    for node in NODES:
        assert "it was not confirmed within 30 s" in in_node(node, "cat", "/var/lib/bramble/network-reverted")
    # With what they had before, a further run finds nothing to do.
    status, output = change()
    assert (status, output.count("changed=0")) == (0, len(NODES)), output
    assert "an earlier change of the network was reverted: it was not confirmed within 30 s" in output
    check_all_have(OLD)


def boot_all():
    boots = {node: in_node(node, "cat", "/proc/sys/kernel/random/boot_id") for node in NODES}

    def is_back(node):
        boot = in_node(node, "cat", "/proc/sys/kernel/random/boot_id")
        return boot not in ("", boots[node]) and "running" in in_node(node, "systemctl", "is-system-running")

    for node in NODES:
        in_node(node, "systemctl", "reboot")
    wait_until(lambda: all(map(is_back, NODES)), 180, "the nodes did not come back")


def test_node_restarted_in_between():
    with applied_and_then_controller_killed(timeout=600):
        boot_all()
    check_all_have(OLD)


def test_address_of_another_is_refused():
    # The last one is to get the address of the first one.
    status, output = change(nodes="networkd", change_offset=-5)
    assert status == 2
    assert f"{NETWORK}.11 is the address of another machine on eth0" in output
    assert in_node("ifupdown", "cat", "/sys/class/net/eth0/address").strip() in output
    assert address("networkd") == OLD["networkd"]


def test_node_of_a_cluster_is_not_moved():
    worker = ["kubelet.conf", "pki/ca.crt"]
    control_plane = ["admin.conf", "controller-manager.conf", "scheduler.conf"]
    programs = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
    manifests = [f"manifests/{name}.yaml" for name in programs]
    files = {"networkd": worker, "networkmanager": worker + control_plane + manifests}
    for node, names in files.items():
        # Not empty: those that a power cut has left are.
        write = f"mkdir -p {{pki,manifests}} && echo x | tee {' '.join(names)}"
        in_node(node, "bash", "-c", f"mkdir -p /etc/kubernetes && cd /etc/kubernetes && {write}")
    try:
        status, output = change(nodes=":".join(files), change_offset=40)
    finally:
        for node in files:
            in_node(node, "rm", "-r", "/etc/kubernetes")
    assert status == 2
    assert "(worker)" in output
    assert "and join it again with site.yml" in output
    assert "(control_plane)" in output
    assert "rebuild the control plane" in output
    for node in files:
        assert f"eth0 has {OLD[node]}; expected {NEW[node]}" in output
        assert address(node) == OLD[node]


def test_other_resolvers_do_not_interrupt():
    for node in NODES:
        source = OLD[node].partition("/")[0]
        in_node(node, "sh", "-c", f"ping -i 0.2 -I {source} {GATEWAY} >/run/pings 2>&1 &")
    status, output = change(change_resolver="192.0.2.54")
    lost = {}
    for node in NODES:
        pings = in_node(node, "sh", "-c", "pkill -INT ping; sleep 0.5; cat /run/pings")
        summary = re.search(r"(\d+) packets transmitted, (\d+) received", pings)
        assert int(summary[1]) > 10, pings
        lost[node] = int(summary[1]) - int(summary[2])
    print(f"of a packet each 0.2 s were lost: {lost}")
    assert status == 0, output
    # An interface that is taken down is away for seconds; a busy machine loses one packet or two.
    assert max(lost.values()) <= 4
    for node in NODES:
        resolvers = in_node(node, "sh", "-c", "cat /etc/resolv.conf; resolvectl dns 2>&1")
        assert "192.0.2.54" in resolvers, node
        assert "192.0.2.53" not in resolvers, node


def test_moved_and_kept_over_a_reboot(tmp_path):
    # With the resolvers that they had before the last test.
    status, output = change(change_offset=40)
    assert status == 0, output
    for node, expected in NEW.items():
        assert f"{node} is at {expected.partition('/')[0]} now" in output
    boot_all()
    check_all_have(NEW)
    # Their keys are known there already.
    moved = tmp_path / "moved.json"
    hosts = {node: {"ansible_host": NEW[node].partition("/")[0]} for node in NODES}
    moved.write_text(json.dumps({"rack": {"hosts": hosts}}))
    status, output = change([moved], change_offset=40)
    assert (status, output.count("changed=0")) == (0, len(NODES)), output
    status, output = change([moved])
    assert status == 0, output
    check_all_have(OLD)
