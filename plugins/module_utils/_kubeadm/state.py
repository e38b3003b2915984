# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What kubeadm has left on a node, and what therefore has to be done next.

kubeadm can be killed at any moment. Before each run an *attempt* is written down on the node, and taken
away when kubeadm has come to its end, so what an interrupted run of this collection left can be told from
what somebody did by hand: the first is finished or undone, the second is never touched.

``kubeadm init``:

==================  =======  =====================================  ================================
files               attempt  API server                             step
==================  =======  =====================================  ================================
none                none                                            run
none                any                                             undo and run
worker              none                                            refuse: it is a worker
worker, partial     init                                            undo and run; refuse if in use
worker, partial     join                                            refuse: a join is incomplete
partial             none                                            refuse: not ours to undo
control plane       none     answers, configuration uploaded        nothing
control plane       none     answers, nothing uploaded              refuse: not ours to finish
control plane       none     silent                                 fail: never undone
control plane       join     answers                                nothing (the join finishes it)
control plane       init     answers                                finish (settings as attempted)
control plane       init     answers, other settings, not uploaded  undo and run; refuse if in use
control plane       init     answers, other settings, uploaded      refuse; undo and run what has crashed
                                                                    since; refuse that if in use
control plane       init     silent                                 undo and run; fail if in use
==================  =======  =====================================  ================================

Where there are no files but an attempt, kubeadm may have left small things that stop the next run.

*In use* means that etcd's files name another node or a workload. They are read where the API server
cannot be asked, because undoing removes them.

``kubeadm join``:

==================  =======  =====================  ================================================
kubelet.conf        attempt  CA                     step
==================  =======  =====================  ================================================
nothing there       none                            run
nothing there       any                             undo and run
complete            any      another                refuse, with both hashes
complete            none     the expected one       nothing; refuse a worker that is to be a control plane
complete            join     the expected one       finish; a control plane that lacks files: undo
not complete        join     any                    undo and run
not complete        init                            refuse: an init is incomplete
not complete        none     expected or unknown    undo and run, if nothing of a control plane is there
not complete        none     another                refuse, with both hashes
==================  =======  =====================  ================================================
"""

from __future__ import annotations

import enum
import json
import mmap
import re
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass

KUBERNETES = "/etc/kubernetes"
KUBELET = "/var/lib/kubelet"
ETCD = "/var/lib/etcd"
MANIFESTS = f"{KUBERNETES}/manifests"
PKI = f"{KUBERNETES}/pki"
CA_CERTIFICATE = f"{PKI}/ca.crt"
ADMIN_KUBECONFIG = f"{KUBERNETES}/admin.conf"
KUBELET_KUBECONFIG = f"{KUBERNETES}/kubelet.conf"
BOOTSTRAP_KUBECONFIG = f"{KUBERNETES}/bootstrap-kubelet.conf"
KUBELET_FLAGS = f"{KUBELET}/kubeadm-flags.env"
# What its user adds to them; kubeadm never writes there.
KUBELET_USER_FLAGS = "/etc/default/kubelet"
KUBELET_CONFIGURATION = f"{KUBELET}/config.yaml"
KUBELET_CERTIFICATE = f"{KUBELET}/pki/kubelet-client-current.pem"
KUBELET_INSTANCE_CONFIGURATION = f"{KUBELET}/instance-config.yaml"
ETCD_DATA = f"{ETCD}/member"
# Newer kubelets count a pod's restarts by its folders there.
POD_LOGS = "/var/log/pods"
CONTAINER_LOGS = "/var/log/containers"
# Where kubeadm upgrade keeps what it has replaced.
UPGRADES = "/".join((KUBERNETES, "tmp"))
DIRECTORIES = frozenset({ETCD_DATA})
ATTEMPT = f"{KUBERNETES}/.bramble-attempt.json"
#: How the last backup of this node's cluster went, and the restore of one that has not come to its end.
BACKUP_STATUS = "/var/lib/bramble/backup-status.json"
RESTORE_BEGUN = "/var/lib/bramble/restore.json"
#: By which the monitoring host asks the cluster; its key lies in the same file.
MONITORING_CERTIFICATE = "/etc/bramble/monitoring/cluster.pem"

#: The renewal of a certificate that has not come to its end. It has keys; kubeadm reset empties the folder.
RENEWAL = f"{PKI}/.bramble-renewal.json"
#: How the last renewal of this node's certificates went.
RENEWAL_STATUS = "/var/lib/bramble/certificates-status.json"

#: The keys by which the API server encrypts secrets in etcd. kubeadm has it see this folder, a backup has all
#: of it, and kubeadm reset empties it.
ENCRYPTION = f"{PKI}/encryption.json"

#: The role maintenance works on this node, or did when its run was killed.
MAINTENANCE = f"{KUBELET}/.bramble-maintenance"

#: The run of kubeadm upgrade on this node that has not come to its end.
UPGRADE = f"{KUBELET}/.bramble-upgrade.json"

_COMPONENTS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
_ETCD_MANIFEST = f"{MANIFESTS}/etcd.yaml"
APISERVER_MANIFEST = f"{MANIFESTS}/kube-apiserver.yaml"
CONTROLLER_MANAGER_MANIFEST = f"{MANIFESTS}/kube-controller-manager.yaml"
COMPONENT_MANIFESTS = (*(f"{MANIFESTS}/{name}.yaml" for name in _COMPONENTS), _ETCD_MANIFEST)
_CONTROL_PLANE = frozenset(
    {
        ADMIN_KUBECONFIG,
        f"{KUBERNETES}/controller-manager.conf",
        f"{KUBERNETES}/scheduler.conf",
        *(f"{MANIFESTS}/{name}.yaml" for name in _COMPONENTS),
    }
)
# Files by which kubeadm's work is recognised. The CA may be the user's own, put there before kubeadm
# runs, so alone it does not count.
KUBERNETES_FILES = frozenset(
    {
        *_CONTROL_PLANE,
        *COMPONENT_MANIFESTS,
        f"{KUBERNETES}/super-admin.conf",
        KUBELET_KUBECONFIG,
        BOOTSTRAP_KUBECONFIG,
        ETCD_DATA,
    }
)
#: Of the states that kubernetes_state tells, those of a node that is part of a cluster.
IN_CLUSTER = ("worker", "control_plane")
_RESET = (
    "ansible-playbook bramble.pi.reset --limit {node}, which removes Kubernetes and its data from this node"
)


class Step(enum.Enum):
    """What has to be done to a node."""

    NOTHING = "nothing"
    RUN = "run"
    FINISH = "finish"
    UNDO = "undo"
    REFUSE = "refuse"


@dataclass(frozen=True)
class Verdict:
    """What a node is, what has to be done, and why."""

    state: str
    step: Step
    reason: str


@dataclass(frozen=True)
class Attempt:
    """A run of kubeadm that was begun by this collection and has not come to its end."""

    action: str
    settings: str
    failed: bool = False
    kept: tuple[str, ...] = ()
    #: kubeadm came to its end, but a part of the control plane has not run since.
    crashed: bool = False

    def dumped(self) -> str:
        """Return the attempt as the text of its file."""
        return json.dumps(asdict(self), indent=2, sort_keys=True) + "\n"


def parse_attempt(*, text: str | None) -> Attempt | None:
    """Return the attempt in the text of its file.

    The file may be cut off where the power was: then an attempt was begun, and no more is known of it.
    """
    if text is None:
        return None
    try:
        content = json.loads(text)
        return Attempt(
            action=str(content["action"]),
            settings=str(content["settings"]),
            failed=bool(content["failed"]),
            kept=tuple(str(path) for path in content["kept"]),
            # Older releases did not look.
            crashed=bool(content.get("crashed", False)),
        )
    except (ValueError, KeyError, TypeError):
        return Attempt(action="unknown", settings="")


def kubelet_client_certificate(*, kubeconfig: str) -> str | None:
    """Return the path of the client certificate that kubelet.conf names.

    An empty text stands for one that is embedded; there is none in a file that was interrupted.
    """
    if re.search(r"^\s+client-certificate-data:\s*\S", kubeconfig, re.MULTILINE):
        return ""
    match = re.search(r"^\s+client-certificate:\s*[\"']?([^\s\"']+)", kubeconfig, re.MULTILINE)
    return match[1] if match else None


def kubelet_cri_socket(*, flags: str, configurations: Iterable[str]) -> str | None:
    """Return the socket that the kubelet was told to use, by a flag or (from 1.32 on) in its configuration.

    There is none for Docker in the kubelet itself, to 1.23.
    """
    match = re.search(r"--container-runtime-endpoint=([^\s\"]+)", flags)
    if match:
        return match[1]
    for configuration in configurations:
        match = re.search(r"^containerRuntimeEndpoint:\s*[\"']?([^\s\"']+)", configuration, re.MULTILINE)
        if match:
            return match[1]
    return None


def uses_external_etcd(*, apiserver_manifest: str) -> bool:
    """Tell whether the API server uses an etcd for which kubeadm leaves no manifest on this node."""
    servers = re.search(r"--etcd-servers=(\S+)", apiserver_manifest)
    return servers is not None and not re.search(r"//(127\.0\.0\.1|\[::1\]):", servers[1])


def has_control_plane(*, files: Collection[str], external_etcd: bool = False) -> bool:
    """Tell whether all files of a control plane are there."""
    return {*_CONTROL_PLANE, KUBELET_KUBECONFIG, *(() if external_etcd else (_ETCD_MANIFEST,))} <= set(files)


def kubernetes_state(*, files: Collection[str], external_etcd: bool = False) -> str:
    """Tell which state a node's Kubernetes is in: absent, partial, worker or control_plane.

    ``files`` are those of ``KUBERNETES_FILES`` that are there.
    """
    present = KUBERNETES_FILES & set(files)
    if not present:
        return "absent"
    # kubeadm join removes this file when the kubelet has its certificate, so a leftover was interrupted.
    if BOOTSTRAP_KUBECONFIG in present:
        return "partial"
    if has_control_plane(files=present, external_etcd=external_etcd):
        return "control_plane"
    # The data of an etcd that ran here before makes no control plane of a worker.
    return "worker" if present - DIRECTORIES == {KUBELET_KUBECONFIG} else "partial"


def is_unfinished(*, state: str, attempt: Attempt | None, kubelet_complete: bool) -> bool:
    """Tell whether ``decide_join`` may ask for more than nothing of a node that has all files of its role."""
    return attempt is not None or (state in IN_CLUSTER and not kubelet_complete)


def _listed(values: Iterable[str]) -> str:
    return ", ".join(sorted(values))


def _missing(*, files: Collection[str]) -> str:
    present = KUBERNETES_FILES & set(files)
    desired = {*_CONTROL_PLANE, KUBELET_KUBECONFIG}
    return f"there are {_listed(present)}; missing are {_listed(desired - present)}"


_KEY_PREFIX = b"/registry/"
_NODE = re.compile(r"/registry/minions/([a-z0-9](?:[a-z0-9.-]*[a-z0-9])?)")
_WORKLOAD = re.compile(
    r"/registry/(?:deployments|statefulsets|daemonsets|jobs|cronjobs|pods|persistentvolumeclaims)"
    r"/([a-z0-9](?:[a-z0-9-]*[a-z0-9])?)/([a-z0-9](?:[a-z0-9.-]*[a-z0-9])?)"
)
# What kubeadm, and the pod network that this collection sets up, put into a new cluster themselves.
_SYSTEM_NAMESPACES = frozenset({"kube-system", "kube-public", "kube-node-lease", "kube-flannel"})
_EVIDENCE_LIMIT = 5


def _etcd_keys(*, data: bytes | mmap.mmap) -> Iterable[str]:
    """Return the keys of Kubernetes in a file of etcd.

    etcd keeps keys as plain text, in protocol buffers: a tag, the length (in one byte, or in two with the
    first one's highest bit set), the key. Without the length, what follows a key may look like its end.
    """
    start = data.find(_KEY_PREFIX, 2)
    while start >= 0:
        length = data[start - 1]
        if data[start - 2] & 0x80:
            length = (data[start - 2] & 0x7F) | (length << 7)
        yield data[start : start + length].decode("ascii", "replace")
        start = data.find(_KEY_PREFIX, start + 1)


def signs_of_use(*, etcd_files: Iterable[bytes | mmap.mmap], node_name: str) -> list[str]:
    """Return what etcd's database and log say of other nodes and of workloads."""
    found: set[str] = set()
    for data in etcd_files:
        for key in _etcd_keys(data=data):
            node = _NODE.fullmatch(key)
            if node and node[1] != node_name:
                found.add(f"node {node[1]}")
            workload = _WORKLOAD.fullmatch(key)
            if workload and workload[1] not in _SYSTEM_NAMESPACES:
                found.add(f"workload {workload[1]}/{workload[2]}")
    return sorted(found)[:_EVIDENCE_LIMIT]


def decide_init(
    *,
    node: str,
    files: Collection[str],
    external_etcd: bool,
    attempt: Attempt | None,
    settings: str,
    api_answers: bool,
    uploaded: bool,
    in_use: Collection[str],
) -> Verdict:
    """Return what ``kubeadm init`` has to do (see the first table above)."""
    state = kubernetes_state(files=files, external_etcd=external_etcd)
    reset = _RESET.format(node=node)
    if state == "absent":
        if attempt is None:
            return Verdict("absent", Step.RUN, "there is no Kubernetes on this node")
        return Verdict("partial", Step.UNDO, f"kubeadm {attempt.action} was interrupted at its beginning")
    if has_control_plane(files=files, external_etcd=external_etcd):
        if attempt is None or attempt.action == "join":
            if not api_answers:
                return Verdict(
                    "unreachable",
                    Step.REFUSE,
                    "this node is a control plane, but its API server does not answer; it is left as it is",
                )
            if uploaded or attempt is not None:
                return Verdict("healthy", Step.NOTHING, "this node is a control plane that answers")
            return Verdict(
                "partial",
                Step.REFUSE,
                "the API server answers, but kubeadm init has not uploaded its configuration, and it was not"
                f" run by this collection. Finish it by hand, or start over: {reset}",
            )
        if api_answers and attempt.settings == settings:
            return Verdict(
                "partial", Step.FINISH, "kubeadm init was interrupted after the API server had started"
            )
        if api_answers and uploaded and not attempt.crashed:
            return Verdict(
                "partial",
                Step.REFUSE,
                "kubeadm init was interrupted after it had uploaded its configuration, and the settings have"
                f" changed since. Put back the former settings, or start over: {reset}",
            )
    elif attempt is None:
        if state == "worker":
            return Verdict(
                "worker",
                Step.REFUSE,
                "this node is a worker. Take it out of the group control_plane, or take it out of its"
                f" cluster: {reset}",
            )
        return Verdict(
            "partial",
            Step.REFUSE,
            f"/etc/kubernetes is incomplete, and not by this collection: {_missing(files=files)}. Put the"
            f" missing files back (kubeadm init phase makes them), or start over: {reset}",
        )
    elif attempt.action == "join":
        return Verdict(
            "partial",
            Step.REFUSE,
            "a join of this node is incomplete. Run the playbook with the node in its former group, or start"
            f" again: {reset}",
        )
    if in_use:
        return Verdict(
            "partial",
            Step.REFUSE,
            "kubeadm init was interrupted, but etcd on this node holds a cluster that has been in use"
            f" ({_listed(in_use)}), so it is not undone. Repair it by hand, or start over: {reset}",
        )
    return Verdict("partial", Step.UNDO, "kubeadm init was interrupted; what it left is undone")


def decide_join(
    *,
    node: str,
    files: Collection[str],
    external_etcd: bool,
    attempt: Attempt | None,
    kubelet_complete: bool,
    ca_cert_hash: str | None,
    expected_ca_cert_hash: str | None,
    control_plane: bool,
) -> Verdict:
    """Return what ``kubeadm join`` has to do (see the second table above)."""
    reset = _RESET.format(node=node)
    if kubernetes_state(files=files, external_etcd=external_etcd) == "absent":
        if attempt is None:
            return Verdict("absent", Step.RUN, "there is no Kubernetes on this node")
        return Verdict("partial", Step.UNDO, f"kubeadm {attempt.action} was interrupted at its beginning")
    other_cluster = Verdict(
        "other_cluster",
        Step.REFUSE,
        f"this node belongs to another cluster: its CA is {ca_cert_hash}, the one to join is"
        f" {expected_ca_cert_hash}. To move the node: {reset}",
    )
    if kubelet_complete:
        if ca_cert_hash != expected_ca_cert_hash:
            return other_cluster
        if control_plane and not has_control_plane(files=files, external_etcd=external_etcd):
            if attempt is not None:
                return Verdict("partial", Step.UNDO, "kubeadm join was interrupted; what it left is undone")
            return Verdict(
                "worker",
                Step.REFUSE,
                f"this node is a worker of the cluster and shall be a control plane. To change it: {reset}",
            )
        if attempt is not None:
            return Verdict(
                "partial", Step.FINISH, "kubeadm join was interrupted after the kubelet had joined"
            )
        return Verdict("joined", Step.NOTHING, "this node is in the cluster")
    if attempt is not None and attempt.action == "init":
        return Verdict(
            "partial",
            Step.REFUSE,
            "a kubeadm init on this node is incomplete. Run the playbook with the node in the group"
            f" control_plane, or start over: {reset}",
        )
    if attempt is None:
        # A worker's incomplete join holds no data; anything of a control plane may.
        if (KUBERNETES_FILES & set(files)) - {KUBELET_KUBECONFIG, BOOTSTRAP_KUBECONFIG}:
            return Verdict(
                "partial",
                Step.REFUSE,
                "/etc/kubernetes is incomplete, and not by this collection:"
                f" {_missing(files=files)}. Finish it by hand, or start over: {reset}",
            )
        if ca_cert_hash not in (None, expected_ca_cert_hash):
            return other_cluster
    return Verdict("partial", Step.UNDO, "kubeadm join was interrupted; what it left is undone")
