# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.bramble.pi.plugins.filter.kubernetes import flannel_manifest

ROOT = Path(__file__).parents[4]
# The file of flannel's release of that name (Apache License 2.0).
MANIFEST = (ROOT / "tests/unit/fixtures/flannel/kube-flannel-v0.28.9.txt").read_text()
DEFAULTS = yaml.safe_load((ROOT / "roles/pod_network/defaults/main.yml").read_text())
SHA256 = DEFAULTS["pod_network_flannel_sha256"]


def test_release_is_the_one_that_the_role_takes() -> None:
    assert "v0.28.9" in DEFAULTS["pod_network_flannel_url"]
    assert hashlib.sha256(MANIFEST.encode()).hexdigest() == SHA256


@pytest.mark.parametrize("cidr", ["10.244.0.0/16", "10.42.0.0/16"])
def test_only_the_network_is_put_in(cidr: str) -> None:
    before = list(yaml.safe_load_all(MANIFEST))
    after = list(yaml.safe_load_all(flannel_manifest(MANIFEST, cidr, SHA256)))
    (was,) = [document["data"] for document in before if document["kind"] == "ConfigMap"]
    (is_now,) = [document["data"] for document in after if document["kind"] == "ConfigMap"]
    assert json.loads(is_now.pop("net-conf.json")) == {
        **json.loads(was.pop("net-conf.json")),
        "Network": cidr,
    }
    # By which pods that run are replaced where the network is another one.
    (pods,) = [
        document["spec"]["template"]["metadata"] for document in after if document["kind"] == "DaemonSet"
    ]
    assert list(pods.pop("annotations")) == ["bramble.pi/configuration-sha256"]
    assert after == before


def test_pods_are_replaced_for_another_network_alone() -> None:
    def pods(cidr: str) -> str:
        documents = yaml.safe_load_all(flannel_manifest(MANIFEST, cidr, SHA256))
        (found,) = [document for document in documents if document["kind"] == "DaemonSet"]
        return str(found["spec"]["template"]["metadata"]["annotations"])

    assert pods("10.42.0.0/16") == pods("10.42.0.0/16") != pods("10.43.0.0/16")


def test_another_file_is_refused() -> None:
    with pytest.raises(
        AnsibleFilterError, match=r"is [0-9a-f]{64}; expected 1c06a15a.*pod_network_flannel_sha256"
    ):
        flannel_manifest(MANIFEST + "\n", "10.42.0.0/16", SHA256)


def test_manifest_of_something_else_is_refused() -> None:
    text = "kind: ConfigMap\ndata: {other: x}\n"
    with pytest.raises(AnsibleFilterError, match=r"0 ConfigMaps.*pod_network_flannel_url"):
        flannel_manifest(text, "10.42.0.0/16", hashlib.sha256(text.encode()).hexdigest())
