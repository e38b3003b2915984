# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Renewals on a node in namespaces, by the real kubeadm."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.certificates_node import KUBERNETES, CertificatesNode

COPY = "/root/.kube/config"
KUBECONFIG = {"dest": "~root/.kube/config", "owner": "root"}
DUE = ["pki/apiserver.crt", "scheduler.conf", "pki/etcd/server.crt", "admin.conf"]
RENEWED = [
    "renew etcd-server",
    "restart etcd",
    "renew apiserver",
    "restart kube-apiserver",
    "renew scheduler.conf",
    "restart kube-scheduler",
    "renew admin.conf",
    "write /root/.kube/config",
]
#: As kubeadm does: the key first, and the certificate is empty before it is written.
KILLED = (
    "[ ! -e /run/kill-kubeadm ] || { rm /run/kill-kubeadm; echo other >/etc/kubernetes/pki/apiserver.key;"
    " : >/etc/kubernetes/pki/apiserver.crt; kill -9 $PPID; exit; }\n"
)
STARTED_ONCE = "etcd 1 kube-apiserver 1 kube-controller-manager 1 kube-scheduler 1"
STARTS = "sort /run/started | uniq -c | awk '{print $2, $1}'"
ENDS = (
    "openssl s_client -connect 127.0.0.1:6443 </dev/null 2>/dev/null | openssl x509 -noout -enddate;"
    f"openssl x509 -noout -enddate -in {KUBERNETES}/pki/apiserver.crt;"
    "diff <(openssl x509 -noout -pubkey -in /etc/kubernetes/pki/apiserver.crt)"
    " <(openssl pkey -pubout -in /etc/kubernetes/pki/apiserver.key) && echo the same"
)


class Node(CertificatesNode):
    """What each command printed, by a name."""

    def __init__(self, scratch: Path) -> None:
        super().__init__(scratch)
        program = self.programs / "kubeadm"
        program.write_text(program.read_text().replace("exec", f"{KILLED}exec", 1))
        # Homes are the machine's own.
        self.folders = ["/root/.kube"]
        self.texts: dict[str, str] = {}

    def tell(self, commands: dict[str, str]) -> None:
        made = self.begin()
        printed = self.run(*made, *commands.values())
        self.texts = dict(zip(commands, printed[len(made) :]))

    def told(self, name: str) -> dict[str, Any]:
        return self.result(self.texts[name])

    def changes(self, name: str) -> list[str]:
        told = self.told(name)
        assert not told.get("failed"), told
        assert told["changed"] == bool(told["changes"])
        return list(told["changes"])


def with_copy(node: Node, *, check: bool = False, **options: Any) -> str:
    return node.certificates(check=check, kubeconfigs=[KUBECONFIG], **options)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Node:
    """Renew on a node that runs: four steps, a kill, and what others renew."""
    node = Node(tmp_path_factory.mktemp("certificates"))
    node.tell(
        {
            "first": with_copy(node),
            "age": node.age(*DUE, days=10),
            "check": with_copy(node, check=True),
            "unchanged": "ls -A /etc/kubernetes/pki | grep bramble; " + STARTS,
            "apply": with_copy(node),
            "starts": STARTS,
            "shown": f"bash -c '{ENDS}'",
            "copies": f"cmp {KUBERNETES}/admin.conf {COPY} && stat -c '%a %U' {COPY}",
            "check again": with_copy(node, check=True),
            "apply again": with_copy(node),
            "age again": node.age("pki/apiserver.crt", days=10),
            "killed": "touch /run/kill-kubeadm; " + with_copy(node),
            "half written": f"cat {KUBERNETES}/pki/apiserver.key; wc -c <{KUBERNETES}/pki/apiserver.crt",
            "check after the kill": with_copy(node, check=True),
            "apply after the kill": with_copy(node),
            "shown after the kill": f"bash -c '{ENDS}'",
            "note": "ls -A /etc/kubernetes/pki | grep bramble",
            "by hand": "kubeadm certs renew controller-manager.conf >/dev/null",
            "check by hand": with_copy(node, check=True),
            "apply by hand": with_copy(node),
            "apply by hand again": with_copy(node),
            "no key": f"mv {KUBERNETES}/pki/ca.key /run",
            "all without a key": with_copy(node, renew="all"),
            "status": "cat /var/lib/bramble/certificates-status.json",
            "listed": with_copy(node, renew="none"),
        }
    )
    return node


def test_four_steps(running: Node) -> None:
    assert running.changes("first") == ["write /root/.kube/config"]
    assert running.changes("check") == RENEWED
    assert running.texts["unchanged"].split() == STARTED_ONCE.split()
    assert running.changes("apply") == RENEWED
    assert running.changes("check again") == []
    assert running.changes("apply again") == []
    days = {each["path"]: each["days"] for each in running.told("apply again")["certificates"]}
    assert {days[f"{KUBERNETES}/{name}"] for name in DUE} == {364}


def test_only_what_has_it_open_is_restarted_and_runs_with_the_new_pair(running: Node) -> None:
    starts = "etcd 2 kube-apiserver 2 kube-controller-manager 1 kube-scheduler 2"
    assert running.texts["starts"].split() == starts.split()
    shown, written, pair = running.texts["shown"].splitlines()
    assert (shown, pair) == (written, "the same")


def test_copies_of_the_kubeconfig_are_brought_up_to_date(running: Node) -> None:
    assert running.texts["copies"].strip() == "600 root"


def test_a_certificate_that_is_half_written_is_renewed_by_the_next_run(running: Node) -> None:
    """A power cut in the midst of kubeadm leaves an API server that would not start again."""
    assert running.texts["half written"].split() == ["other", "0"]
    expected = ["renew apiserver", "restart kube-apiserver"]
    assert running.changes("check after the kill") == expected
    assert running.changes("apply after the kill") == expected
    shown, written, pair = running.texts["shown after the kill"].splitlines()
    assert (shown, pair) == (written, "the same")
    assert running.texts["note"] == ""


def test_what_was_renewed_and_not_restarted_is_restarted(running: Node) -> None:
    """As after a kill in between, or kubeadm run by hand."""
    expected = ["restart kube-controller-manager"]
    assert running.changes("check by hand") == expected
    assert running.changes("apply by hand") == expected
    assert running.changes("apply by hand again") == []


def test_an_authority_elsewhere_is_refused_before_anything_is_touched(running: Node) -> None:
    told = running.told("all without a key")
    assert told["failed"]
    assert told["changes"] == []
    assert (
        "/etc/kubernetes/pki/ca.key is not there, so that apiserver, apiserver-kubelet-client" in told["msg"]
    )
    assert "kubeadm certs generate-csr" in told["msg"]
    status = json.loads(running.texts["status"])
    assert status["error"] == told["msg"]


def test_none_only_lists(running: Node) -> None:
    assert running.changes("listed") == []
    found = {each["path"]: each for each in running.told("listed")["certificates"]}
    assert found["/root/.kube/config"]["days"] == 364
    assert found[f"{KUBERNETES}/pki/ca.crt"]["name"] == ""
    assert found[f"{KUBERNETES}/pki/apiserver.crt"]["name"] == "apiserver"


#: The kubelet's certificate, as it is kept.
KUBELET = "/var/lib/kubelet/pki/kubelet-client-current.pem"


def test_an_expired_cluster_comes_back(tmp_path: Path) -> None:
    """Nothing answers, and the kubelet does not start either: its own certificate has expired."""
    node = Node(tmp_path)
    pem = (
        "for kind in certificate key; do"
        f' sed -n "s/.*client-$kind-data: //p" {KUBERNETES}/kubelet.conf | base64 -d; done >{KUBELET}'
    )
    node.program(
        "systemctl",
        'echo "$*" >>/run/systemctl\n'
        '[ "$*" = "restart kubelet" ] || exit 1\n'
        f"openssl x509 -noout -checkend 0 -in {KUBELET} >/dev/null || exit 1\n"
        "/usr/bin/python3 /run/kubelet.py </dev/null >/dev/null 2>&1 &",
    )
    names = "pki/apiserver.crt pki/apiserver-etcd-client.crt pki/apiserver-kubelet-client.crt"
    names += (
        " pki/front-proxy-client.crt pki/etcd/server.crt pki/etcd/peer.crt pki/etcd/healthcheck-client.crt"
    )
    names += " admin.conf controller-manager.conf scheduler.conf"
    made = node.begin()[:3]
    printed = node.run(
        *made,
        f"mkdir -p /var/lib/kubelet/pki; {pem}; touch /run/api-is-down",
        node.age(*names.split(), KUBELET, days=-30),
        node.certificates(check=True),
        node.certificates(),
        f"grep kubelet /run/systemctl; readlink {KUBELET};"
        f" openssl x509 -noout -subject -in {KUBELET}; stat -Lc %a {KUBELET}",
        # As it is then.
        "rm /run/api-is-down",
        node.certificates(),
    )[len(made) :]
    checked, applied, again = (node.result(printed[number]) for number in (2, 3, 6))
    assert checked["kubelet_expired"]
    assert set(checked["changes"]) >= {
        "renew the kubelet's certificate",
        "restart kubelet",
        "renew admin.conf",
    }
    assert not applied.get("failed"), applied
    assert len([each for each in applied["certificates"] if each["renewed"]]) == len(names.split())
    assert {each["days"] for each in applied["certificates"] if each["name"]} == {364}
    assert not applied["kubelet_expired"]
    asked, link, subject, mode = printed[4].splitlines()[-4:]
    assert asked == "restart kubelet"
    assert link.startswith("/var/lib/kubelet/pki/kubelet-client-20")
    assert "O = system:nodes, CN = system:node:pi-1" in subject
    assert mode == "600"
    assert again["changes"] == []


def test_the_timers_program_renews_without_ansible(tmp_path: Path) -> None:
    node = Node(tmp_path)
    program = "env -u PYTHONPATH /usr/bin/python3 -I -S /usr/local/lib/bramble-test.pyz"
    made = node.begin()
    options: dict[str, Any] = {"dest": "/usr/local/lib/bramble-test.pyz", "node_name": "pi-1", "timeout": 30}
    node.folders = ["/usr/local/lib"]
    printed = node.run(
        *made,
        f"{program} 2>&1",
        node.module("certificates_program", check=True, **options),
        node.module("certificates_program", **options),
        node.module("certificates_program", **options),
        node.age("scheduler.conf", days=10),
        f"{program} 2>&1",
        f"{program} 2>&1",
        "cat /var/lib/bramble/certificates-status.json",
    )[len(made) :]
    assert "can't open file" in printed[0]
    written = ["write /etc/bramble/certificates.json", "write /usr/local/lib/bramble-test.pyz"]
    assert node.result(printed[1])["changes"] == written
    assert node.result(printed[2])["changes"] == written
    assert node.result(printed[3])["changes"] == []
    assert printed[5].splitlines() == ["renew scheduler.conf", "restart kube-scheduler"]
    assert printed[6].splitlines() == ["no certificate is due"]
    assert json.loads(printed[7])["error"] is None


@pytest.mark.long
def test_a_worker_s_kubelet_gets_what_a_control_plane_has_signed(tmp_path: Path) -> None:
    node = Node(tmp_path)
    given = (
        f"{sys.executable} -c \"import json; pem = json.load(open('{tmp_path}/signed'))['pem'];"
        " print(json.dumps({'ANSIBLE_MODULE_ARGS': {'pem': pem, '_ansible_check_mode': @CHECK@}}))\""
        f" | {sys.executable} -m ansible_collections.bramble.pi.plugins.modules.kubelet_certificate"
    )
    check, apply = given.replace("@CHECK@", "True"), given.replace("@CHECK@", "False")
    made = node.begin()[:3]
    shown = f"openssl x509 -noout -subject -in {KUBELET}"
    printed = node.run(
        *made,
        f"mkdir -p /var/lib/kubelet/pki; cp {KUBERNETES}/pki/apiserver.crt {KUBELET}",
        node.age(KUBELET, days=-1),
        node.module("kubelet_certificate", check=True, issue_for="pi-2"),
        f"{node.module('kubelet_certificate', issue_for='pi-2')}; cp {tmp_path}/result {tmp_path}/signed",
        check,
        shown,
        apply,
        f"{shown}; cat /run/systemctl",
        check,
        apply,
    )[len(made) :]
    assert "pem" not in node.result(printed[2])
    assert node.result(printed[3])["changes"] == ["sign a certificate for pi-2"]
    renewed = ["renew the kubelet's certificate", "restart kubelet"]
    assert node.result(printed[4])["changes"] == renewed
    assert "CN = kube-apiserver" in printed[5]
    applied = node.result(printed[6])
    assert applied["changes"] == renewed
    assert "PRIVATE KEY" not in printed[6]
    assert "CN = system:node:pi-2" in printed[7]
    assert "restart kubelet" in printed[7].splitlines()
    assert node.result(printed[8])["changes"] == node.result(printed[9])["changes"] == []
