# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The programs of the control plane on this node: which of them do not answer, and their last words."""

from __future__ import annotations

import glob
import os
import ssl
import urllib.request
from http.client import HTTPException
from urllib.error import HTTPError

from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import diagnosis, state
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import failure_detection

# The order in which one component's failure causes the next one's.
COMPONENTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
_PORTS = {"kube-apiserver": "6443", "kube-controller-manager": "10257", "kube-scheduler": "10259"}
_LOG_BYTES = 16384


def answers(url: str) -> bool:
    """Tell whether a program of this node answers."""
    # Only whether it answers counts, and it is this node itself that is asked.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )
    try:
        opener.open(url, timeout=5).close()
    except HTTPError as error:
        # One that lets in nobody without a name answers as well.
        return error.code in (401, 403)
    except (OSError, HTTPException):
        return False
    return True


def health_url(*, manifest: str, program: str) -> str | None:
    """Return where a program says that it is well; None if its manifest does not tell."""
    try:
        flags = failure_detection.manifest_flags(manifest=manifest, program=program)
        if program == "etcd":
            metrics = flags.get("listen-metrics-urls", "").split(",")[0]
            return f"{metrics}/health" if metrics else None
        address = failure_detection.local_address(flags.get("bind-address", ""))
    except (failure_detection.FailureDetectionError, ValueError):
        # Somebody's own command; how it is asked is not known then.
        return None
    health = "livez" if program == "kube-apiserver" else "healthz"
    return f"https://{address}:{flags.get('secure-port', _PORTS[program])}/{health}"


def silent() -> dict[str, str]:
    """Return the programs that do not answer, {program: url}."""
    found = {}
    for program in COMPONENTS:
        manifest = read_text(f"{state.MANIFESTS}/{program}.yaml")
        url = health_url(manifest=manifest, program=program) if manifest else None
        if url and not answers(url):
            found[program] = url
    return found


def crashed(*, since: float) -> dict[str, str]:
    """Return the last lines of the containers that have crashed since then.

    They are read from the files, because crictl may not be there; the kubelet keeps the log of each start
    under its number.
    """
    found = {}
    for component in COMPONENTS:
        logs = glob.glob(f"{state.POD_LOGS}/kube-system_{component}-*/{component}/*.log")
        recent = sorted((path for path in logs if mtime(path) >= since), key=mtime, reverse=True)
        # The newest one may be of the start that is going on; the one before it tells of the end.
        for text in map(tail, recent[:2]):
            if diagnosis.ends_fatally(log=text):
                found[component] = text
                break
    return found


def last_words(*, programs: dict[str, str]) -> dict[str, str]:
    """Return the logs of those programs that crashed, since there is a control plane on this node."""
    # What lies there of a former cluster is older.
    logs = crashed(since=mtime(state.APISERVER_MANIFEST))
    return {name: logs[name] for name in programs if name in logs}


def mtime(path: str) -> float:
    """Return when a file was last written to; 0 where there is none."""
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0


def tail(path: str) -> str:
    """Return the end of a log; the runtime may have taken it away meanwhile."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _LOG_BYTES))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""
