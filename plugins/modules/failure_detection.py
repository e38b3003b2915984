#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.failure_detection``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: failure_detection
short_description: Set how soon a running cluster notices that a node is lost
version_added: '0.1.0'
description:
  - Sets how often the kubelet of a node reports, or how long the control plane on it waits for reports and
    leaves pods on nodes that are lost.
  - The manifests of the static pods are changed one after the other. Each is waited for until it runs with
    its new flags and answers; one that does not is put back, and the module fails.
author:
  - bramble.pi contributors (@bramble-pi)
extends_documentation_fragment:
  - bramble.pi.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  component:
    description: What to change, the V(kubelet) of the node or the V(control_plane) on it.
    type: str
    choices: [kubelet, control_plane]
    required: true
  detection:
    description:
      - V(default) for what Kubernetes does by itself, V(demo) for a service that is back within half a
        minute.
      - Or all of C(node_monitor_period), C(node_monitor_grace_period), C(node_status_update_frequency) and
        C(eviction), in seconds.
    type: raw
    required: true
  only_sooner:
    description: Whether to leave a kubelet alone that reports as often as that, or more often.
    type: bool
    default: false
  timeout:
    description: How long to wait for each part to answer again, in seconds.
    type: int
    default: 180
"""

EXAMPLES = r"""
- name: Have the kubelet report more often
  bramble.pi.failure_detection:
    component: kubelet
    detection: demo

- name: Take a node for lost after 41 seconds, and its pods away after a minute more
  bramble.pi.failure_detection:
    component: control_plane
    detection:
      node_monitor_period: 5
      node_monitor_grace_period: 41
      node_status_update_frequency: 8
      eviction: 60
"""

RETURN = r"""
changes:
  description: What was changed, or would be in check mode.
  returned: always
  type: list
  elements: str
  sample: [change /etc/kubernetes/manifests/kube-apiserver.yaml]
expected:
  description: What to expect when a node is lost, in words.
  returned: success, for the control plane
  type: str
  sample: A node that is lost is NotReady after 10 to 16 s
"""

import functools
import os
import time
from collections.abc import Callable, Mapping
from http.client import HTTPException
from urllib.error import HTTPError

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.urls import open_url
from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text, write_text
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.state import (
    KUBELET_CONFIGURATION,
    MANIFESTS,
)
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import failure_detection

_PORTS = {"kube-controller-manager": "10257", "kube-apiserver": "6443"}
_POLL = 1
_TIMEOUT = 180


def _answers(url: str) -> bool:
    try:
        # Only whether it answers counts, and it is this node itself that is asked.
        open_url(url, validate_certs=False, use_proxy=False, timeout=5).close()
    except HTTPError as error:
        # One that lets in nobody without a name answers as well.
        return error.code in (401, 403)
    except (OSError, HTTPException):
        return False
    return True


def _running(program: str) -> list[dict[str, str]]:
    """Return the flags of each process of that program."""
    found = []
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{process}/cmdline", "rb") as file:
                arguments = file.read().decode(errors="replace").split("\0")
        except OSError:
            # It has ended since.
            continue
        if os.path.basename(arguments[0]) == program:
            pairs = (argument.lstrip("-").partition("=") for argument in arguments[1:] if argument)
            found.append({name: value for name, _equals, value in pairs})
    return found


class FailureDetection:
    """Changes the parts and remembers what was changed."""

    def __init__(self, module: AnsibleModule, detection: failure_detection.Detection | None) -> None:
        self.module = module
        self.detection = detection
        self.timeout: int = module.params["timeout"]
        self.changes: list[str] = []
        self.diff: list[dict[str, str]] = []

    def _wait(self, condition: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + self.timeout
        while not condition():
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL)
        return True

    def _have(self, path: str, before: str, after: str, *, apply: Callable[[], str]) -> None:
        """Write a file and apply it; put it back if that says why it did not work."""
        if after != before:
            self.changes.append(f"change {path}")
            self.diff.append({"before_header": path, "after_header": path, "before": before, "after": after})
        if self.module.check_mode:
            return
        if after != before:
            write_text(path, after, mode=0o600)
        problem = apply()
        if not problem:
            return
        if after == before:
            raise failure_detection.FailureDetectionError(
                f"{problem}. Nothing was changed; look at it with doctor.yml"
            )
        write_text(path, before)
        given, self.timeout = self.timeout, max(self.timeout, _TIMEOUT)
        again = apply()
        state = f"does not answer yet either: {again}" if again else "answers again"
        raise failure_detection.FailureDetectionError(
            f"{problem}. {path} was put back, and {state}. Look at it with doctor.yml, or set "
            f"failure_detection_timeout to more than {given} s on a slow node"
        )

    def _read(self, path: str) -> str:
        text = read_text(path)
        if text is None:
            raise failure_detection.FailureDetectionError(
                f"{path} is not there, wanted is a node of a cluster: run site.yml before"
            )
        return text

    # The kubelet

    def kubelet(self, *, only_sooner: bool) -> None:
        """Have the kubelet report as often as is wanted."""
        before = self._read(KUBELET_CONFIGURATION)
        after = failure_detection.with_kubelet_settings(text=before, detection=self.detection)
        now, then = (failure_detection.reports_every(kubelet_configuration=text) for text in (before, after))
        if only_sooner and then >= now:
            return
        self._have(KUBELET_CONFIGURATION, before, after, apply=self._restart_kubelet)

    def _restart_kubelet(self) -> str:
        if self._kubelet_knows():
            return ""
        status, _output, errors = self.module.run_command(["systemctl", "restart", "kubelet"])
        if status != 0:
            return f"systemctl restart kubelet ended with {status}: {errors.strip()}"
        url = failure_detection.kubelet_health(kubelet_configuration=self._read(KUBELET_CONFIGURATION))
        if url and not self._wait(lambda: _answers(url)):
            return f"the kubelet did not answer at {url} within {self.timeout} s"
        return ""

    def _kubelet_knows(self) -> bool:
        """Tell whether the kubelet has started after its configuration was written, as after a killed run."""
        command = ["systemctl", "show", "--property=ExecMainStartTimestampMonotonic", "--value", "kubelet"]
        _status, output, _errors = self.module.run_command(command)
        started = int(output.strip() or 0) / 1e6
        now = time.time()
        written = os.stat(KUBELET_CONFIGURATION).st_mtime
        # A clock that was set back since says nothing.
        return written > now or written < now - (time.clock_gettime(time.CLOCK_MONOTONIC) - started)

    # The control plane

    def control_plane(self) -> str:
        """Change the static pods, one after the other; return what to expect."""
        manifests = {}
        for program, wanted in failure_detection.flags(self.detection).items():
            path = f"{MANIFESTS}/{program}.yaml"
            before = self._read(path)
            after = failure_detection.with_flags(manifest=before, program=program, wanted=wanted)
            manifests[program] = after
            self._have(path, before, after, apply=functools.partial(self._have_started, program, path))
        # By then the kubelets will report as often as is wanted.
        kubelet = failure_detection.with_kubelet_settings(
            text=self._read(KUBELET_CONFIGURATION), detection=self.detection
        )
        return str(
            failure_detection.expected(
                failure_detection.in_force(manifests=manifests, kubelet_configuration=kubelet)
            )
        )

    def _have_started(self, program: str, path: str) -> str:
        told = failure_detection.manifest_flags(manifest=self._read(path), program=program)
        names = failure_detection.flags(None)[program]
        wanted = {name: told.get(name) for name in names}
        address = failure_detection.local_address(told.get("bind-address", ""))
        health = "livez" if program == "kube-apiserver" else "healthz"
        url = f"https://{address}:{told.get('secure-port', _PORTS[program])}/{health}"

        def runs() -> bool:
            found = _running(program)
            return bool(found) and all(self._of(process, wanted) == wanted for process in found)

        if not self._wait(lambda: runs() and _answers(url)):
            now = [self._of(process, wanted) for process in _running(program)]
            return (
                f"{program} did not run with {wanted} and answer at {url} within "
                f"{self.timeout} s; running: {now or 'none'}"
            )
        return ""

    @staticmethod
    def _of(process: Mapping[str, str], names: Mapping[str, str | None]) -> dict[str, str | None]:
        return {name: process.get(name) for name in names}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "component": {"type": "str", "choices": ["kubelet", "control_plane"], "required": True},
            "detection": {"type": "raw", "required": True},
            "only_sooner": {"type": "bool", "default": False},
            "timeout": {"type": "int", "default": _TIMEOUT},
        },
        supports_check_mode=True,
    )
    module.run_command_environ_update = {"LC_ALL": "C.UTF-8"}
    try:
        work = FailureDetection(module, failure_detection.parse(module.params["detection"]))
    except failure_detection.FailureDetectionError as error:
        module.fail_json(msg=str(error), changes=[])
    result = {}
    try:
        if module.params["component"] == "kubelet":
            work.kubelet(only_sooner=module.params["only_sooner"])
        else:
            result["expected"] = work.control_plane()
    except PermissionError as error:
        module.fail_json(msg=f"{error}; wanted are the rights of root: set become to true")
    except (failure_detection.FailureDetectionError, OSError) as error:
        module.fail_json(msg=str(error), changes=work.changes)
    module.exit_json(changed=bool(work.changes), changes=work.changes, diff=work.diff, **result)


if __name__ == "__main__":
    main()
