"""Docker and containerd do what was asked of them, by their own account."""

import json
import re

import pytest

RUNC_OPTIONS = r"\.runc\.options\]\n(?:\s+\w+ = .*\n)*?\s+SystemdCgroup = (\w+)\n"


@pytest.fixture
def daemon_json(host):
    return json.loads(host.check_output("sudo cat /etc/docker/daemon.json"))


def has_containerd_runtime(host):
    return host.check_output("hostname").startswith("containerd")


def test_docker_info(host):
    info = json.loads(host.check_output("sudo docker info --format '{{json .}}'"))
    assert info["CgroupDriver"] == "systemd"
    assert info["Driver"] == "overlay2"
    assert info["LoggingDriver"] == "json-file"
    assert not [warning for warning in info["Warnings"] or [] if "limit" in warning]


def test_settings(host, daemon_json):
    if has_containerd_runtime(host):
        assert daemon_json == {
            "exec-opts": ["native.cgroupdriver=systemd"],
            "log-driver": "json-file",
            "log-opts": {"max-size": "100m"},
            "storage-driver": "overlay2",
        }
        return
    # What a user had, with the role's settings and those of the inventory.
    assert daemon_json == {
        "dns": ["192.168.1.1"],
        "exec-opts": ["native.cgroupdriver=systemd", "isolation=default"],
        "log-driver": "json-file",
        "log-opts": {"max-file": "3", "max-size": "10m"},
        "registry-mirrors": ["http://mirror.example:5000"],
        "storage-driver": "overlay2",
    }
    assert host.file("/etc/docker/daemon.json").mode == 0o640


def test_containerd_uses_the_systemd_driver(host):
    dump = host.check_output("sudo containerd config dump")
    drivers = re.findall(RUNC_OPTIONS, dump)
    if not has_containerd_runtime(host):
        assert drivers == ["false"], "containerd is Docker's, and was to be left alone"
        return
    assert drivers == ["true"]
    assert 'bin_dir = "/opt/cni/bin"' in dump
    assert "disabled_plugins = []" in dump
    if host.system_info.codename == "trixie":
        assert 'sandbox_image = "registry.k8s.io/pause:3.10"' in dump


def test_cri_answers(host):
    assert re.search(r"io\.containerd\.grpc\.v1 +cri +\S+ +ok", host.check_output("sudo ctr plugins ls"))


@pytest.mark.parametrize("service", ["docker", "containerd"])
def test_services(host, service):
    assert host.service(service).is_running
    assert host.service(service).is_enabled
