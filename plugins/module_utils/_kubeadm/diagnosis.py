# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why kubeadm failed, from what it, the kubelet and the containers wrote.

kubeadm's own last words are often only ``timed out waiting for the condition``; the cause then stands in
the kubelet's journal or in the log of a container that crashed.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence

_LINES = 5
_LINE_LENGTH = 300
_CAUSES = 6

# What fixes a failed preflight check; the checks are those of cmd/kubeadm/app/preflight/checks.go.
_CHECK_REMEDIES = (
    (r"Swap", "the role os_prep turns swap off"),
    (
        r"NumCPU",
        "a control plane needs two cores; control_plane_ignore_preflight_errors: [NumCPU] allows one",
    ),
    (r"Mem", "a control plane needs 1700 MB; control_plane_ignore_preflight_errors: [Mem] allows less"),
    (
        r"Port-.*",
        "something else listens there (ss -ltnp shows it); what an earlier cluster left is removed by the"
        " playbook reset",
    ),
    (r"(File|Dir)Available-.*", "it is left from an earlier cluster; the playbook reset removes it"),
    (r"FileContent--proc-sys-net-.*", "the role os_prep loads br_netfilter and sets this"),
    (r"CRI", "the role docker sets the container runtime up; systemctl status containerd docker"),
    (r"ContainerRuntimeVersion", "kubeadm needs a newer container runtime; see docker_kubernetes_runtime"),
    (
        r"FileExisting-crictl",
        "install cri-tools, or ignore the check: control_plane_ignore_preflight_errors,"
        " workers_ignore_preflight_errors",
    ),
    (r"FileExisting-.*", "install the package with this program"),
    (
        r"KubeletVersion|KubernetesVersion",
        "kubelet and kubeadm must have one minor version; kube_packages_version",
    ),
    (
        r"SystemVerification",
        "the kernel lacks a cgroup controller or an option; the role os_prep turns memory on",
    ),
    (
        r"ImagePull",
        "load the images with kube_packages_image_archives, or give the node a way to the registry",
    ),
    (
        r"CreateJob",
        "no node ran the Job upgrade-health-check in 15 s: kubectl get nodes; one has to be Ready and take"
        " pods (kubectl uncordon)",
    ),
    (
        r"CoreDNSUnsupportedPlugins|CoreDNSMigration",
        "correct the Corefile of the ConfigMap coredns; without kubeadm's CoreDNS ignore the check:"
        " control_plane_ignore_preflight_errors",
    ),
    (
        r"ControlPlaneNodesReady|StaticPodManifest",
        "bring the control plane back before; the playbook doctor tells what is missing",
    ),
    (r"IsPrivilegedUser", "run the playbook with become"),
    (r"Hostname.*", "set os_prep_hostname to a name of letters, digits and hyphens"),
    (r"Service-.*", "systemctl status shows why the service is not running"),
    (r"HTTPProxy.*", "put the addresses of the nodes, pods and services into no_proxy"),
)

# Checks that fail for several reasons: what they say then, before what fixes the check in general.
_CHECK_SAYINGS = (
    (
        r"SystemVerification",
        r"unable to load kernel module: \"?configs|Module configs not found|cannot find kernel config",
        "the running kernel does not show how it was built, as /lib/modules has no module configs for it: if"
        " the kernel was updated ('ls /lib/modules' does not have what 'uname -r' prints), run 'reboot';"
        " otherwise ignore the check: set control_plane_ignore_preflight_errors,"
        " workers_ignore_preflight_errors to [SystemVerification]",
    ),
)

# What kubeadm says, and what it means. The first that matches counts.
_SAYINGS = (
    (
        r"(could not find a JWS signature in the cluster-info ConfigMap for token ID|"
        r"there is no JWS signed token in the cluster-info ConfigMap|"
        r"does not yet contain a JWS signature for token ID)",
        "the cluster has not signed the token. Its controller manager does that, so see first whether that"
        " runs: kubectl -n kube-system get pods; the playbook doctor tells why not. If it runs, the token has"
        " expired or is another cluster's: run the playbook again without a token of your own",
    ),
    (
        r"failed to verify JWS signature of received cluster info object",
        "the token's secret does not match the cluster's. Run the playbook again without a token of your own",
    ),
    (
        r"cluster CA found in cluster-info ConfigMap is invalid: (none of the public keys .* are pinned)",
        "the cluster at this endpoint has another CA than the one to join. See control_plane_endpoint",
    ),
    (
        r"x509: certificate has expired or is not yet valid",
        "the clocks of this node and of the control plane differ (or a certificate has expired):"
        " timedatectl; the role os_prep waits until the time is synchronised",
    ),
    (
        r"x509: certificate is valid for .*, not [^\s\"]+",
        "the API server's certificate does not have this address. Add it with"
        " control_plane_cluster_configuration: {apiServer: {certSANs: [...]}}",
    ),
    (
        r"a Node with name \"[^\"]+\" and status \"Ready\" already exists in the cluster",
        "another machine in the cluster has this node's name, or the node has just been reset and is not"
        " counted out yet. Set os_prep_hostname to a name of its own, or kubectl delete node",
    ),
    (
        r"cipher: message authentication failed",
        "the certificate key is not that of the last upload of the certificates: each kubeadm init phase"
        " upload-certs makes a new key, and those before are worthless then. Run the playbook again, which"
        " makes one key for all that join",
    ),
    (
        r"Secret \"?kubeadm-certs\"? was not found|secrets \"kubeadm-certs\" (is forbidden|not found)|"
        r"error decoding certificate key",
        "the certificates for further control planes are not in the cluster: it deletes them two hours after"
        " their upload. Run the playbook again",
    ),
    (
        r"unable to add a new control plane instance.*",
        "the cluster has no stable address for several control planes; control_plane_endpoint has to be set"
        " before the first kubeadm init",
    ),
    (
        r"crictl is required (for|by the) container runtime",
        "this kubeadm cannot do without crictl, which is not in its PATH, and ignoring checks does not change"
        " that: install the package cri-tools, as the role kube_packages does where its repository has it"
        " (kube_packages_repository)",
    ),
    (
        r"etcd cluster is not healthy",
        "etcd on the control plane does not answer; kubectl -n kube-system get pods",
    ),
    (
        r"dial tcp [^\s]+ connect: (connection refused|no route to host|network is unreachable)|"
        r"dial tcp [^\s]+ i/o timeout|Client\.Timeout exceeded while awaiting headers|no such host",
        "the API server cannot be reached from this node at that address. See control_plane_endpoint,"
        " control_plane_advertise_address and any firewall between the nodes",
    ),
    (
        r"uses an old API spec|no kind \"\w+\" is registered for version \"kubeadm",
        "this kubeadm does not read the newest version of its API that is known here: set"
        " kube_packages_version to an older one, or install a newer release of bramble.pi",
    ),
    (
        r"error unmarshaling|unknown field|strict decoding error|cannot unmarshal",
        "kubeadm refuses its configuration",
    ),
)

# What the kubelet writes when it gives up, and what it means.
_KUBELET_SAYINGS = (
    (
        r"misconfiguration: kubelet cgroup driver: .* is different from docker cgroup driver",
        "the kubelet and Docker use different cgroup drivers; the role docker sets systemd for both",
    ),
    (r"[Rr]unning with swap on is not supported", "the role os_prep turns swap off"),
    (
        r"cgroup v1 support|configured to not run on a host using cgroup v1",
        "this kubelet refuses cgroup version 1; use version 2, or set failCgroupV1: false in"
        " control_plane_kubelet_configuration",
    ),
    (
        r"[Ff]ailed to find (subsystem mount for required )?(subsystem|cgroup)|"
        r"[Mm]issing (required )?cgroup",
        "a cgroup controller is off; the role os_prep turns memory on in the kernel command line",
    ),
    (r"unknown flag: --?\S+", "the kubelet does not know a flag; see kubeletExtraArgs and its version"),
    (
        r"validate service connection: .*|unknown service runtime\.v1(alpha2)?\.(Runtime|Image)Service|"
        r"dial unix \S+: connect: (no such file or directory|connection refused)",
        "the container runtime does not serve the kubelet (CRI); the role docker sets it up",
    ),
    (
        r"failed to pull image .*|ErrImagePull|ImagePullBackOff",
        "an image cannot be pulled; kube_packages_image_archives",
    ),
    (r"no space left on device", "the disk is full"),
    (
        r"failed to load [Kk]ubelet config file .*",
        "the kubelet's configuration cannot be read; fix what it names",
    ),
)

# What the container runtimes write when they give up, and what it means.
_RUNTIME_SAYINGS = (
    (
        r"unable to configure the Docker daemon with file .*|invalid character .* (looking for|after) .*|"
        r"(failed to load TOML|unable to load config|toml: ).*",
        "its configuration cannot be read: correct it, or remove it and run the role docker",
    ),
    (r"no space left on device", "the disk is full"),
    (r"read-only file system", "the file system is read-only, as after errors of a card"),
)

# The phases that wait for the kubelet and for what it starts; other phases say their causes themselves.
_NEEDS_KUBELET = re.compile(r"kubelet|wait-control-plane|control-plane|etcd")

_TOKEN = re.compile(r"\b([a-z0-9]{6})\.[a-z0-9]{16}\b")
_KEY = re.compile(r"(?<!sha256:)(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_JOURNAL_PREFIX = re.compile(
    r"^(?:\w{3} [ \d]\d [\d:]{8}|\d{4}-\d\d-\d\dT\S+) \S+ (?:kubelet|systemd)(?:\[\d+\])?: "
)
_ANY_JOURNAL_PREFIX = re.compile(
    r"^(?:\w{3} [ \d]\d [\d:]{8}|\d{4}-\d\d-\d\dT\S+) \S+ [^\s\[:]+(?:\[\d+\])?: "
)
_SYSTEMD_LINE = re.compile(r"^-- |^\S+(?: [ \d]\d [\d:]{8})? \S+ systemd(?:\[1\])?: ")
_GIVES_UP = re.compile(
    r"level=fatal|failed to (start|load|create)|^\S.*\bF\d{4} |panic: |[Ff]ailed to run [Kk]ubelet"
)
_KLOG_ERROR = re.compile(r"^[EF]\d{4} [\d:.]+ +\d+ ")
_FATAL = re.compile(
    r"[Ff]ailed to run [Kk]ubelet|command failed|panic:|Failed to (load|parse|validate)|\berr(or)?="
)
# The kubelet complains of these all the time while a cluster is coming up; they are not causes.
_HARMLESS = re.compile(
    r"node \"[^\"]*\" not found|[Nn]ode not found|Error getting node|"
    r"cni (config uninitialized|plugin not initialized)|NetworkPluginNotReady|NetworkReady=false|"
    r"Unable to (write|register) (event|node)|Failed to (ensure|get) (lease|node)|"
    r"controller.go:\d+\] failed to ensure|failed to list \*v1|Failed to watch \*v1|reflector.go|"
    r"eviction manager: failed to get|Partial failure issuing cadvisor|"
    r"failed to get (cgroup|container) stats|dial tcp \S+: connect: connection refused|oom_score_adj|"
    r"Unable to update node status|Error deleting pod|\"Failed to (get|delete) (pod|status)"
)


def redacted(*, text: str) -> str:
    """Return the text without bootstrap tokens and certificate keys."""
    return _KEY.sub("<certificate key>", _TOKEN.sub(r"\1.<secret>", text))


def preflight_errors(*, output: str) -> list[tuple[str, str]]:
    """Return the failed checks in kubeadm's output with what each says; a check may say several lines."""
    errors: list[tuple[str, str]] = []
    open_check = False
    for line in output.splitlines():
        match = re.match(r"^\s*\[ERROR ([^\]]+)\]: (.*)$", line)
        if match:
            errors.append((match[1], match[2].strip()))
            open_check = True
        elif re.match(r"^\s*\[|^To see the stack trace|^error execution phase", line):
            open_check = False
        elif open_check and line.strip():
            name, text = errors[-1]
            errors[-1] = (name, f"{text} {line.strip()}")
    return errors


def _check_remedy(*, check: str, text: str) -> str | None:
    for name, saying, remedy in _CHECK_SAYINGS:
        if re.fullmatch(name, check) and re.search(saying, text):
            return remedy
    return next((remedy for pattern, remedy in _CHECK_REMEDIES if re.fullmatch(pattern, check)), None)


def _shortened(*, text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _LINE_LENGTH else text[: _LINE_LENGTH - 3] + "..."


def last_words(*, output: str) -> str | None:
    """Return the line in which kubeadm names its error."""
    # How to see a stack trace is said last, after every error.
    lines = [line.strip() for line in output.splitlines() if not line.startswith("To see the stack trace")]
    for pattern in (
        r"error execution phase .*",
        r"error: .*",
        r"couldn't .*",
        r"(failed|unable|error) .*",
        r".* (failed|error): .*",
    ):
        found = [line for line in lines if re.fullmatch(pattern, line)]
        if found:
            return _shortened(text=found[-1] + _goes_on(lines=lines, line=found[-1]))
    return _shortened(text=[line for line in lines if line][-1]) if any(lines) else None


def _goes_on(*, lines: Sequence[str], line: str) -> str:
    """Return what follows a line that only announces it, such as "Some fatal errors occurred:"."""
    if not line.endswith(":"):
        return ""
    after = lines[len(lines) - list(reversed(lines)).index(line) :]
    rest = list(itertools.takewhile(lambda line: not line.startswith("[preflight]"), after))
    return "".join(f" {line}" for line in rest if line)


def _saying(*, text: str, sayings: Sequence[tuple[str, str]]) -> tuple[str, str] | None:
    """Return the line of the text that holds a known saying, and what it means."""
    for pattern, meaning in sayings:
        match = re.search(pattern, text)
        if match:
            start = text.rfind("\n", 0, match.start()) + 1
            end = text.find("\n", match.end())
            return _shortened(text=text[start : end if end >= 0 else len(text)]), meaning
    return None


def kubelet_errors(*, journal: str) -> list[str]:
    """Return the kubelet's last different errors, oldest first, without what it always complains of."""
    errors: dict[str, str] = {}
    for line in journal.splitlines():
        text = _JOURNAL_PREFIX.sub("", line)
        klog = _KLOG_ERROR.match(text)
        if not (klog or _FATAL.search(text)) or _HARMLESS.search(text):
            continue
        text = _KLOG_ERROR.sub("", text)
        # The same complaint comes again with other numbers, times and ids.
        key = re.sub(r"\d+|\"[^\"]*\"", "#", text)
        errors.pop(key, None)
        errors[key] = _shortened(text=text)
    return list(errors.values())[-_LINES:]


def container_errors(*, log: str) -> list[str]:
    """Return the last lines of a container's log, without the runtime's prefix or Docker's JSON around it."""
    lines = []
    for line in log.splitlines():
        docker = re.match(r'^\{"log":"(.*?)(?:\\n)?","stream":', line)
        text = docker[1] if docker else re.sub(r"^\S+ (?:stdout|stderr) [FP] ", "", line)
        if text.strip():
            lines.append(_shortened(text=text))
    errors = [line for line in lines if re.match(r"^[EF]\d{4} |^(panic|Error|error|fatal)\b", line)]
    return (errors or lines)[-_LINES:]


def explanation(
    *, command: str, output: str, journal: str = "", container_logs: Mapping[str, str] | None = None
) -> str:
    """Return why the command failed: in few lines the cause first, with its remedy where one is known."""
    output = redacted(text=output)
    checks = preflight_errors(output=output)
    if checks:
        lines = [f"{command} failed in its preflight checks:"]
        for check, text in checks[:_CAUSES]:
            remedy = _check_remedy(check=check, text=text)
            lines.append(f"- {check}: {_shortened(text=text)}" + (f" ({remedy})" if remedy else ""))
        if len(checks) > _CAUSES:
            lines.append(f"- and {len(checks) - _CAUSES} more")
        return "\n".join(lines)

    said = _saying(text=output, sayings=_SAYINGS)
    if said:
        return f"{command} failed: {said[1]}.\nkubeadm says: {said[0]}"

    lines = []
    phase = re.search(r"error execution phase ([a-z-]+)", output)
    if phase and not _NEEDS_KUBELET.match(phase[1]):
        journal, container_logs = "", {}
    kubelet = kubelet_errors(journal=redacted(text=journal))
    known = _saying(text="\n".join(kubelet), sayings=_KUBELET_SAYINGS)
    if known:
        lines.append(f"{command} failed: {known[1]}.")
        lines.append(f"The kubelet says: {known[0]}")
    container_logs = container_logs or {}
    for name, log in container_logs.items():
        errors = container_errors(log=redacted(text=log))
        if errors:
            lines.append(f"The container {name} crashed; its last lines:")
            lines.extend(f"  {error}" for error in errors)
    # What the kubelet says of a container that crashes is only that it crashes.
    if kubelet and not known and not container_logs:
        lines.append("The kubelet's last errors:")
        lines.extend(f"  {error}" for error in kubelet)
    words = last_words(output=output)
    if words:
        lines.append(f"kubeadm says: {words}")
    if not known:
        lines.insert(0, f"{command} failed.")
    return "\n".join(lines)


def ends_fatally(*, log: str) -> bool:
    """Tell whether a container's log ends with the reason for its end."""
    last = "\n".join(log.splitlines()[-_LINES:])
    return (
        re.search(
            r'(^|[ "])(F\d{4} |panic: |[Ee]rror: |fatal error: )|"level":"fatal"|"command failed" err=', last
        )
        is not None
    )


def is_hopeless(*, log: str) -> bool:
    """Tell whether a container crashes for what it was told, and will with each start."""
    return (
        re.search(
            r"unknown (shorthand )?flag|flag needs an argument|invalid argument .* for |"
            r"unrecognized feature gate",
            "\n".join(log.splitlines()[-_LINES:]),
        )
        is not None
    )


def crashed(*, silent: Mapping[str, str], logs: Mapping[str, str]) -> str:
    """Return which programs of the control plane do not answer, each with its last words."""
    lines = []
    for name, url in silent.items():
        lines.append(f"{name} does not answer at {url}" + ("; its last lines:" if name in logs else "."))
        errors = container_errors(log=redacted(text=logs.get(name, "")))
        lines.extend(f"  {error}" for error in errors)
    return "\n".join(lines)


def unit_cause(*, journal: str) -> tuple[str, str | None] | None:
    """Return the line in which the kubelet or a runtime says why it ended, and how to fix that, if known."""
    own = [line for line in redacted(text=journal).splitlines() if not _SYSTEMD_LINE.search(line)]
    errors = kubelet_errors(journal="\n".join(own))
    known = _saying(text="\n".join(errors), sayings=_KUBELET_SAYINGS) or _saying(
        text="\n".join(own), sayings=_RUNTIME_SAYINGS
    )
    if known:
        return _without_prefix(known[0]), known[1]
    fatal = [line for line in own if _GIVES_UP.search(line)]
    lines = fatal or errors or [line for line in own if line.strip()]
    return (_shortened(text=_without_prefix(lines[-1])), None) if lines else None


def _without_prefix(line: str) -> str:
    return _KLOG_ERROR.sub("", _ANY_JOURNAL_PREFIX.sub("", line))
