"""Packages and images come through the proxy, which is the only way out, and without one they do not."""

import json
import os
import subprocess
from pathlib import Path

import pytest

testinfra_hosts = ["local://"]

INVENTORY = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "inventory"
CONVERGE = Path(__file__).resolve().parents[1] / "converge.yml"
NODES = ("pi-1", "pi-2")
#: A registry that nobody has: whoever asks the proxy for it is seen in its log.
IMAGE = "registry.example.org/nothing:1"
#: Fails if any of the lists cannot be fetched.
UPDATE = "apt-get update -qq -o APT::Update::Error-Mode=any"


def on(node, script, check=True):
    """Run a script on a node."""
    command = ["podman", "exec", f"molecule-proxy-{node}", "sh", "-c", script]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not check or result.returncode == 0, result.stdout + result.stderr
    return result.stdout.strip()


def address(node):
    return on(node, "hostname -I").split()[0]


def converge(*arguments):
    """Run the scenario's playbook, and return how much it changed."""
    command = ["ansible-playbook", "-i", str(INVENTORY), *arguments, str(CONVERGE)]
    environment = {**os.environ, "ANSIBLE_FORCE_COLOR": "false"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    counts = [word for word in result.stdout.split() if word.startswith("changed=")]
    return sum(int(word.partition("=")[2]) for word in counts)


def environment(node, unit):
    """Return the environment of a unit's process, as it runs."""
    pid = on(node, f"systemctl show --property=MainPID --value {unit}")
    lines = on(node, f"tr '\\0' '\\n' </proc/{pid}/environ").splitlines()
    return dict(line.partition("=")[::2] for line in lines)


def asked():
    """Return what the proxy was asked for, as its log has it."""
    return [line for line in on("gate", "cat /var/log/proxy").splitlines() if "Request" in line]


def test_packages_come_through_it():
    """Those of the roles may have been in the node's cache of packages."""
    before = len(asked())
    on("pi-1", UPDATE)
    assert len(asked()) > before


@pytest.mark.parametrize("node", NODES)
@pytest.mark.parametrize("unit", ["containerd", "docker"])
def test_what_pulls_images_knows_it(node, unit):
    known = environment(node, unit)
    assert known["http_proxy"] == known["https_proxy"] == f"http://{address('gate')}:8888"
    without = known["no_proxy"].split(",")
    assert {".lan", "10.244.0.0/16", "10.96.0.0/12", *NODES, *map(address, NODES)} <= set(without)


def test_docker_asks_it_for_an_image():
    before = len(asked())
    told = on("pi-1", f"docker pull {IMAGE} 2>&1", check=False)
    assert [line for line in asked()[before:] if "registry.example.org" in line], told


def test_apt_reaches_the_rack_without_it():
    """One entry for each host of the rack, as apt knows no networks."""
    dump = on("pi-1", "apt-config dump")
    assert f'Acquire::http::Proxy "http://{address("gate")}:8888";' in dump
    assert f'Acquire::http::Proxy::{address("pi-2")} "DIRECT";' in dump
    assert 'Acquire::http::Proxy::pi-2 "DIRECT";' in dump


# The last one: afterwards there is no way out.


def test_without_one_nothing_asks_it_any_more():
    none = ("-e", json.dumps({"proxy": ""}))
    assert converge("--check", *none) > 0
    assert "http_proxy" in environment("pi-2", "containerd")
    assert converge(*none) > 0
    for node in NODES:
        for unit in ("containerd", "docker"):
            assert "http_proxy" not in environment(node, unit)
        assert "Acquire::http::Proxy" not in on(node, "apt-config dump")
        assert (
            on(node, f"{UPDATE} -o Acquire::Retries=0 2>/dev/null || echo refused", check=False) == "refused"
        )
    assert converge("--check", *none) == 0
    assert converge(*none) == 0
