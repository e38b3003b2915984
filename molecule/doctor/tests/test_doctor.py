"""What was found of each planted fault, as the report has it."""

import json
import os
from pathlib import Path

import pytest

FOLDER = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])


@pytest.fixture(scope="module")
def report():
    return json.loads((FOLDER / "report.json").read_text())


def found(report, name):
    (node,) = (node for node in report["nodes"] if node["host"] == name)
    return {(each["check"], each["severity"]): each for each in node["findings"]}


def checks(report, name):
    # A busy machine may be slow.
    return {check for check, _severity in found(report, name)} - {"slow_disk"}


def test_nothing_is_wrong_with_the_healthy_node(report):
    assert checks(report, "healthy") == {"not_in_cluster"}
    assert report["nodes"][0]["fsync"]["writes"] > 0


@pytest.mark.parametrize(
    ("check", "severity", "evidence", "remedy"),
    [
        ("clock", "error", "not synchronised; it says 20", "timedatectl"),
        ("certificate", "warning", "/etc/kubernetes/pki/ca.crt expires in 2 days", "manual-rotation"),
        ("cmdline", "warning", "/proc/cmdline lacks cgroup_enable=cpuset", "sudo reboot"),
        ("disk", "error", "/var/lib/kubelet has 5 % of its space free", "du -xhd2 /var/lib/kubelet"),
        ("inodes", "error", "/var/lib/etcd has 2 % of its inodes free (2)", "--inodes"),
        ("read_only", "error", "/var/lib/docker is mounted read-only", "dmesg"),
        ("kubelet", "error", "kubelet is not installed as a service", "bramble.pi.site --limit faulty"),
        ("undervoltage", "error", "0x50005", "power supply"),
        ("throttled", "warning", "0x50005", "cool it"),
        ("machine_id", "error", "is the same on faulty and clone", "systemd-machine-id-setup"),
        ("hostname", "error", "faulty is the same on faulty and clone", "os_prep_hostname"),
    ],
)
def test_each_planted_fault_is_found(report, check, severity, evidence, remedy):
    (node,) = (node for node in report["nodes"] if node["host"] == "faulty")
    findings = [each for each in node["findings"] if each["check"] == check]
    assert [each for each in findings if evidence in each["evidence"]], findings
    assert {each["severity"] for each in findings} == {severity}
    assert [each for each in findings if remedy in each["remedy"]], findings


def test_both_runtimes_with_their_causes(report):
    (node,) = (node for node in report["nodes"] if node["host"] == "faulty")
    found = {each["evidence"]: each["remedy"] for each in node["findings"] if each["check"] == "runtime"}
    assert found.pop("docker is masked").startswith("sudo systemctl unmask docker")
    ((evidence, remedy),) = found.items()
    assert evidence.startswith("containerd is activating (")
    assert "failed to load TOML: /etc/containerd/config.toml" in evidence
    assert remedy.endswith("sudo systemctl restart containerd")


def test_a_command_line_of_two_lines(report):
    finding = found(report, "clone")["cmdline", "warning"]
    assert "/boot/firmware/cmdline.txt" in finding["evidence"]
    assert "lines" in finding["evidence"]


def test_nothing_else_is_found(report):
    assert checks(report, "clone") == {"machine_id", "hostname", "cmdline", "not_in_cluster"}


def test_the_page_shows_all_of_it(report):
    page = (FOLDER / "report.html").read_text()
    for node in report["nodes"]:
        assert page.count(f'id="node-{node["host"]}"') == 1
    assert "/proc/cmdline lacks cgroup_enable=cpuset" in page


def test_the_doctor_leaves_nothing_behind(host):
    assert host.run("find /var/lib /var/lib/etcd -maxdepth 1 -name 'tmp*'").stdout == ""
