# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restarts the programs of static pods that have files open which were written since.

One is restarted by ending its process: the kubelet starts it again at once. So no manifest is moved away, and
nothing is lost when a run is killed; whether a restart is still due is seen by the ages of the process and
its files.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Collection

from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text
from ansible_collections.bramble.pi.plugins.module_utils._common.systemd import is_younger
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import components, state
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.node import KubeadmError
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import failure_detection

_POLL = 1
#: The kubelet ends what does not end by itself after so many seconds.
_GRACE = 30
#: By which flag the process of a static pod is told from others of its name, such as a copy of etcd beside.
_OWN = {
    "etcd": "data-dir",
    "kube-apiserver": "tls-cert-file",
    "kube-controller-manager": "kubeconfig",
    "kube-scheduler": "kubeconfig",
}


def flags(program: str, *, manifest: str) -> dict[str, str]:
    """Return the flags that the manifest of a static pod has for its program."""
    try:
        return failure_detection.manifest_flags(manifest=manifest, program=program)
    except failure_detection.FailureDetectionError as error:
        raise KubeadmError(
            f"{state.MANIFESTS}/{program}.yaml has no command '- {program}', as kubeadm writes it;"
            " expected one, as its process is known by that: put kubeadm's own manifest there"
        ) from error


def processes(program: str) -> list[components.Process]:
    """Return the processes of a static pod of this node."""
    manifest = read_text(f"{state.MANIFESTS}/{program}.yaml")
    if manifest is None:
        return []
    own = _OWN[program]
    told = flags(program, manifest=manifest).get(own)
    return [each for each in components.running(program) if each.flags.get(own) == told]


def outdated(program: str, files: Collection[str]) -> list[components.Process]:
    """Return the processes that were started before one of their files was written."""
    return [each for each in processes(program) if is_younger(files, than=each.age)]


def restart(
    *, outdated: Callable[[], list[components.Process]], is_back: Callable[[], bool], timeout: int
) -> bool:
    """End the processes that are outdated, and tell whether the program was back in time."""
    begun = time.monotonic()
    _end(outdated(), signal.SIGTERM)
    killed = False
    while not is_back():
        passed = time.monotonic() - begun
        if passed > _GRACE and not killed:
            killed = True
            _end(outdated(), signal.SIGKILL)
        if passed > timeout:
            return False
        time.sleep(_POLL)
    return True


def _end(found: list[components.Process], how: signal.Signals) -> None:
    for process in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.id, how)
