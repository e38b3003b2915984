"""Each node runs containerd 2, kept its images and containers, and starts new ones."""

import json
import re

import pytest

CTR = "sudo ctr --namespace k8s.io"
RUNC_OPTIONS = r"\.runc\.options\]\n(?:\s+\w+ = .*\n)*?\s+SystemdCgroup = (\w+)\n"
DOCKERS_OWN = ("containerd.io", "docker-ce", "docker-ce-cli")
DEBIANS = ("containerd", "docker.io", "runc")


def name(host):
    return host.check_output("hostname")


def test_it_was_moved(host):
    assert "Version:  1.7." in host.check_output("sudo cat /root/before")
    client, server = re.findall(r"Version: +v?(\S+)", host.check_output("sudo ctr version"))
    assert client.startswith("2.")
    assert server == client


def test_packages(host):
    installed = {package for package in (*DOCKERS_OWN, *DEBIANS) if host.package(package).is_installed}
    assert installed == set(DOCKERS_OWN if name(host) == "docker" else DEBIANS)
    assert host.run("dpkg --audit").stdout == ""


def test_configuration_read_back(host):
    dump = host.check_output("sudo containerd config dump")
    assert "version = 3" in dump
    assert re.findall(RUNC_OPTIONS, dump) == ["true"]
    assert "/opt/cni/bin" in dump
    assert "disabled_plugins = []" in dump
    plugins = host.check_output("sudo ctr plugins list")
    assert re.search(r"io\.containerd\.grpc\.v1 +cri +\S+ +ok", plugins)


def test_images_and_containers_stay(host):
    assert "localhost/tool:1" in host.check_output(f"{CTR} images list --quiet").split()
    assert "complete" in host.check_output(f"{CTR} images check name==localhost/tool:1")
    assert host.check_output(f"{CTR} containers list --quiet").split() == ["stopped"]
    assert "localhost/tool:1" in host.check_output("sudo docker image ls --format '{{.Repository}}:{{.Tag}}'")
    assert host.check_output("sudo docker ps --all --format '{{.Names}}'") == "stopped"


@pytest.mark.parametrize(
    "command",
    [
        f"{CTR} run --rm localhost/tool:1 new /usr/sbin/ldconfig --version",
        "sudo docker run --rm localhost/tool:1",
        "sudo docker start --attach stopped",
    ],
)
def test_containers_run(host, command):
    assert "ldconfig" in host.check_output(command)


def test_the_stopped_container_runs_by_the_new_runtime(host):
    # The task goes when it has ended.
    assert host.check_output(f"{CTR} tasks start stopped").startswith("ldconfig")


def test_a_run_that_was_killed_is_done_again(host):
    if name(host) == "os":
        pytest.skip("nothing is moved there by the role")
    arguments = {"runtime": "containerd", "daemon_json": {"exec-opts": ["native.cgroupdriver=systemd"]}}
    server = host.ansible("debug", "msg={{ server }}")["msg"]
    if name(host) == "docker":
        # dpkg was killed in the middle.
        host.check_output("cd /tmp && apt-get -qq download containerd.io")
        host.check_output("sudo dpkg --unpack /tmp/containerd.io_*.deb")
        assert "containerd.io" in host.run("dpkg --audit").stdout
        arguments |= {
            "containerd_source": "docker",
            "docker_repository": {
                "url": server + "/linux/{distribution}",
                "key": server + "/linux/debian/gpg",
            },
        }
    else:
        receipt = json.loads(host.check_output("cat /usr/local/lib/bramble-containerd/receipt.json"))
        # The programs were placed, and what says so was not written.
        host.check_output("sudo rm /usr/local/lib/bramble-containerd/receipt.json /usr/local/bin/ctr")
        arguments |= {
            "containerd_source": "archive",
            "archives": {
                "containerd": {"url": f"{server}/containerd.tar.gz", "sha256": receipt["containerd"]},
                "runc": {"url": f"{server}/runc", "sha256": receipt["runc"]},
            },
        }
    result = host.ansible("bramble.pi.container_runtime", json.dumps(arguments), check=False, become=True)
    assert any(change.startswith("Install ") for change in result["changes"])
    test_it_was_moved(host)
    test_images_and_containers_stay(host)
    again = host.ansible("bramble.pi.container_runtime", json.dumps(arguments), check=False, become=True)
    assert not again["changed"]


def test_an_older_containerd_is_refused_after_an_archive(host):
    if name(host) != "archive":
        pytest.skip("it has none")
    answer = host.ansible("bramble.pi.container_runtime", "runtime=containerd", check=False, become=True)
    assert "docker_containerd_source is 'os'; expected archive" in answer["msg"]
    assert answer["changed"] is False
