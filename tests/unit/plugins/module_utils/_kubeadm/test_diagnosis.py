# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.diagnosis import (
    container_errors,
    ends_fatally,
    explanation,
    kubelet_errors,
    last_words,
    preflight_errors,
    redacted,
)
from hypothesis import given
from hypothesis import strategies as st

FIXTURES = Path(__file__).parents[3] / "fixtures" / "kubeadm"
PREFLIGHT_1_26 = (FIXTURES / "preflight-1.26.txt").read_text()
PREFLIGHT_1_17 = (FIXTURES / "preflight-1.17.txt").read_text()
TIMED_OUT_1_20 = (FIXTURES / "timed-out-1.20.txt").read_text()
API_CHECK_1_30 = (FIXTURES / "timed-out-1.30.txt").read_text()
JOURNAL_CGROUP_DRIVER = (FIXTURES / "journal-cgroup-driver.txt").read_text()
JOURNAL_1_35 = (FIXTURES / "journal-cgroup-v1.txt").read_text()
JOURNAL_COMING_UP = (FIXTURES / "journal-coming-up.txt").read_text()
JWS = (FIXTURES / "join-token-unknown.txt").read_text()
NOT_PINNED = (FIXTURES / "join-other-ca.txt").read_text()
REFUSED = (FIXTURES / "join-refused.txt").read_text()
TOO_SLOW = REFUSED.replace(
    "dial tcp 10.10.1.6:6443: connect: connection refused",
    "net/http: request canceled (Client.Timeout exceeded while awaiting headers)",
)
CLOCK = REFUSED.replace(
    "dial tcp 10.10.1.6:6443: connect: connection refused",
    "x509: certificate has expired or is not yet valid: current time 2020-01-01T00:00:10Z is before",
)
BUSY_NAME = (FIXTURES / "join-name-taken.txt").read_text()
CERTS_GONE = (FIXTURES / "join-certificates-gone.txt").read_text()
OLD_KEY = (
    "error execution phase control-plane-prepare/download-certs: error downloading certs: error decoding"
    " secret data with provided key: cipher: message authentication failed\n"
)


def test_preflight_errors() -> None:
    assert preflight_errors(output=PREFLIGHT_1_26) == [
        (
            "FileAvailable--etc-kubernetes-manifests-kube-apiserver.yaml",
            "/etc/kubernetes/manifests/kube-apiserver.yaml already exists",
        ),
        (
            "FileAvailable--etc-kubernetes-manifests-etcd.yaml",
            "/etc/kubernetes/manifests/etcd.yaml already exists",
        ),
        ("Port-10250", "Port 10250 is in use"),
    ]
    # What a check says may go over several lines.
    errors = dict(preflight_errors(output=PREFLIGHT_1_17))
    assert list(errors) == ["NumCPU", "Swap", "CRI"]
    assert errors["CRI"].endswith(
        'getting status of runtime: rpc error: code = Unimplemented" , error: exit status 1'
    )
    assert preflight_errors(output=JWS) == []


def test_preflight_errors_are_the_cause_and_come_with_their_remedy() -> None:
    message = explanation(command="kubeadm init", output=PREFLIGHT_1_17, journal=JOURNAL_CGROUP_DRIVER)
    lines = message.splitlines()
    assert lines[0] == "kubeadm init failed in its preflight checks:"
    assert "control_plane_ignore_preflight_errors: [NumCPU]" in lines[1]
    assert lines[2].startswith("- Swap: running with swap on is not supported")
    assert "os_prep" in lines[2]
    assert "the role docker" in lines[3]
    assert len(lines) == 4


def test_a_kernel_that_does_not_show_its_configuration() -> None:
    output = (FIXTURES / "preflight-configs.txt").read_text()
    said = explanation(command="kubeadm init", output=output)
    assert "Module configs not found in directory /lib/modules/4.19.58-v7+" in said
    assert "run 'reboot'" in said
    assert "set control_plane_ignore_preflight_errors, workers_ignore_preflight_errors to" in said
    assert "cgroup" not in said
    other = output.replace('unable to load kernel module: "configs"', "x").replace(
        "Module configs", "Module x"
    )
    assert "the kernel lacks a cgroup controller or an option" in explanation(command="x", output=other)


CRICTL = (
    "[preflight] Running pre-flight checks\n"
    "error execution phase preflight: [preflight] Some fatal errors occurred:\n"
    "crictl is required by the container runtime: executable file not found in $PATH[preflight] If you know\n"
)


def test_what_follows_fatal_errors_is_kept() -> None:
    said = explanation(command="kubeadm join", output=CRICTL)
    assert "install the package cri-tools" in said
    assert "skip_phases" not in said, "a worker has no such variable"
    assert "kubeadm says: crictl is required by the container runtime: executable file not found" in said
    other = CRICTL.replace("crictl is required by", "something is odd in").replace("$PATH[", "$PATH\n[")
    assert explanation(command="kubeadm join", output=other).endswith(
        "Some fatal errors occurred: something is odd in the container runtime: executable file not found in"
        " $PATH"
    )


# As kubeadm 1.20 says them of v1alpha3 and of v1beta4.
OLD_API = (
    "could not convert cfg to an internal cfg: your configuration file uses an old API spec: "
    '"kubeadm.k8s.io/v1alpha3". Please use kubeadm v1.14 instead and run \'kubeadm config migrate '
    "--old-config old.yaml --new-config new.yaml', which will write the new, similar spec using a newer API "
    "version.\n"
    "To see the stack trace of this error execute with --v=5 or higher\n"
)
NO_KIND = (
    'no kind "InitConfiguration" is registered for version "kubeadm.k8s.io/v1beta4" in scheme '
    '"k8s.io/kubernetes/cmd/kubeadm/app/apis/kubeadm/scheme/scheme.go:31"\n'
    "To see the stack trace of this error execute with --v=5 or higher\n"
)


@pytest.mark.parametrize("output", [OLD_API, NO_KIND])
def test_an_api_that_kubeadm_does_not_read(output: str) -> None:
    cause, said = explanation(command="kubeadm init", output=output).splitlines()
    assert "set kube_packages_version to an older one" in cause
    assert "kubeadm.k8s.io/v1" in said


def test_many_preflight_errors_are_counted() -> None:
    output = "".join(f"\t[ERROR Port-{port}]: Port {port} is in use\n" for port in range(30))
    lines = explanation(command="kubeadm init", output=output).splitlines()
    assert len(lines) == 8
    assert lines[-1] == "- and 24 more"


@pytest.mark.parametrize(
    ("output", "cause"),
    [
        pytest.param(JWS, "controller manager does that, so see first", id="token unknown"),
        pytest.param(NOT_PINNED, "another CA", id="another cluster at this address"),
        pytest.param(REFUSED, "cannot be reached", id="refused"),
        pytest.param(TOO_SLOW, "cannot be reached", id="no answer"),
        pytest.param(CLOCK, "clocks", id="clock in the past"),
        pytest.param(BUSY_NAME, "os_prep_hostname", id="name taken"),
        pytest.param(CERTS_GONE, "two hours after their upload", id="certificates gone"),
        pytest.param(OLD_KEY, "makes a new key", id="the key of an upload before the last one"),
    ],
)
def test_the_cause_comes_first(output: str, cause: str) -> None:
    # What the kubelet says meanwhile is not to the point.
    message = explanation(command="kubeadm join", output=output, journal=JOURNAL_CGROUP_DRIVER)
    first, second = message.splitlines()
    assert first.startswith("kubeadm join failed: ")
    assert cause in first
    assert second.startswith("kubeadm says: error execution phase")


@pytest.mark.parametrize(
    ("journal", "cause"),
    [
        pytest.param(JOURNAL_CGROUP_DRIVER, "different cgroup drivers", id="cgroup driver"),
        pytest.param(JOURNAL_1_35, "failCgroupV1: false", id="cgroup v1"),
    ],
)
def test_a_time_out_is_explained_by_the_kubelet(journal: str, cause: str) -> None:
    message = explanation(command="kubeadm init", output=TIMED_OUT_1_20, journal=journal)
    assert cause in message.splitlines()[0]
    assert message.splitlines()[-1] == (
        "kubeadm says: error execution phase wait-control-plane: couldn't initialize a Kubernetes cluster"
    )


def test_a_time_out_is_explained_by_the_container_that_crashes() -> None:
    log = (
        "2026-11-21T06:16:01.000000000Z stderr F I1121 06:16:01 1 server.go:632] external host\n"
        "2026-11-21T06:16:21.000000000Z stderr F Error: unknown flag: --bogus\n"
    )
    message = explanation(
        command="kubeadm init",
        output=API_CHECK_1_30,
        journal=JOURNAL_COMING_UP,
        container_logs={"kube-apiserver": log},
    )
    assert message.splitlines() == [
        "kubeadm init failed.",
        "The container kube-apiserver crashed; its last lines:",
        "  Error: unknown flag: --bogus",
        "kubeadm says: error execution phase wait-control-plane: could not initialize a Kubernetes cluster",
    ]


def test_the_kubelets_usual_complaints_are_no_errors() -> None:
    assert kubelet_errors(journal=JOURNAL_COMING_UP) == []


def test_the_kubelets_repeated_errors_are_said_once() -> None:
    line = (
        'Nov 21 06:16:{:02} pi kubelet[9]: E1121 06:16:00.1 9 pod.go:{}] "Error syncing pod {}" err="boom"\n'
    )
    journal = "".join(line.format(second, second, second) for second in range(60))
    assert len(kubelet_errors(journal=journal)) == 1


@pytest.mark.parametrize(
    ("log", "lines"),
    [
        ("", []),
        (
            '{"log":"F1121 06:16:21.1 1 main.go:1] no\\n","stream":"stderr","time":"x"}',
            ["F1121 06:16:21.1 1 main.go:1] no"],
        ),
        (
            "2026-11-21T06:16:01Z stderr F panic: oh\n2026-11-21T06:16:01Z stderr F goroutine 1\n",
            ["panic: oh"],
        ),
        ("one\ntwo\n", ["one", "two"]),
    ],
)
def test_container_errors(log: str, lines: list[str]) -> None:
    assert container_errors(log=log) == lines


@pytest.mark.parametrize(
    ("log", "fatal"),
    [
        ("", False),
        ("2026-11-21T06:16:01Z stderr F I1121 06:16:01.1 1 server.go:1] Serving securely\n", False),
        ("2026-11-21T06:16:01Z stderr F F1121 06:16:01.1 1 instance.go:1] Error creating leases\n", True),
        ("2026-11-21T06:16:01Z stderr F Error: context deadline exceeded\n", True),
        ('2026-11-21T06:16:01Z stderr F {"level":"fatal","msg":"discovery failed"}\n', True),
        ('2026-11-21T06:16:01Z stderr F E1121 06:16:01.1 1 run.go:74] "command failed" err="bad"\n', True),
        ("2026-11-21T06:16:01Z stderr F panic: no\n" + "x\n" * 10, False),
    ],
)
def test_ends_fatally(log: str, fatal: bool) -> None:
    assert ends_fatally(log=log) is fatal


def test_last_words() -> None:
    assert last_words(output="") is None
    assert last_words(output="one\n\ntwo\n\n") == "two"
    assert last_words(output="couldn't create pki\nTo see the stack trace\n") == "couldn't create pki"
    # kubeadm 1.20.2 of a configuration that it refuses
    refusal = (
        'could not convert cfg to an internal cfg: apiServer.certSANs: Invalid value: "bad_name!": altname'
    )
    trace = "To see the stack trace of this error execute with --v=5 or higher"
    assert (
        last_words(output=f"W1121 07:28:07.168012 17045 kubelet.go:200] no docker\n{refusal}\n{trace}\n")
        == refusal
    )


def test_secrets_do_not_come_through() -> None:
    text = "token abcdef.0123456789abcdef key " + "0" * 64 + " hash sha256:" + "1" * 64
    assert redacted(text=text) == "token abcdef.<secret> key <certificate key> hash sha256:" + "1" * 64


@given(st.text(), st.text(), st.text())
def test_an_explanation_is_short_and_holds_no_token(output: str, journal: str, log: str) -> None:
    token = "abcdef.0123456789abcdef"
    message = explanation(
        command="kubeadm join",
        output=f"error: {output} {token}",
        journal=f"{journal}\nF1121 {token}\n",
        container_logs={"etcd": f"{log} {token}"},
    )
    assert token not in message
    assert len(message.splitlines()) <= 16
    assert len(message) < 5000
    assert message.startswith("kubeadm join failed")
