"""A rack behind its head: addresses, names, time and the default gateway, and what is seen outside.

The nodes have no other network than the rack's own; what is done on them goes through podman.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import PIPE

import pytest
import yaml
from ansible_collections.bramble.pi.plugins.module_utils._network import uplink
from ansible_collections.bramble.pi.plugins.module_utils._network.detect import MANAGERS
from ansible_collections.bramble.pi.plugins.module_utils._network.wifi import Wifi

RACK = "molecule-rack_network"
SCENARIO = Path(__file__).resolve().parents[1]
HEAD_OUTSIDE, OUTSIDE = "10.89.77.11", "10.89.77.14"
HEAD_INSIDE = "10.77.0.1"
NODES = {"pi-2": "10.77.0.2", "pi-3": "10.77.0.3"}
# ssh, names, the web, rpcbind, NFS, Docker, etcd, Kubernetes with its kubelets, proxies and first NodePort.
COMMON_PORTS = "--ports=22,53,80,111,443,2049,2375,2376,2379,2380,6443,10250,10256,30000"
NTP_QUERY = """
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as query:
    query.settimeout(2)
    query.sendto(bytes([0x23]) + bytes(47), ("ADDRESS", 123))
    answer = query.recv(48)
print(answer[0] & 7, answer[1])
"""


def on(node: str, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command on a node."""
    return subprocess.run(
        ["podman", "exec", f"{RACK}-{node}", *command], capture_output=True, text=True, check=False
    )


def shell(node: str, script: str) -> str:
    """Run a script on a node, and return what it wrote."""
    result = on(node, "sh", "-c", script)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def eventually(check: Callable[[], object], seconds: float = 60) -> None:
    """Wait until a check holds, as services and leases take their time after a boot."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            check()
        except AssertionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(1)
        else:
            return


def addresses(node: str) -> list[str]:
    """Return the IPv4 addresses of a node's interface to the rack."""
    return shell(node, "ip -4 -brief address show dev eth1").split()[2:3]


def check_address(node: str, address: str) -> None:
    """Check that the node has this address and no other, and the head as its default gateway."""
    assert addresses(node) == [f"{address}/24"]
    assert f"default via {HEAD_INSIDE} dev eth1" in shell(node, "ip route")
    assert "eth0" not in shell(node, "ip -brief link"), "another uplink"


def check_way_out(node: str) -> None:
    """Check that the node gets a page from outside, and is seen there as the head."""
    assert shell(node, "curl --silent --show-error --max-time 3 http://page.example.org/") == HEAD_OUTSIDE


def check_names(node: str) -> None:
    """Check names of the rack forwards and backwards."""
    for name, address in {"head": HEAD_INSIDE, **NODES, "printer": "10.77.0.50"}.items():
        full_name = f"{name}.rack.internal"
        assert shell(node, f"getent hosts {full_name}").split() == [address, full_name]
        assert shell(node, f"getent hosts {address}").split() == [address, full_name]


def check_time(node: str) -> None:
    """Check that the head gives the time, and is a server (mode 4) of a stratum that counts."""
    mode, stratum = shell(node, f"python3 -c '{NTP_QUERY.replace('ADDRESS', HEAD_INSIDE)}'").split()
    assert mode == "4"
    assert 0 < int(stratum) < 16


def check_all() -> None:
    """Check what the rack has of its head."""
    for node, address in NODES.items():
        eventually(lambda node=node, address=address: check_address(node, address))
        eventually(lambda node=node: check_way_out(node))
        check_names(node)
        eventually(lambda node=node: check_time(node))


def scan(node: str, *arguments: str) -> list[str]:
    """Return the open ports of addresses as a node finds them, a line for each address."""
    command = ["podman", "exec", "--interactive", f"{RACK}-{node}", "python3", "-", *arguments]
    program = (SCENARIO / "files/scan.py").read_text(encoding="utf-8")
    return subprocess.run(command, input=program, stdout=PIPE, text=True, check=True).stdout.splitlines()


def check_outside(*options: str) -> None:
    """Check that from outside only the head's sshd is found, though the rack's network is known there."""
    found = scan("outside", *options, HEAD_OUTSIDE, HEAD_INSIDE, NODES["pi-2"])
    assert found == [f"{HEAD_OUTSIDE} 22", HEAD_INSIDE, NODES["pi-2"]]


def play(playbook: Path, *arguments: str) -> str:
    """Run a playbook with the scenario's inventory."""
    inventory = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "inventory"
    result = subprocess.run(
        ["ansible-playbook", "-i", str(inventory), *arguments, str(playbook)],
        capture_output=True,
        text=True,
        check=False,
        cwd=SCENARIO.parents[1],
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


def converge(*arguments: str) -> str:
    """Run the scenario's playbook once more."""
    return play(SCENARIO / "converge.yml", *arguments)


def reboot_head() -> None:
    """Reboot the head, and lay hands on nothing."""
    before = shell("head", "cat /proc/sys/kernel/random/boot_id")
    on("head", "systemctl", "reboot")

    def is_back() -> None:
        assert shell("head", "cat /proc/sys/kernel/random/boot_id") != before

    eventually(is_back)


def test_all() -> None:
    check_all()


def test_outside() -> None:
    check_outside()
    assert shell("head", "ss -ulnH sport = 67 | awk '{print $4}'") == "0.0.0.0%eth1:67"
    # What is closed there is open inside, so that the same scan finds it.
    assert scan("pi-2", COMMON_PORTS, HEAD_INSIDE) == [f"{HEAD_INSIDE} 22 53 udp/53 udp/123"]


def test_node_takes_its_time_from_the_head() -> None:
    def is_selected() -> None:
        assert f"^* {HEAD_INSIDE}" in shell("pi-3", "chronyc -n sources")

    eventually(is_selected)
    assert f"NTP={HEAD_INSIDE}" in shell("pi-2", "systemd-analyze cat-config systemd/timesyncd.conf")


def test_other_resolvers_are_left_alone() -> None:
    assert "127.0.0.53" in shell("head", "ss --listening --numeric --udp --no-header")
    upstream = shell("head", "cat /run/systemd/resolve/resolv.conf")
    assert "nameserver" in upstream
    assert HEAD_INSIDE not in upstream
    assert "nameserver 127." not in upstream


def test_nodes_are_found(tmp_path: Path) -> None:
    found = tmp_path / "found.yml"
    settings = {"scan_from": "head", "scan_network": "10.77.0.0/24", "scan_file": str(found)}
    play(SCENARIO.parents[1] / "playbooks/scan.yml", "-e", json.dumps(settings))
    assert yaml.safe_load(found.read_text(encoding="utf-8"))["all"]["hosts"] == {
        name: {"ansible_host": address, "rack_services_mac": f"b8:27:eb:00:00:0{address[-1]}"}
        for name, address in NODES.items()
    }


def test_nodes_change_places(tmp_path: Path) -> None:
    bootptab = tmp_path / "bootptab"
    text = (SCENARIO / "files/bootptab").read_text(encoding="utf-8")
    bootptab.write_text(text.replace(NODES["pi-3"], NODES["pi-2"]), encoding="utf-8")
    converge(
        *("-e", f"rack_services_bootptab={bootptab}"),
        *("-e", f"address_of_pi_2={NODES['pi-3']}", "-e", f"address_of_pi_3={NODES['pi-2']}"),
    )
    # The run waits for the leases; a node has the address of its lease a moment later.
    eventually(lambda: check_address("pi-2", NODES["pi-3"]), seconds=5)
    eventually(lambda: check_address("pi-3", NODES["pi-2"]), seconds=5)
    converge()
    check_all()
    leases = shell("head", "cut -d ' ' -f 3 /var/lib/misc/dnsmasq.leases").split()
    assert sorted(leases) == sorted(NODES.values()), "old leases are released"


def test_all_is_there_after_a_reboot_of_the_head() -> None:
    reboot_head()
    check_all()
    check_outside(COMMON_PORTS)


def test_all_is_there_with_docker_on_the_head() -> None:
    shell("head", "DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends docker.io")
    # As on a Pi where Docker has to switch forwarding on itself; then it drops what is forwarded.
    shell("head", "systemctl stop docker.service docker.socket; sysctl -q -w net.ipv4.ip_forward=0")
    shell("head", "systemctl start docker.service")
    assert "-P FORWARD DROP" in shell("head", "iptables -S FORWARD")
    check_all()
    # What kube-proxy drops by, and the kubelet.
    shell("head", "iptables -N KUBE-FORWARD && iptables -I FORWARD 1 -j KUBE-FORWARD")
    shell("head", "iptables -A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP")
    check_all()
    reboot_head()
    eventually(lambda: shell("head", "systemctl is-active docker.service"))
    check_all()
    check_outside(COMMON_PORTS)


@pytest.mark.parametrize("argument", ["rack_services_dhcp_range=10.77.0.2-10.77.0.9"])
def test_what_cannot_work_is_refused_before_any_host_is_touched(argument: str) -> None:
    with pytest.raises(AssertionError, match="no host was touched"):
        converge("-e", argument)


def parses(script: str) -> bool:
    """Tell whether a network manager's own parser takes what is on the node."""
    return on("outside", "sh", "-c", script).returncode == 0


WPA_FILE = "/etc/wpa_supplicant/wpa_supplicant-wlan9.conf"
# With a driver that needs no radio it runs until it is stopped, unless its file is refused.
WPA_PARSES = f"timeout 2 wpa_supplicant -i lo -D wired -c {WPA_FILE} >/dev/null; test $? = 124"
KEYFILE = "/etc/NetworkManager/system-connections/bramble-uplink.nmconnection"
PARSERS = {
    "networkmanager": f"nmcli --offline connection modify autoconnect yes < {KEYFILE} | grep -q wpa-psk",
    "netplan": "netplan generate --root-dir / && grep -q 'psk=' /run/netplan/wpa-wlan9.conf",
    "dhcpcd": WPA_PARSES,
    "ifupdown": f"ifquery wlan9 | grep -q 'wpa-conf: {WPA_FILE}' && {WPA_PARSES}",
    "networkd": WPA_PARSES,
}


def test_wifi_is_configured_as_the_managers_themselves_read_it() -> None:
    # They are to read, and not to take the node's interface over.
    shell(
        "outside", "printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d; chmod +x /usr/sbin/policy-rc.d"
    )
    packages = "wpasupplicant network-manager netplan.io ifupdown"
    shell("outside", f"DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends {packages}")
    wifi = Wifi(ssid='Café "7"', psk="with blanks, # and $", country="DE", hidden=True)
    for manager, script in PARSERS.items():
        for file in uplink.files(manager=MANAGERS[manager], interface="wlan9", wifi=wifi):
            place = f"mkdir -p $(dirname {file.path}); cat > {file.path}; chmod {file.mode:o} {file.path}"
            command = ["podman", "exec", "--interactive", f"{RACK}-outside", "sh", "-c", place]
            subprocess.run(command, input=file.text, text=True, check=True)
        assert parses(script), manager
    # The same parsers find a mistake.
    shell("outside", f"echo 'nonsense' >> {WPA_FILE}; echo nonsense > /etc/netplan/90-bramble-uplink.yaml")
    assert not parses(PARSERS["networkd"])
    assert not parses(PARSERS["netplan"])
