# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the doctor finds wrong with a real cluster, and the report of it."""

from __future__ import annotations

import base64
import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import RACK_NAME, Rack, Run, wait_for
from tests.unit.report_page import Page

NODES = ["pi-1", "pi-2", "pi-3"]
PATIENCE = 300


def all_ready(cluster: Rack) -> bool:
    return cluster.ready() == dict.fromkeys(NODES, "True")


def told(done: Run) -> str:
    """Return the table of findings as one line, without what Ansible puts around its lines."""
    lines = re.findall(r'^ +"(.*)",?$', done.output, re.MULTILINE)
    return " ".join(" ".join(line.replace('\\"', '"').split()) for line in lines)


def report(cluster: Rack, folder: Path) -> tuple[Page, dict[str, Any]]:
    """Write a report; return the page, read strictly, and the data."""
    done = cluster.playbook("playbooks/report.yml", "-e", f"report_file={folder}/report.html")
    assert f"file://{folder}/report.html" in done.output
    page = Page((folder / "report.html").read_text())
    data: dict[str, Any] = json.loads((folder / "report.json").read_text())
    assert [node["host"] for node in data["nodes"]] == NODES
    for node in data["nodes"]:
        assert f"#node-{node['host']}" in page.links
        for finding in node["findings"]:
            for value in (finding["evidence"], finding["expected"], finding["remedy"]):
                assert " ".join(value.split()) in page.text
    for severity, number in data["counts"].items():
        found = [each for node in data["nodes"] for each in node["findings"] if each["severity"] == severity]
        assert len(found) == number
    return page, data


@contextmanager
def broken(cluster: Rack, node: str, fault: str, remedy: str) -> Iterator[None]:
    """Break something on a node, and have it whole again at the end."""
    cluster.shell(node, fault)
    try:
        yield
    finally:
        cluster.shell(node, remedy)
        wait_for(lambda: all_ready(cluster), PATIENCE, "all nodes Ready")


def test_a_healthy_cluster_has_no_errors(cluster: Rack, tmp_path: Path) -> None:
    before = cluster.shell("pi-1", "find /etc /var/lib/etcd -maxdepth 1 | sort | md5sum")
    done = cluster.playbook("playbooks/doctor.yml")
    assert all(counts["changed"] == 0 for counts in done.recap().values())
    assert "3 nodes examined" in told(done)
    assert "ERROR" not in told(done)
    page, data = report(cluster, tmp_path)
    assert data["counts"]["error"] == 0
    assert [node["state"] for node in data["nodes"]] == ["ready"] * 3
    assert [node["role"] for node in data["nodes"]] == ["control plane", "worker", "worker"]
    assert "3 nodes 3 Ready 0 errors" in page.text
    for node in data["nodes"]:
        kubelet = cluster.shell(node["host"], "kubelet --version").split()[-1]
        kernel = cluster.shell(node["host"], "uname -r").strip()
        address = cluster.shell(node["host"], "hostname -I").split()[0]
        shown = f"{node['host']} {node['role']} ✓ Ready {address}"
        assert shown in page.text
        assert f"{kernel} {kubelet} {node['runtime']}" in page.text
    # Every certificate of the control plane with the end that openssl reads.
    ends = {each["path"]: each["expires"] for each in data["nodes"][0]["certificates"]}
    assert {"/etc/kubernetes/pki/apiserver.crt", "/etc/kubernetes/admin.conf"} <= set(ends)
    for path in (path for path in ends if path.endswith(".crt")):
        end = f"$(openssl x509 -noout -enddate -in {path} | cut -d= -f2)"
        assert cluster.shell("pi-1", f'date -u -d "{end}" +%FT%TZ').strip() == ends[path]
    assert data["nodes"][0]["fsync"]["writes"] > 0
    assert data["nodes"][1]["fsync"] is None
    assert cluster.shell("pi-1", "find /etc /var/lib/etcd -maxdepth 1 | sort | md5sum") == before


def test_verify_has_left_a_report(cluster: Rack) -> None:
    (path,) = re.findall(
        r"file://(\S+\.html)", cluster.playbook("playbooks/verify.yml", "--tags", "report").output
    )
    assert Path(path).parts[-2:] == (RACK_NAME, "report.html")
    assert "3 nodes 3 Ready" in Page(Path(path).read_text()).text


@pytest.mark.long
def test_check_mode_writes_nothing(cluster: Rack, tmp_path: Path) -> None:
    done = cluster.playbook("playbooks/report.yml", "--check", "-e", f"report_file={tmp_path}/report.html")
    assert all(counts["changed"] == counts["failed"] == 0 for counts in done.recap().values())
    assert list(tmp_path.iterdir()) == []
    cluster.playbook("playbooks/doctor.yml", "--check")


def test_no_secret_is_in_the_report(cluster: Rack, tmp_path: Path) -> None:
    report(cluster, tmp_path)
    text = (tmp_path / "report.html").read_text() + (tmp_path / "report.json").read_text()
    secrets = re.findall(
        r"(?:client-key-data|client-certificate-data|token): (\S+)",
        cluster.shell("pi-1", "cat /etc/kubernetes/*.conf"),
    )
    tokens = cluster.kubectl("get", "secrets", "-A")["items"]
    secrets += [
        base64.b64decode(value).decode() for each in tokens for value in each.get("data", {}).values()
    ]
    long = [secret for secret in secrets if len(secret) > 12 and secret.startswith(("ey", "LS0", "-----"))]
    assert long
    assert [secret[:12] for secret in long if secret in text] == []
    for word in ("PRIVATE KEY", "BEGIN CERTIFICATE"):
        assert word not in text


def test_a_kubelet_that_was_stopped(cluster: Rack, tmp_path: Path) -> None:
    with broken(cluster, "pi-3", "systemctl stop kubelet", "systemctl start kubelet"):
        done = cluster.playbook("playbooks/doctor.yml", code=2)
        assert "ERROR pi-3 kubelet kubelet is inactive (dead): it was stopped at " in told(done)
        assert "do: sudo systemctl start kubelet" in told(done)
        assert "doctor_fail_on is error" in done.output
        cluster.playbook("playbooks/doctor.yml", "-e", "doctor_fail_on=never")
        page, data = report(cluster, tmp_path)
        (finding,) = (each for each in data["nodes"][2]["findings"] if each["check"] == "kubelet")
        assert finding["severity"] == "error"
        assert "Error pi-3 kubelet kubelet is inactive" in page.text
    done = cluster.playbook("playbooks/doctor.yml")
    assert "pi-3 kubelet" not in told(done)


@pytest.mark.long
def test_a_kubelet_that_crashes_is_told_with_its_cause(cluster: Rack) -> None:
    configuration = "/var/lib/kubelet/config.yaml"
    with broken(
        cluster,
        "pi-2",
        f"cp -a {configuration} {configuration}.kept;"
        f" sed -i 's/^cgroupDriver:.*/cgroupDriver: [/' {configuration}; systemctl restart kubelet",
        f"mv {configuration}.kept {configuration}; systemctl reset-failed kubelet; systemctl restart kubelet",
    ):
        wait_for(
            lambda: cluster.shell("pi-2", "systemctl is-active kubelet || true").strip() != "active",
            PATIENCE,
            "the kubelet down",
        )
        done = cluster.playbook("playbooks/doctor.yml", "--limit", "pi-2", code=2)
        assert "ERROR pi-2 kubelet" in told(done)
        assert f"failed to load Kubelet config file {configuration}" in told(done)
        assert "do: the kubelet's configuration cannot be read; fix what it names" in told(done)


def test_a_certificate_that_expires(cluster: Rack, tmp_path: Path) -> None:
    pki = "/etc/kubernetes/pki"
    plant = f"""
        cp -a {pki}/front-proxy-client.crt /root/kept.crt
        openssl req -new -key {pki}/front-proxy-client.key -subj /CN=front-proxy-client |
        openssl x509 -req -CA {pki}/front-proxy-ca.crt -CAkey {pki}/front-proxy-ca.key -set_serial 7 \
            -days 10 -out {pki}/front-proxy-client.crt
    """
    with broken(cluster, "pi-1", plant, f"mv /root/kept.crt {pki}/front-proxy-client.crt"):
        # A warning does not fail unless it is to.
        done = cluster.playbook("playbooks/doctor.yml")
        assert f"WARNING pi-1 certificate {pki}/front-proxy-client.crt expires in 9 days" in told(done)
        assert "bramble.pi.certificates" in told(done)
        cluster.playbook("playbooks/doctor.yml", "-e", "doctor_fail_on=warning", code=2)
        cluster.playbook("playbooks/doctor.yml", "-e", "doctor_certificate_days=9")
        page, _data = report(cluster, tmp_path)
        assert f"Warning pi-1 certificate {pki}/front-proxy-client.crt expires in 9 days" in page.text
    done = cluster.playbook("playbooks/doctor.yml")
    assert "pi-1 certificate" not in told(done)


@pytest.mark.long
def test_a_name_that_is_a_script(cluster: Rack, tmp_path: Path) -> None:
    name = "<script>alert(1)<&{{ 7 * 7 }}.crt"
    path = f"/etc/kubernetes/pki/{name}"
    with broken(cluster, "pi-2", f"echo none >'{path}'", f"rm '{path}'"):
        page, data = report(cluster, tmp_path)
    # The page is read strictly: an element named script would not have passed.
    (finding,) = data["nodes"][1]["findings"]
    assert finding["evidence"].startswith(f"{path}: there is no -----BEGIN CERTIFICATE-----")
    assert f"Warning pi-2 certificate {path}: there is no" in page.text


def test_a_control_plane_that_does_not_answer(cluster: Rack, tmp_path: Path) -> None:
    container = cluster.container("pi-1")
    subprocess.run(["podman", "stop", container], check=True, capture_output=True)
    try:
        done = cluster.playbook("playbooks/doctor.yml", code=2)
        assert "ERROR pi-1 unreachable" in told(done)
        # The workers are examined all the same, and say what they miss.
        for worker in ("pi-2", "pi-3"):
            assert f"ERROR {worker} api https://" in told(done)
        page, data = report(cluster, tmp_path)
        assert [node["state"] for node in data["nodes"]] == ["unreachable", "unknown", "unknown"]
        assert [node["examined"] for node in data["nodes"]] == [False, True, True]
        assert "pi-1 control plane · ? no answer" in page.text
    finally:
        subprocess.run(["podman", "start", container], check=True, capture_output=True)
        wait_for(lambda: all_ready(cluster), PATIENCE, "all nodes Ready")
    assert "ERROR" not in told(cluster.playbook("playbooks/doctor.yml"))
