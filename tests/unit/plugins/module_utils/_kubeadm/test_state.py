# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import state as kubeadm_state
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.state import (
    Attempt,
    Step,
    decide_init,
    decide_join,
    kubelet_client_certificate,
    kubelet_cri_socket,
    kubernetes_state,
    parse_attempt,
    signs_of_use,
    uses_external_etcd,
)
from hypothesis import given
from hypothesis import strategies as st

MANIFESTS = set(kubeadm_state.COMPONENT_MANIFESTS)
KUBECONFIGS = {
    f"{kubeadm_state.KUBERNETES}/{name}.conf" for name in ("admin", "controller-manager", "scheduler")
}
WORKER = {kubeadm_state.KUBELET_KUBECONFIG}
COMPLETE = {*MANIFESTS, *KUBECONFIGS, kubeadm_state.KUBELET_KUBECONFIG, kubeadm_state.ETCD_DATA}
# Where kubeadm init 1.20 can be killed.
AFTER_ADMIN = {kubeadm_state.ADMIN_KUBECONFIG}
AFTER_KUBECONFIGS = {*KUBECONFIGS, kubeadm_state.KUBELET_KUBECONFIG}
BEFORE_ETCD = COMPLETE - {kubeadm_state.ETCD_DATA, f"{kubeadm_state.MANIFESTS}/etcd.yaml"}

INIT = Attempt(action="init", settings="s")
FAILED = Attempt(action="init", settings="s", failed=True)
OTHER = Attempt(action="init", settings="other")
CRASHED = Attempt(action="init", settings="other", failed=True, crashed=True)
UNKNOWN = Attempt(action="unknown", settings="")
JOIN = Attempt(action="join", settings="s")


STATES = {
    "nothing": (set(), "absent"),
    "a CA of the user's own, put there beforehand": (
        {kubeadm_state.CA_CERTIFICATE, f"{kubeadm_state.PKI}/ca.key"},
        "absent",
    ),
    "a static pod of the user's own": ({f"{kubeadm_state.MANIFESTS}/kube-vip.yaml"}, "absent"),
    "a worker": (WORKER, "worker"),
    "a worker with its CA": (WORKER | {kubeadm_state.CA_CERTIFICATE}, "worker"),
    "a worker where an etcd ran before": (WORKER | {kubeadm_state.ETCD_DATA}, "worker"),
    "a join without a kubelet": ({kubeadm_state.BOOTSTRAP_KUBECONFIG}, "partial"),
    "a join that was killed before it tidied up": (WORKER | {kubeadm_state.BOOTSTRAP_KUBECONFIG}, "partial"),
    "only data of etcd": ({kubeadm_state.ETCD_DATA}, "partial"),
    "an init that stopped after the first kubeconfig": (AFTER_ADMIN, "partial"),
    "an init that stopped before the manifests": (AFTER_KUBECONFIGS, "partial"),
    "an init that stopped among the manifests": (
        COMPLETE - {f"{kubeadm_state.MANIFESTS}/kube-scheduler.yaml"},
        "partial",
    ),
    "an init that stopped before etcd": (BEFORE_ETCD, "partial"),
    "a control plane": (COMPLETE, "control_plane"),
    "a control plane from 1.29 on": (
        COMPLETE | {f"{kubeadm_state.KUBERNETES}/super-admin.conf"},
        "control_plane",
    ),
    "a control plane without a kubelet": (COMPLETE - WORKER, "partial"),
    "a control plane whose join was killed before it tidied up": (
        COMPLETE | {kubeadm_state.BOOTSTRAP_KUBECONFIG},
        "partial",
    ),
}


@pytest.mark.parametrize(("files", "state"), STATES.values(), ids=STATES)
def test_kubernetes_state(files: set[str], state: str) -> None:
    assert kubernetes_state(files=files) == state


def test_an_external_etcd_leaves_no_manifest() -> None:
    assert kubernetes_state(files=BEFORE_ETCD, external_etcd=True) == "control_plane"
    assert kubernetes_state(files=COMPLETE, external_etcd=True) == "control_plane"


@given(st.sets(st.sampled_from(sorted(kubeadm_state.KUBERNETES_FILES))), st.booleans())
def test_complete_states_have_a_kubelet(files: set[str], external_etcd: bool) -> None:
    state = kubernetes_state(files=files, external_etcd=external_etcd)
    assert (state == "absent") == (not files)
    if state in ("worker", "control_plane"):
        assert files >= WORKER


@pytest.mark.parametrize(
    ("servers", "external"),
    [
        ("https://127.0.0.1:2379", False),
        ("https://[::1]:2379", False),
        ("https://10.0.0.5:2379,https://10.0.0.6:2379", True),
    ],
)
def test_uses_external_etcd(servers: str, external: bool) -> None:
    manifest = f"    - kube-apiserver\n    - --etcd-servers={servers}\n    - --secure-port=6443\n"
    assert uses_external_etcd(apiserver_manifest=manifest) is external
    assert not uses_external_etcd(apiserver_manifest="")


UP = (True, True)
NOT_UPLOADED = (True, False)
SILENT = (False, False)


INITS = {
    "fresh": ((set(), None, SILENT, []), Step.RUN, "absent"),
    "killed at once": ((set(), INIT, SILENT, []), Step.UNDO, "partial"),
    "killed among the kubeconfigs": ((AFTER_ADMIN, INIT, SILENT, []), Step.UNDO, "partial"),
    "killed before manifests": ((AFTER_KUBECONFIGS, INIT, SILENT, []), Step.UNDO, "partial"),
    "killed before the manifest of etcd": ((BEFORE_ETCD, INIT, SILENT, []), Step.UNDO, "partial"),
    "only kubelet.conf, of an init": ((WORKER, INIT, SILENT, []), Step.UNDO, "partial"),
    "the attempt was cut off": ((AFTER_ADMIN, UNKNOWN, SILENT, []), Step.UNDO, "partial"),
    "incomplete by hand": ((AFTER_ADMIN, None, SILENT, []), Step.REFUSE, "partial"),
    "a worker": ((WORKER, None, SILENT, []), Step.REFUSE, "worker"),
    "an incomplete worker": ((WORKER, JOIN, SILENT, []), Step.REFUSE, "partial"),
    "partial, but in use": ((AFTER_ADMIN, INIT, SILENT, ["node pi-2"]), Step.REFUSE, "partial"),
    "healthy": ((COMPLETE, None, UP, []), Step.NOTHING, "healthy"),
    "healthy, but silent": ((COMPLETE, None, SILENT, []), Step.REFUSE, "unreachable"),
    "by hand, not uploaded": ((COMPLETE, None, NOT_UPLOADED, []), Step.REFUSE, "partial"),
    "a joined control plane": ((COMPLETE, JOIN, UP, []), Step.NOTHING, "healthy"),
    "a joined one, silent": ((COMPLETE, JOIN, SILENT, []), Step.REFUSE, "unreachable"),
    "killed when it answered": ((COMPLETE, INIT, NOT_UPLOADED, []), Step.FINISH, "partial"),
    "a joined one that was killed before it tidied up": (
        (COMPLETE | {kubeadm_state.BOOTSTRAP_KUBECONFIG}, JOIN, UP, []),
        Step.NOTHING,
        "healthy",
    ),
    "killed among the add-ons": ((COMPLETE, INIT, UP, []), Step.FINISH, "partial"),
    "finished though in use": ((COMPLETE, INIT, UP, ["node pi-2"]), Step.FINISH, "partial"),
    "failed, but answers now": ((COMPLETE, FAILED, UP, []), Step.FINISH, "partial"),
    "failed": ((COMPLETE, FAILED, SILENT, []), Step.UNDO, "partial"),
    "killed and silent": ((COMPLETE, INIT, SILENT, []), Step.UNDO, "partial"),
    "silent, but in use": ((COMPLETE, INIT, SILENT, ["node pi-2"]), Step.REFUSE, "partial"),
    "other settings": ((COMPLETE, OTHER, NOT_UPLOADED, []), Step.UNDO, "partial"),
    "other settings, in use": ((COMPLETE, OTHER, NOT_UPLOADED, ["node a"]), Step.REFUSE, "partial"),
    "other settings, uploaded": ((COMPLETE, OTHER, UP, []), Step.REFUSE, "partial"),
    "other settings, crashed since": ((COMPLETE, CRASHED, UP, []), Step.UNDO, "partial"),
    "other settings, crashed since, in use": ((COMPLETE, CRASHED, UP, ["node a"]), Step.REFUSE, "partial"),
    "other settings, silent": ((COMPLETE, OTHER, SILENT, []), Step.UNDO, "partial"),
}


@pytest.mark.parametrize(("situation", "step", "state"), INITS.values(), ids=INITS)
def test_decide_init(
    situation: tuple[set[str], Attempt | None, tuple[bool, bool], list[str]], step: Step, state: str
) -> None:
    files, attempt, (api_answers, uploaded), in_use = situation
    verdict = decide_init(
        node="pi-1",
        files=files,
        external_etcd=False,
        attempt=attempt,
        settings="s",
        api_answers=api_answers,
        uploaded=uploaded,
        in_use=in_use,
    )
    assert (verdict.step, verdict.state) == (step, state)


ANY_FILES = st.sets(st.sampled_from(sorted(kubeadm_state.KUBERNETES_FILES))).map(frozenset)
ATTEMPTS = st.sampled_from([None, INIT, FAILED, OTHER, CRASHED, UNKNOWN, JOIN])


@given(ANY_FILES, ATTEMPTS, st.sampled_from([UP, NOT_UPLOADED, SILENT]), st.booleans())
def test_init_never_destroys_what_is_not_ours_or_in_use(
    files: frozenset[str], attempt: Attempt | None, api: tuple[bool, bool], used: bool
) -> None:
    verdict = decide_init(
        node="pi-1",
        files=files,
        external_etcd=False,
        attempt=attempt,
        settings="s",
        api_answers=api[0],
        uploaded=api[1],
        in_use=["node pi-2"] if used else [],
    )
    if files and verdict.step in (Step.UNDO, Step.RUN):
        assert attempt is not None
        assert attempt.action != "join"
        assert not used
    if verdict.step is Step.REFUSE:
        assert verdict.state in ("unreachable", "worker", "partial")


A = "sha256:" + "a" * 64
B = "sha256:" + "b" * 64
BOOTSTRAP = {kubeadm_state.BOOTSTRAP_KUBECONFIG}

JOINS = {
    "fresh": ((set(), None, False, None, False), Step.RUN, "absent"),
    "only the CA certificate is left": ((set(), JOIN, False, A, False), Step.UNDO, "partial"),
    "joined": ((WORKER, None, True, A, False), Step.NOTHING, "joined"),
    "a control plane of the cluster": ((COMPLETE, None, True, A, False), Step.NOTHING, "joined"),
    "joined as control plane": ((COMPLETE, None, True, A, True), Step.NOTHING, "joined"),
    "a worker shall be control plane": ((WORKER, None, True, A, True), Step.REFUSE, "worker"),
    "another cluster": ((WORKER, None, True, B, False), Step.REFUSE, "other_cluster"),
    "another cluster, joined by us": ((WORKER, JOIN, True, B, False), Step.REFUSE, "other_cluster"),
    "killed after the kubelet joined": ((WORKER, JOIN, True, A, False), Step.FINISH, "partial"),
    "control plane killed late": ((COMPLETE, JOIN, True, A, True), Step.FINISH, "partial"),
    "control plane killed before it had its etcd": ((BEFORE_ETCD, JOIN, True, A, True), Step.UNDO, "partial"),
    "control plane killed early": ((WORKER, JOIN, True, A, True), Step.UNDO, "partial"),
    "no client certificate": ((WORKER, JOIN, False, A, False), Step.UNDO, "partial"),
    "killed in the bootstrap": ((BOOTSTRAP, JOIN, False, A, False), Step.UNDO, "partial"),
    "killed in the bootstrap of a former cluster": ((BOOTSTRAP, JOIN, False, B, False), Step.UNDO, "partial"),
    "incomplete by hand": ((BOOTSTRAP, None, False, A, False), Step.UNDO, "partial"),
    "incomplete by hand, no CA": ((BOOTSTRAP, None, False, None, False), Step.UNDO, "partial"),
    "incomplete by hand, another cluster": ((BOOTSTRAP, None, False, B, False), Step.REFUSE, "other_cluster"),
    "a control plane incomplete by hand": ((AFTER_ADMIN, None, False, A, False), Step.REFUSE, "partial"),
    "data of etcd": (({kubeadm_state.ETCD_DATA}, None, False, None, False), Step.REFUSE, "partial"),
    "an init is incomplete": ((AFTER_ADMIN, INIT, False, A, False), Step.REFUSE, "partial"),
}


@pytest.mark.parametrize(("situation", "step", "state"), JOINS.values(), ids=JOINS)
def test_decide_join(
    situation: tuple[set[str], Attempt | None, bool, str | None, bool], step: Step, state: str
) -> None:
    files, attempt, complete, own, control_plane = situation
    verdict = decide_join(
        node="pi-2",
        files=files,
        external_etcd=False,
        attempt=attempt,
        kubelet_complete=complete,
        ca_cert_hash=own,
        expected_ca_cert_hash=A,
        control_plane=control_plane,
    )
    assert (verdict.step, verdict.state) == (step, state)
    if state == "other_cluster":
        assert A in verdict.reason
        assert B in verdict.reason
        assert "--limit pi-2" in verdict.reason


@given(ANY_FILES, ATTEMPTS, st.booleans(), st.sampled_from([None, A, B]), st.booleans())
def test_join_undoes_by_hand_only_what_holds_no_data(
    files: frozenset[str], attempt: Attempt | None, complete: bool, own: str | None, control_plane: bool
) -> None:
    verdict = decide_join(
        node="pi-2",
        files=files,
        external_etcd=False,
        attempt=attempt,
        kubelet_complete=complete,
        ca_cert_hash=own,
        expected_ca_cert_hash=A,
        control_plane=control_plane,
    )
    if attempt is None and verdict.step is Step.UNDO:
        assert files <= {kubeadm_state.KUBELET_KUBECONFIG, kubeadm_state.BOOTSTRAP_KUBECONFIG}
        assert own != B
    if complete and files and own == B:
        assert verdict.step is Step.REFUSE


def test_attempt_survives_its_file() -> None:
    attempt = Attempt(action="init", settings="abc", failed=True, kept=("/etc/kubernetes/pki/ca.crt",))
    assert parse_attempt(text=attempt.dumped()) == attempt
    assert parse_attempt(text=None) is None


@pytest.mark.parametrize("length", range(0, 120, 7))
def test_attempt_cut_off_by_a_power_cut(length: int) -> None:
    text = INIT.dumped()[:-3]
    assert parse_attempt(text=text[:length]) == UNKNOWN


def test_attempt_of_unexpected_form() -> None:
    assert parse_attempt(text="[]") == UNKNOWN
    assert parse_attempt(text='{"action": "init", "settings": "s"}') == UNKNOWN


KUBELET_CONF = """\
apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: LS0t
    server: https://10.89.77.11:6443
  name: default-cluster
users:
- name: default-auth
  user:
    client-certificate: /var/lib/kubelet/pki/kubelet-client-current.pem
    client-key: /var/lib/kubelet/pki/kubelet-client-current.pem
"""


def test_kubelet_client_certificate() -> None:
    path = "/var/lib/kubelet/pki/kubelet-client-current.pem"
    assert kubelet_client_certificate(kubeconfig=KUBELET_CONF) == path
    embedded = KUBELET_CONF.replace("client-certificate: /var", "client-certificate-data: LS0t\n    x: /var")
    assert kubelet_client_certificate(kubeconfig=embedded) == ""
    assert kubelet_client_certificate(kubeconfig=KUBELET_CONF[:150]) is None
    assert kubelet_client_certificate(kubeconfig="") is None


@pytest.mark.parametrize(
    ("flags", "configurations", "socket"),
    [
        pytest.param(
            'KUBELET_KUBEADM_ARGS="--container-runtime=remote'
            ' --container-runtime-endpoint=unix:///run/containerd/containerd.sock --v=2"\n',
            [""],
            "unix:///run/containerd/containerd.sock",
            id="1.20, containerd",
        ),
        pytest.param(
            'KUBELET_KUBEADM_ARGS="--container-runtime-endpoint=unix:///var/run/cri-dockerd.sock"\n',
            ["", "containerRuntimeEndpoint: unix:///other.sock\n"],
            "unix:///var/run/cri-dockerd.sock",
            id="the flag outweighs the configuration",
        ),
        pytest.param(
            "", ["containerRuntimeEndpoint: unix:///a.sock\n", ""], "unix:///a.sock", id="1.35, its own file"
        ),
        pytest.param(
            "",
            [
                'apiVersion: kubelet.config.k8s.io/v1beta1\ncontainerRuntimeEndpoint: ""\n',
                "containerRuntimeEndpoint: a",
            ],
            "a",
            id="an empty one does not count",
        ),
        pytest.param('KUBELET_KUBEADM_ARGS="--network-plugin=cni"\n', [], None, id="1.20, Docker"),
    ],
)
def test_kubelet_cri_socket(flags: str, configurations: list[str], socket: str | None) -> None:
    assert kubelet_cri_socket(flags=flags, configurations=configurations) == socket


def _key(key: str, *, tag: bytes = b"\x0a", after: bytes = b"\x10") -> bytes:
    """Return a key as etcd writes it, in protocol buffers."""
    length = len(key)
    size = bytes([length]) if length < 128 else bytes([0x80 | (length & 0x7F), length >> 7])
    return tag + size + key.encode() + after


def _signs(*keys: bytes) -> list[str]:
    return signs_of_use(etcd_files=[b"\x00\x01".join((b"", *keys, b""))], node_name="pi-1")


def test_signs_of_use() -> None:
    assert _signs() == []
    assert signs_of_use(etcd_files=[], node_name="pi-1") == []
    new_cluster = [
        _key("/registry/minions/pi-1"),
        _key("/registry/namespaces/default"),
        _key("/registry/daemonsets/kube-system/kube-proxy"),
        _key("/registry/pods/kube-system/etcd-pi-1"),
        _key("/registry/services/specs/default/kubernetes"),
        _key("/registry/daemonsets/kube-flannel/kube-flannel-ds"),
    ]
    assert _signs(*new_cluster) == []
    assert _signs(*new_cluster, _key("/registry/minions/pi-2")) == ["node pi-2"]
    assert _signs(_key("/registry/deployments/default/web"), _key("/registry/pods/shop/db-0")) == [
        "workload default/web",
        "workload shop/db-0",
    ]


def test_the_length_ends_a_key() -> None:
    # A comparison of the modification revision follows the key with the byte 0x30, the digit 0.
    assert _signs(_key("/registry/minions/pi-1", tag=b"\x1a", after=b"0\x39")) == []
    long_name = "web-" + "x" * 120
    assert _signs(_key(f"/registry/pods/default/{long_name}")) == [f"workload default/{long_name}"]


def test_few_signs_are_enough() -> None:
    assert len(_signs(*(_key(f"/registry/minions/pi-{number}") for number in range(2, 50)))) == 5


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_any_bytes_are_read(before: bytes, after: bytes) -> None:
    signs_of_use(etcd_files=[before + b"/registry/minions/pi-2" + after], node_name="pi-1")
