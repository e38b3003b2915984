# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""kubectl on a machine outside of the rack: through a head that forwards, and by kubectl proxy."""

from __future__ import annotations

import ipaddress
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.e2e.conftest import RACK_NAME, RACK_SUBNET, Rack, Run

pytestmark = pytest.mark.long

PLAYBOOK = "playbooks/remote_access.yml"
KUBECTL = "kubectl --kubeconfig /etc/kubernetes/admin.conf"
# A bridge of its own, as podman hides where packets come from that leave its networks. The machine itself,
# which is the controller, is on it; the laptop and the stranger are namespaces.
BRIDGE = f"{RACK_NAME}-out"
LAPTOP, STRANGER = f"{RACK_NAME}-laptop", f"{RACK_NAME}-stranger"
# Another rack has another one: a bridge that is left from a killed run of it takes nothing away.
OUTSIDE = ipaddress.ip_network(RACK_SUBNET).network_address + (100 << 8)
NEAR = f"{OUTSIDE}/25"
HEAD = str(OUTSIDE + 14)
# What its user has already, and is to keep.
OTHERS = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "work",
    "preferences": {"colors": True},
    "clusters": [{"name": "work", "cluster": {"server": "https://work.example.org"}}],
    "contexts": [{"name": "work", "context": {"cluster": "work", "user": "me", "namespace": "team"}}],
    "users": [
        {"name": "me", "user": {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "a"}}}
    ],
}


# Beside the way through the head there is kubectl proxy, on pi-1, which pi-2 may use.
RACK_NETWORK = ipaddress.ip_network(RACK_SUBNET)
PROXY, ACCEPTED = (str(RACK_NETWORK.network_address + number) for number in (11, 12))
WITH_PROXY = (
    *("-e", "remote_access_proxy=true"),
    *("-e", f'{{"remote_access_proxy_networks": ["{ACCEPTED}/32"]}}'),
)


def run(*command: str, code: int | None = 0) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert code is None or done.returncode == code, (command, done.stdout, done.stderr)
    return done.stdout + done.stderr


def plug_in(name: str, *, namespace: str, interface: str, address: str) -> None:
    """Give a namespace an interface on the bridge."""
    run("ip", "link", "add", name, "type", "veth", "peer", "name", interface, "netns", namespace)
    run("ip", "link", "set", name, "master", BRIDGE, "up")
    inside = (
        ("nsenter", f"--net=/run/netns/{namespace}")
        if not namespace.isdigit()
        else ("nsenter", f"--target={namespace}", "--net")
    )
    run(*inside, "ip", "address", "add", f"{address}/24", "dev", interface)
    run(*inside, "ip", "link", "set", interface, "up")


@dataclass
class Outside:
    """The rack with a head, and two machines outside of it."""

    rack: Rack
    inventory: Path
    kubeconfig: Path

    def run(self, *arguments: str, code: int = 0) -> Run:
        """Run the playbook as the one whose kubeconfig it is."""
        options = [
            *("-e", f"remote_access_kubeconfig={self.kubeconfig}", "-e", f"remote_access_address={HEAD}"),
            *("-e", f'{{"remote_access_networks": ["{NEAR}"]}}', "-e", "remote_access_person=ada"),
        ]
        command = self.rack.playbook_command(PLAYBOOK, "-i", str(self.inventory), *options, *arguments)
        return self.rack.run(*command, code=code)

    def changed(self, *arguments: str) -> int:
        return sum(counts["changed"] for counts in self.run(*arguments).recap().values())

    def kubectl(self, *arguments: str, code: int | None = 0) -> str:
        """Run kubectl on the laptop, with the kubeconfig as it is now."""
        return self.outside(LAPTOP, f"--kubeconfig={self.kubeconfig}", *arguments, code=code)

    def outside(self, who: str, *arguments: str, code: int | None = 0) -> str:
        """Run kubectl there."""
        return run(
            "ip", "netns", "exec", who, str(self.kubeconfig.with_name("kubectl")), *arguments, code=code
        )


def remove(cluster: Rack) -> None:
    """Remove the head and what is outside of it, also what a killed run has left."""
    run("podman", "rm", "--force", "--volumes", "--time=1", cluster.container("head"), code=None)
    for name in (LAPTOP, STRANGER):
        run("ip", "netns", "delete", name, code=None)
    run("ip", "link", "delete", BRIDGE, code=None)
    cluster.shell("pi-1", f"ip route del {OUTSIDE}/24 2>/dev/null || true")


@pytest.fixture(scope="module")
def outside(cluster: Rack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    """Give the rack a head with another network on its other side, where two machines are."""
    folder = tmp_path_factory.mktemp("outside")
    inventory = folder / "head.yml"
    head = {
        "hosts": {"head": {"nat_headnode_inner_interface": "eth0", "nat_headnode_outer_interface": "eth1"}}
    }
    inventory.write_text(
        yaml.safe_dump(
            {
                "all": {"vars": {"preflight_node_network": RACK_SUBNET}},
                "rack": {"children": {"nat_headnode": head}},
            }
        )
    )
    kubeconfig = folder / "config"
    kubeconfig.write_text(yaml.safe_dump(OTHERS))
    both = ("-i", str(inventory))
    route = f"ip route replace {OUTSIDE}/24 via"
    address = str(RACK_NETWORK.network_address + 14)
    remove(cluster)
    try:
        cluster.playbook("playbooks/virtual_rack_create.yml", *both)
        run("ip", "link", "add", BRIDGE, "type", "bridge")
        run("ip", "address", "add", f"{OUTSIDE + 1}/24", "dev", BRIDGE)
        run("ip", "link", "set", BRIDGE, "up")
        head_process = run("podman", "inspect", "--format={{.State.Pid}}", cluster.container("head")).strip()
        plug_in(f"{RACK_NAME}-h", namespace=head_process, interface="eth1", address=HEAD)
        for name, number in ((LAPTOP, 50), (STRANGER, 200)):
            run("ip", "netns", "add", name)
            plug_in(name[:15], namespace=name, interface="eth0", address=str(OUTSIDE + number))
        cluster.playbook("tests/e2e/head.yml", *both)
        # Where there is a head the nodes' default gateway is the head.
        cluster.shell("pi-1", f"{route} {address}")
        run("podman", "cp", f"{cluster.container('pi-1')}:/usr/bin/kubectl", str(folder / "kubectl"))
        yield Outside(cluster, inventory, kubeconfig)
    finally:
        remove(cluster)


@pytest.fixture(scope="module")
def access(outside: Outside) -> Outside:
    """Have the access, and the proxy with it, in four steps."""
    before = outside.kubeconfig.read_text()
    assert outside.changed("--check", "--diff", *WITH_PROXY) > 0
    assert outside.kubeconfig.read_text() == before
    assert "remote:ada" not in outside.rack.shell("pi-1", f"{KUBECTL} get clusterrolebindings -o wide")
    assert ask_proxy(outside.rack, "pi-1", PROXY) == "000"
    run = outside.run(*WITH_PROXY)
    assert "is the administrator of the cluster, without a password" in run.output
    assert outside.changed("--check", *WITH_PROXY) == 0
    assert outside.changed(*WITH_PROXY) == 0
    return outside


def test_kubeconfig_takes_the_cluster_in_beside_others(access: Outside) -> None:
    config = yaml.safe_load(access.kubeconfig.read_text())
    assert access.kubeconfig.stat().st_mode & 0o777 == 0o600
    assert config["current-context"] == "work"
    assert config["preferences"] == OTHERS["preferences"]
    for part in ("clusters", "contexts", "users"):
        assert config[part][0] == OTHERS[part][0]  # type: ignore[index]
        assert len(config[part]) == 2
    assert config["clusters"][1]["name"] == "rpi-cluster"
    assert config["clusters"][1]["cluster"]["server"] == f"https://{HEAD}:6443"
    assert config["contexts"][1] == {"name": "rpi", "context": {"cluster": "rpi-cluster", "user": "rpi-ada"}}
    assert yaml.safe_load(access.kubeconfig.with_name("config.before-bramble.1").read_text()) == OTHERS


def test_laptop_uses_the_cluster_through_the_head(access: Outside) -> None:
    nodes = access.kubectl("--context=rpi", "get", "nodes", "--output=name").split()
    assert nodes == ["node/pi-1", "node/pi-2", "node/pi-3"]
    assert access.kubectl("--context=rpi", "auth", "can-i", "create", "deployments").strip() == "yes"


def test_nobody_gets_in_without_the_kubeconfig(access: Outside) -> None:
    nobody = (f"--server=https://{HEAD}:6443", "--insecure-skip-tls-verify", "--token=none")
    assert "must be logged in" in access.outside(LAPTOP, *nobody, "get", "nodes", code=1)
    # Nor anybody from another network.
    answer = access.outside(STRANGER, *nobody, "--request-timeout=10s", "get", "nodes", code=1)
    assert "refused" in answer


def test_name_that_is_taken_is_refused(access: Outside) -> None:
    before = access.kubeconfig.read_text()
    run = access.run(*WITH_PROXY, "-e", "remote_access_cluster_name=work", code=2)
    assert "it has another cluster named work, at https://work.example.org" in run.output
    assert "remote_access_cluster_name" in run.output
    assert access.kubeconfig.read_text() == before


def test_address_that_does_not_lead_there_is_refused(access: Outside) -> None:
    before = access.kubeconfig.read_text()
    # The first address of the network is the machine's own, where no API server is.
    wrong = ("-e", f"remote_access_address={OUTSIDE + 1}", "-e", "remote_access_timeout=3")
    names = ("-e", "remote_access_cluster_name=other", "-e", "remote_access_context_name=o")
    run = access.run(*WITH_PROXY, *wrong, *names, code=2)
    assert f"the API server cannot be used at https://{OUTSIDE + 1}:6443 from here" in run.output
    assert "set remote_access_address" in run.output
    assert access.kubeconfig.read_text() == before


def ask_proxy(rack: Rack, node: str, address: str, host: str = "", origin: str = "") -> str:
    """Ask the proxy for the nodes, and return the status; 000 is none."""
    name = f"-H 'Host: {host}'" if host else f"-H 'Origin: {origin}'" if origin else ""
    url = f"http://{address}:8080/api/v1/nodes"
    return rack.shell(node, f"curl -s -o /dev/null -m 10 -w '%{{http_code}}' {name} {url} || true").strip()[
        -3:
    ]


def test_proxy_serves_the_accepted_network_only(access: Outside) -> None:
    assert ask_proxy(access.rack, "pi-2", PROXY) == "200"
    assert ask_proxy(access.rack, "pi-3", PROXY) == "000"
    # A page in a browser of an accepted machine cannot ask under its own name.
    for host in ("192.168.1.evil.example", f"{PROXY}.evil.example", f"x{PROXY}"):
        assert ask_proxy(access.rack, "pi-2", PROXY, host) == "403"
    # Nor under the proxy's.
    assert ask_proxy(access.rack, "pi-2", PROXY, origin="http://evil.example") == "403"
    assert ask_proxy(access.rack, "pi-2", PROXY, origin=f"http://{PROXY}:8080") == "200"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            '{"remote_access_proxy_address": "0.0.0.0", "remote_access_proxy_networks": ["10.0.0.0/8"]}',
            "or remote_access_proxy_everywhere as well",
        ),
        ('{"remote_access_proxy_networks": []}', "remote_access_proxy_networks is []"),
        ('{"remote_access_proxy_networks": ["192.168.1"]}', "'192.168.1' is not an IPv4 network"),
    ],
)
def test_proxy_for_everybody_is_refused(access: Outside, given: str, words: str) -> None:
    run = access.run("-e", "remote_access_proxy=true", "-e", given, code=2)
    assert words in " ".join(run.output.split())
    assert sum(counts["changed"] for counts in run.recap().values()) == 0


def test_proxy_and_access_are_taken_away_again(access: Outside) -> None:
    own = access.kubeconfig.read_text()
    away = ("-e", "remote_access_state=absent")
    other = access.kubeconfig.with_name("bob.conf")
    bob = (
        *("-e", "remote_access_person=bob", "-e", "remote_access_cluster_role=view"),
        *("-e", f"remote_access_kubeconfig={other}"),
    )
    # A run without the proxy takes it away, whoever it is for.
    assert ask_proxy(access.rack, "pi-2", PROXY) == "200"
    assert access.changed(*bob) > 0
    assert ask_proxy(access.rack, "pi-2", PROXY) == "000"
    assert access.changed(*bob) == 0
    assert access.changed("--check", *away) > 0
    assert access.changed(*away) > 0
    assert access.changed("--check", *away) == 0
    assert access.changed(*away) == 0
    assert yaml.safe_load(access.kubeconfig.read_text()) == OTHERS
    # Anyone who kept a copy has no rights.
    access.kubeconfig.write_text(own)
    get = ("--context=rpi", "--request-timeout=10s", "get", "pods", "--all-namespaces")
    assert "Forbidden" in access.kubectl(*get, code=1)
    # The way in is still there for the one who is left, who may look and nothing else.
    access.kubeconfig.write_text(other.read_text())
    assert "kube-apiserver-pi-1" in access.kubectl(*get)
    assert "Forbidden" in access.kubectl("--context=rpi", "create", "namespace", "bob", code=1)
    # And closed with the last one.
    assert access.changed(*away, *bob) > 0
    assert "refused" in access.kubectl(*get, code=1)
