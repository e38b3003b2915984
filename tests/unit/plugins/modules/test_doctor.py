# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module reads only, so it runs for real, on the machine that runs the tests."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import node_files, state
from ansible_collections.bramble.pi.plugins.module_utils._node import examine, findings
from ansible_collections.bramble.pi.plugins.modules import doctor

CONTAINERD = Path(__file__).parents[2] / "fixtures" / "containerd"
PLUGIN = "TYPE ID PLATFORMS STATUS\nio.containerd.grpc.v1 cri linux/arm64"
DRIFTED = (CONTAINERD / "default-1.6.20.toml").read_text()
AS_SET = DRIFTED.replace("SystemdCgroup = false", "SystemdCgroup = true")


def run(capsys: pytest.CaptureFixture[str], **arguments: Any) -> dict[str, Any]:
    with patch_module_args(arguments), pytest.raises(SystemExit) as exit_info:
        doctor.main()
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert exit_info.value.code == 0
    assert result["changed"] is False
    return result


def test_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    result = run(capsys, controller_time=time.time(), time_sync=False)
    node = result["node"]
    assert node["hostname"] == os.uname().nodename
    assert node["page_size"] == os.sysconf("SC_PAGE_SIZE")
    assert node["memory"]["total"] > node["memory"]["available"] > 0
    assert node["disks"][0]["path"] == "/"
    assert 0 < node["disks"][0]["available"] <= node["disks"][0]["size"]
    assert node["fsync"] is None
    assert {finding["check"] for finding in result["findings"]} <= set(findings.KINDS)
    # The clock of this machine is the controller's.
    assert "clock" not in {finding["check"] for finding in result["findings"]}


def test_a_clock_that_differs(capsys: pytest.CaptureFixture[str]) -> None:
    result = run(capsys, controller_time=time.time() - 7200, time_sync=False)
    (finding,) = (each for each in result["findings"] if each["check"] == "clock")
    assert finding["evidence"].endswith("s ahead of the controller's clock")


def test_the_disk_is_measured_and_nothing_stays(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    etcd = tmp_path / "etcd"
    monkeypatch.setattr(examine, "_ETCD", str(etcd))
    # Before there is a cluster, where etcd's data will be.
    assert run(capsys, fsync=True)["node"]["fsync"]["path"] == str(tmp_path)
    etcd.mkdir()
    measured = run(capsys, fsync=True)["node"]["fsync"]
    assert measured["path"] == str(etcd)
    assert 1 <= measured["writes"] <= 200
    assert 0 < measured["p50_ms"] <= measured["p99_ms"]
    assert list(etcd.iterdir()) == []
    assert run(capsys, fsync=True, _ansible_check_mode=True)["node"]["fsync"] is None


def test_a_slow_disk_is_not_measured_for_long(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(examine, "_ETCD", str(tmp_path))
    monkeypatch.setattr(examine, "_SECONDS", 0.2)
    monkeypatch.setattr(os, "fdatasync", lambda _descriptor: time.sleep(0.05))
    result = run(capsys, fsync=True)
    assert 1 <= result["node"]["fsync"]["writes"] < 10
    (finding,) = (each for each in result["findings"] if each["check"] == "slow_disk")
    assert finding["severity"] == "warning"


def test_a_disk_that_cannot_be_written_is_told_of_elsewhere(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(examine, "_ETCD", str(tmp_path))
    monkeypatch.setattr(os, "fdatasync", refuse)
    assert run(capsys, fsync=True)["node"]["fsync"] is None


def test_certificates_that_are_there(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sample = Path(__file__).parents[2] / "fixtures" / "ca_cert" / "rsa.crt"
    (tmp_path / "ca.crt").write_text(sample.read_text())
    (tmp_path / "etcd.crt").write_text("not a certificate")
    monkeypatch.setattr(state, "PKI", str(tmp_path))
    result = run(capsys, certificate_days=36500)
    assert result["node"]["certificates"] == [
        {"path": f"{tmp_path}/ca.crt", "expires": "2036-11-18T05:39:01Z"},
        {
            "path": f"{tmp_path}/etcd.crt",
            "error": "there is no -----BEGIN CERTIFICATE----- block in the text",
        },
    ]
    found = [each for each in result["findings"] if each["check"] == "certificate"]
    assert [each["severity"] for each in found] == ["warning", "warning"]


class Drift(NamedTuple):
    plugin: str
    dump: str | None
    sandbox: str | None
    #: Severity and part of the evidence.
    expected: list[tuple[str, str]]


@pytest.mark.parametrize(
    "drift",
    [
        Drift("ok", AS_SET, "registry.k8s.io/pause:3.6", []),
        Drift("ok", AS_SET, None, []),
        Drift("error", AS_SET, None, [("error", "CRI plugin did not load: too many open files")]),
        Drift("ok", DRIFTED, None, [("warning", "SystemdCgroup is false")]),
        Drift("ok", AS_SET, "x/pause:9", [("warning", "the sandbox image is registry.k8s.io/pause:3.6")]),
        Drift("ok", "version = \n", None, [("error", "is not valid TOML")]),
        Drift("ok", None, None, [("error", "ended with 1: toml: line 3")]),
    ],
)
def test_a_runtime_that_does_not_serve_or_has_drifted(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    drift: Drift,
) -> None:
    flags = tmp_path / "kubeadm-flags.env"
    flags.write_text(
        'KUBELET_KUBEADM_ARGS="--container-runtime=remote'
        ' --container-runtime-endpoint=unix:///run/containerd/containerd.sock"'
    )
    added = tmp_path / "kubelet"
    added.write_text("KUBELET_EXTRA_ARGS=--node-ip=10.0.0.7 --network-plugin=cni\n")
    monkeypatch.setattr(state, "KUBELET_FLAGS", str(flags))
    monkeypatch.setattr(state, "KUBELET_USER_FLAGS", str(added))
    facts = examine.read_facts

    def worker(module: AnsibleModule) -> dict[str, Any]:
        return {**facts(module), "kubernetes": {"state": "worker", "server": None}, "packages": {}}

    def run_command(_module: AnsibleModule, command: list[str], **_options: Any) -> tuple[int, str, str]:
        if command[0] == "ctr":
            return 0, f"{PLUGIN} {drift.plugin}\n", ""
        if command[0] == "containerd":
            return (1, "", "toml: line 3") if drift.dump is None else (0, drift.dump, "")
        if command[0] == "journalctl":
            return 0, 'msg="failed to load plugin cri" error="too many open files"\n', ""
        return 1, "", ""

    monkeypatch.setattr(examine, "read_facts", worker)
    monkeypatch.setattr(AnsibleModule, "run_command", run_command)
    monkeypatch.setattr(AnsibleModule, "get_bin_path", lambda *_arguments, **_options: "/usr/bin/true")
    result = run(capsys, sandbox_image=drift.sandbox)
    assert result["node"]["kubelet_flags"] == [
        {"path": str(flags), "flag": "container-runtime"},
        {"path": str(added), "flag": "network-plugin"},
    ]
    found = [each for each in result["findings"] if each["check"] == "runtime_settings"]
    assert [each["severity"] for each in found] == [severity for severity, _evidence in drift.expected]
    for each, (_severity, evidence) in zip(found, drift.expected):
        assert evidence in each["evidence"]


@pytest.mark.parametrize(
    ("status", "seen"),
    [
        (None, None),
        ({"error": "no age"}, {"error": "no age", "missing": False}),
        ({"ca_cert_hash": "a", "file": "here"}, {"ca_cert_hash": "a", "file": "here", "missing": False}),
        ({"ca_cert_hash": "a", "file": "gone"}, {"ca_cert_hash": "a", "file": "gone", "missing": True}),
        # Of a cluster that the node was in before.
        ({"ca_cert_hash": "b", "file": "here"}, None),
    ],
)
def test_the_backup_is_of_this_cluster_and_there(
    status: dict[str, Any] | None,
    seen: dict[str, Any] | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("here").touch()
    monkeypatch.setattr(state, "BACKUP_STATUS", str(tmp_path / "status.json"))
    if status is not None:
        Path(state.BACKUP_STATUS).write_text(json.dumps(status))
    monkeypatch.setattr(node_files, "cluster_ca_hash", lambda: "a")
    assert examine._backup() == seen
