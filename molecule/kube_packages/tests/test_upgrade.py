"""An upgrade leaves Kubernetes alone, a wish for another patch does not; images are there."""

import re

testinfra_hosts = ["ansible://dockershim", "ansible://containerd"]


def test_an_upgrade_leaves_the_packages_alone(host, versions):
    host.check_output("sudo apt-get update")
    assert "Candidate: 1.20.3-1.1" in host.check_output("apt-cache policy kubelet")
    kept = host.check_output("sudo apt-get --yes upgrade")
    assert re.search(r"kept back:\n  kubeadm kubectl kubelet\n", kept), kept
    assert versions() == {"1.20.2-1.1"}


def test_images(host):
    list_images = {
        "containerd": "sudo ctr --namespace k8s.io images list --quiet",
        "dockershim": "sudo docker image ls --format '{{.Repository}}:{{.Tag}}'",
    }[host.check_output("hostname")]
    images = host.check_output(list_images).splitlines()
    assert {"k8s.gcr.io/pause:3.2", "k8s.gcr.io/kube-proxy:v1.20.2"} <= set(images)


def test_a_patch_can_be_chosen(kube_packages, versions):
    assert kube_packages("1.20.3", check=False)["changed"]
    assert versions() == {"1.20.3-1.1"}

    # For a minor alone, what is installed stays.
    assert not kube_packages("1.20", check=False)["changed"]

    refused = kube_packages("1.20.2", check=False)
    assert "kubelet 1.20.3-1.1 is installed; expected the older 1.20.2" in refused["msg"]

    result = kube_packages("1.20.2", check=False, allow_downgrade=True)
    assert result["previous"]["kubelet"] == "1.20.3-1.1"
    assert versions() == {"1.20.2-1.1"}
    assert {"kubelet", "kubeadm", "kubectl"} <= set(result["held"])
