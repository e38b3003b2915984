"""What the tests share."""

import json

import pytest


@pytest.fixture
def kube_packages(host):
    """Run the module as the role does, with other parameters."""
    repository = host.check_output("sed -n 's/^URIs: //p' /etc/apt/sources.list.d/kubernetes.sources")

    def run(version, check=True, **parameters):
        arguments = {"version": version, "repository": repository.replace("v1.20", "v{minor}"), **parameters}
        try:
            return host.ansible("bramble.pi.kube_packages", json.dumps(arguments), check=check, become=True)
        except host.ansible.AnsibleException as error:
            return error.result

    return run


@pytest.fixture
def versions(host):
    """Ask for the versions that are installed now."""

    def ask():
        return {host.package(name).version for name in ("kubelet", "kubeadm", "kubectl")}

    return ask
