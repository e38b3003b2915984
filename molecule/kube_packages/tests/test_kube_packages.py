"""The packages are there at one version, stay there, and change only as asked."""

import pytest

KUBERNETES = {"kubelet", "kubeadm", "kubectl"}
COMMANDS = ["kubelet --version", "kubeadm version --output short", "kubectl version --client --short"]


def test_packages(host, versions):
    held = set(host.check_output("apt-mark showhold").splitlines())
    assert held == KUBERNETES | {"kubernetes-cni"}
    version = "1.20.3" if host.check_output("hostname") == "interrupted" else "1.20.2"
    assert versions() == {f"{version}-1.1"}
    for command in COMMANDS:
        assert host.check_output(command).endswith(f"v{version}")
    assert host.run("dpkg --audit").stdout == ""


def test_kubelet_starts_at_boot(host):
    assert host.service("kubelet").is_enabled


@pytest.mark.parametrize(
    "path", ["/etc/apt/sources.list.d/kubernetes.sources", "/etc/apt/keyrings/kubernetes.asc"]
)
def test_repository(host, path):
    assert host.file(path).mode == 0o644
    assert host.file(path).user == "root"


def test_another_minor_is_refused(kube_packages):
    result = kube_packages("1.21")
    assert "another minor is an upgrade of the cluster" in result["msg"]


def test_a_number_is_refused(kube_packages):
    result = kube_packages(1.3)
    assert "YAML reads 1.30 as the number 1.3" in result["msg"]


def test_a_version_that_is_not_there_is_refused(kube_packages):
    result = kube_packages("1.20.9", check=False)
    assert "of this minor: 1.20.3, 1.20.2." in result["msg"]
