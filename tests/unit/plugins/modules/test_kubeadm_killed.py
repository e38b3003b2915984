# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""kubeadm init and both joins, killed after each of their steps: the next run ends as if nothing was.

The kubeadm here makes the files that the real one makes, in its order. What a next run
gives to the module is what the roles give it, by the facts that it reads first.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.filter.cluster import hosts_to_join
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import node_files, state
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.node import Node
from ansible_collections.bramble.pi.plugins.modules import kubeadm_init, kubeadm_join

from tests.unit.kubeadm_node import ADMIN_CONF, CA, CA_HASH, FakeNode, run

JOIN_INFO = {"endpoint": "192.168.1.10:6443", "token": "abcdef.0123456789abcdef"}
KUBELET_CONF = """\
    server: https://192.168.1.10:6443
    client-certificate: {root}/var/lib/kubelet/pki/kubelet-client-current.pem
"""
PEM = "BEGIN CERTIFICATE PRIVATE KEY"

# Steps, in shell; file PATH [TEXT] writes one.
_CA = ["file etc/kubernetes/pki/ca.crt CA"]
_KUBECONFIGS = [
    f"file etc/kubernetes/{name}.conf ADMIN" for name in ("admin", "controller-manager", "scheduler")
]
_MANIFESTS = [
    f"file etc/kubernetes/manifests/{name}.yaml"
    for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
]
_ETCD = ["file etc/kubernetes/manifests/etcd.yaml", "file var/lib/etcd/member/snap/db"]
_BOOTSTRAP = ["file etc/kubernetes/bootstrap-kubelet.conf ADMIN", "file var/lib/kubelet/config.yaml"]
_CERTIFICATE = [
    "file etc/kubernetes/kubelet.conf KUBELET",
    "file var/lib/kubelet/pki/kubelet-client-current.pem PEM",
    'rm "$ROOT/etc/kubernetes/bootstrap-kubelet.conf"',
]
_PROMOTE = ["file promoted"]
_MARK = ["file marked"]

INIT = [
    *_CA,
    *_KUBECONFIGS,
    *_CERTIFICATE[:2],
    "file var/lib/kubelet/config.yaml",
    *_MANIFESTS,
    *_ETCD,
    "file answers",
]
AFTER_API = ["file uploaded", "file marked", "file addons"]
WORKER = [*_CA, *_BOOTSTRAP, *_CERTIFICATE]
PREPARE = [*_CA, *_KUBECONFIGS, *_MANIFESTS, *_BOOTSTRAP]
#: The order in which each minor of kubeadm makes a further control plane.
CONTROL_PLANES = {
    "v1.20.2": [*PREPARE, *_CERTIFICATE, *_ETCD, *_MARK],
    "v1.30.1": [*PREPARE, *_CERTIFICATE, *_ETCD, *_PROMOTE, *_MARK],
    "v1.36.0": [*PREPARE, *_ETCD, *_PROMOTE, *_CERTIFICATE, *_MARK],
}

KUBEADM = """\
#!/bin/sh
ROOT='{root}'
echo "$*" >> "$ROOT/commands"
file() {{
    mkdir -p "$(dirname "$ROOT/$1")"
    cat "$ROOT/texts/${{2:-other}}" > "$ROOT/$1"
}}
step() {{
    eval "$1"
    done=$((done + 1))
    if [ "$done" = "$(cat "$ROOT/kill-after" 2>/dev/null)" ]; then
        rm "$ROOT/kill-after"
        kill -KILL $$
    fi
}}
done=0
case "$*" in
    "config print init-defaults") echo "apiVersion: kubeadm.k8s.io/{api}" ;;
    "version -o json") echo '{{"clientVersion": {{"gitVersion": "{release}"}}}}' ;;
    "reset --force") rm -rf "$ROOT/etc/kubernetes" "$ROOT/var/lib/etcd" "$ROOT/var/lib/kubelet" {reset} ;;
    "join phase control-plane-join etcd "*) file promoted ;;
    "join phase control-plane-join mark-control-plane "*) file marked ;;
    "init "*"--skip-phases=preflight,certs,"*) {after_api} ;;
    *) {steps} ;;
esac
"""
KUBECTL = """\
#!/bin/sh
case "$*" in
    *kubeadm-config*)
        [ -e '{root}/answers' ] || exit 1
        [ -e '{root}/uploaded' ] || {{ echo NotFound >&2; exit 1; }} ;;
    *--replicas=1*deployment/coredns)
        [ -e '{root}/addons' ] || {{ echo 'Error from server (NotFound)' >&2; exit 1; }}
        rm '{root}/busy' 2>/dev/null && {{ echo etcdserver: request timed out >&2; exit 1; }}
        touch '{root}/one-coredns' ;;
esac
"""


class KilledNode(FakeNode):
    """A node whose kubeadm can be killed after any of its steps."""

    def kubeadm(
        self, steps: list[str], *, release: str = "v1.20.2", after_api: list[str] | None = None
    ) -> None:
        api = "v1beta2" if release.startswith("v1.20") else "v1beta3"

        def script(lines: list[str]) -> str:
            return "\n".join(f"step '{line}'" for line in lines)

        self.install(
            "kubeadm",
            KUBEADM.format(
                root=self.root,
                api=api,
                release=release,
                after_api=script(after_api or []) or ":",
                # The API server of a node that joins is another's.
                reset='"$ROOT/answers" "$ROOT/uploaded"' if after_api else '"$ROOT/promoted"',
                steps=script([*steps, *(after_api or [])]),
            ),
        )
        self.install("kubectl", KUBECTL.format(root=self.root))
        texts = {"CA": CA, "ADMIN": ADMIN_CONF, "KUBELET": KUBELET_CONF.format(root=self.root), "PEM": PEM}
        for name, text in {**texts, "other": "x"}.items():
            self.write(f"/texts/{name}", text)

    def install(self, name: str, script: str) -> None:
        path = self.programs / name
        path.write_text(script)
        path.chmod(0o755)

    def kill_after(self, steps: int) -> None:
        self.write("/kill-after", str(steps))

    def files(self) -> set[str]:
        return {path for path in state.KUBERNETES_FILES if Path(path).exists()}


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KilledNode:
    monkeypatch.setattr(Node, "has", lambda _self, program: program in ("kubeadm", "kubectl", "kubelet"))
    return KilledNode(tmp_path, monkeypatch)


def join_as_the_role(capsys: pytest.CaptureFixture[str], *, control_plane: bool) -> dict[str, Any]:
    """Join with what the role asks for, which it does by the facts."""
    # What node_facts says of Kubernetes.
    kubernetes = {"state": node_files.kubernetes_state(), "unfinished": node_files.is_unfinished()}
    facts = {"bramble": {"kubernetes": kubernetes}}
    role = "control_plane" if control_plane else "worker"
    info: dict[str, Any] = (
        {**JOIN_INFO, "encryption_configuration": "keys\n" if control_plane else ""}
        if hosts_to_join({"pi-2": {"ansible_facts": facts}}, ["pi-2"], role)
        else {}
    )
    return run(
        kubeadm_join,
        capsys,
        ca_cert_hash=CA_HASH,
        control_plane=control_plane,
        node_name="pi-2",
        timeout=5,
        **info,
    )


JOINS = [
    *((False, "v1.20.2", steps) for steps in range(1, len(WORKER) + 1)),
    *(
        (True, release, steps)
        for release, script in CONTROL_PLANES.items()
        for steps in range(1, len(script) + 1)
    ),
]


@pytest.mark.parametrize(("control_plane", "release", "steps"), JOINS)
def test_a_join_that_is_killed_is_finished_by_the_next_run(
    node: KilledNode, capsys: pytest.CaptureFixture[str], control_plane: bool, release: str, steps: int
) -> None:
    script = CONTROL_PLANES[release] if control_plane else WORKER
    node.kubeadm(script, release=release)
    # The control plane that is joined.
    for name in ("answers", "uploaded"):
        node.write(f"/{name}", "x")
    node.kill_after(steps)
    killed = join_as_the_role(capsys, control_plane=control_plane)
    assert "ended by signal 9" in killed["msg"]
    finished = join_as_the_role(capsys, control_plane=control_plane)
    assert finished.get("changed"), finished
    desired = {step.split()[1] for step in script if step.startswith("file etc/kubernetes/")}
    desired -= {"etc/kubernetes/pki/ca.crt", "etc/kubernetes/bootstrap-kubelet.conf"}
    assert node.files() - {state.ETCD_DATA} == {f"{node.root}/{path}" for path in desired}
    assert not Path(state.ATTEMPT).exists()
    # Also after an undo, which empties the folder.
    assert Path(state.ENCRYPTION).exists() == control_plane
    if control_plane:
        assert Path(state.ENCRYPTION).read_text() == "keys\n"
        assert os.stat(state.ENCRYPTION).st_mode & 0o777 == 0o600
        assert (node.root / "marked").exists()
        assert (node.root / "promoted").exists() == (release != "v1.20.2")
    again = join_as_the_role(capsys, control_plane=control_plane)
    assert (again.get("changed"), again.get("state")) == (False, "joined"), again


@pytest.mark.parametrize("steps", range(1, len(INIT) + len(AFTER_API) + 1))
def test_an_init_that_is_killed_is_finished_by_the_next_run(
    node: KilledNode, capsys: pytest.CaptureFixture[str], steps: int
) -> None:
    node.kubeadm(INIT, after_api=AFTER_API)
    node.kill_after(steps)
    parameters: dict[str, Any] = {"node_name": "pi-1", "pod_cidr": "10.244.0.0/16", "timeout": 0}
    assert "ended by signal 9" in run(kubeadm_init, capsys, **parameters)["msg"]
    finished = run(kubeadm_init, capsys, **parameters)
    assert finished.get("changed"), finished
    assert {"uploaded", "marked", "addons"} <= {path.name for path in node.root.iterdir()}
    assert not Path(state.ATTEMPT).exists()
    again = run(kubeadm_init, capsys, **parameters)
    assert (again.get("changed"), again.get("state")) == (False, "healthy"), again


@pytest.mark.parametrize("addons", [True, False])
def test_small_boards_have_one_coredns_also_if_the_first_try_fails(
    node: KilledNode, capsys: pytest.CaptureFixture[str], *, addons: bool
) -> None:
    node.kubeadm(INIT, after_api=AFTER_API if addons else AFTER_API[:-1])
    node.write("/busy", "")
    parameters: dict[str, Any] = {"node_name": "pi-1", "timeout": 0, "profile": "small"}
    first = run(kubeadm_init, capsys, **parameters)
    if addons:
        assert "request timed out" in first["msg"]
        assert not (node.root / "one-coredns").exists()
        assert run(kubeadm_init, capsys, **parameters)["changed"]
    assert (node.root / "one-coredns").exists() == addons
    again = run(kubeadm_init, capsys, **parameters)
    assert (again.get("changed"), again.get("state")) == (False, "healthy"), again


@pytest.mark.parametrize("lost", ["kubelet.conf", "certificate"])
def test_a_worker_whose_kubelet_lost_its_certificate_joins_anew(
    node: KilledNode, capsys: pytest.CaptureFixture[str], lost: str
) -> None:
    node.kubeadm(WORKER)
    join_as_the_role(capsys, control_plane=False)
    # As a power cut leaves what was not on the card yet.
    paths = {
        "kubelet.conf": state.KUBELET_KUBECONFIG,
        "certificate": str(state.KUBELET) + "/pki/kubelet-client-current.pem",
    }
    Path(paths[lost]).write_text("")
    assert join_as_the_role(capsys, control_plane=False).get("changed")
