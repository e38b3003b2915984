# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Has a node notice or report sooner that one is lost; ``_kubernetes.failure_detection`` says what files say.

Each part is waited for until it runs with its new settings and answers, and put back if it does not.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping

from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.commands import (
    CommandError,
    Runner,
    output_of,
)
from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text, write_text
from ansible_collections.bramble.pi.plugins.module_utils._common.systemd import Systemd
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import components, state
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import failure_detection

_POLL = 1
# A part that is put back gets at least this long to answer again.
LEAST_TIMEOUT = 180


class FailureDetection:
    """Changes the parts, one after the other."""

    def __init__(
        self,
        *,
        detection: failure_detection.Detection | None,
        run: Runner,
        changes: Changes,
        timeout: int,
    ) -> None:
        self.detection = detection
        self.run = run
        self.changes = changes
        self._systemd = Systemd(run=run, changes=changes)
        self.timeout = timeout

    def _wait(self, condition: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + self.timeout
        while not condition():
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL)
        return True

    def _have(self, path: str, before: str, after: str, *, apply: Callable[[], str]) -> None:
        """Write a file and apply it; put it back if that says why it did not work."""
        self.changes.write(path, after, mode=0o600, sentence=f"change {path}")
        if self.changes.check_mode:
            return
        problem = apply()
        if not problem:
            return
        if after == before:
            raise failure_detection.FailureDetectionError(
                f"{problem}. Nothing was changed; look at it with doctor.yml"
            )
        write_text(path, before)
        given, self.timeout = self.timeout, max(self.timeout, LEAST_TIMEOUT)
        again = apply()
        now = f"does not answer yet either: {again}" if again else "answers again"
        raise failure_detection.FailureDetectionError(
            f"{problem}. {path} was put back, and {now}. Look at it with doctor.yml, or set "
            f"failure_detection_timeout to more than {given} s on a slow node"
        )

    def _read(self, path: str) -> str:
        text = read_text(path)
        if text is None:
            raise failure_detection.FailureDetectionError(
                f"{path} is not there; expected a node of a cluster: run site.yml before"
            )
        return text

    # The kubelet

    def kubelet(self, *, only_sooner: bool) -> None:
        """Have the kubelet report as often as it is to."""
        before = self._read(state.KUBELET_CONFIGURATION)
        after = failure_detection.with_kubelet_settings(text=before, detection=self.detection)
        now, then = (failure_detection.reports_every(kubelet_configuration=text) for text in (before, after))
        # What a run has written that was killed then, the kubelet is to know before the control plane does.
        unread = before == after and self._kubelet_knows() is False
        if only_sooner and then >= now and not unread:
            return
        if unread:
            self.changes.note("restart kubelet")
        self._have(state.KUBELET_CONFIGURATION, before, after, apply=self._restart_kubelet)

    def _kubelet_knows(self) -> bool | None:
        """Tell whether the kubelet was started with its configuration as it is; None if it does not run."""
        return self._systemd.runs_by("kubelet", (state.KUBELET_CONFIGURATION,))

    def _restart_kubelet(self) -> str:
        if self._kubelet_knows():
            return ""
        try:
            output_of(self.run, ["systemctl", "restart", "kubelet"])
        except CommandError as error:
            return str(error)
        url = failure_detection.kubelet_health(kubelet_configuration=self._read(state.KUBELET_CONFIGURATION))
        if url and not self._wait(lambda: components.answers(url)):
            return f"the kubelet did not answer at {url} within {self.timeout} s"
        return ""

    # The control plane

    def control_plane(self) -> str:
        """Change the static pods, one after the other; return what to expect."""
        manifests = {}
        for program, desired in failure_detection.flags(self.detection).items():
            path = f"{state.MANIFESTS}/{program}.yaml"
            before = self._read(path)
            after = failure_detection.with_flags(manifest=before, program=program, desired=desired)
            manifests[program] = after
            self._have(path, before, after, apply=functools.partial(self._have_started, program, path))
        # By then the kubelets will report as often as they are to.
        kubelet = failure_detection.with_kubelet_settings(
            text=self._read(state.KUBELET_CONFIGURATION), detection=self.detection
        )
        return str(
            failure_detection.expected(
                failure_detection.in_force(manifests=manifests, kubelet_configuration=kubelet)
            )
        )

    def _have_started(self, program: str, path: str) -> str:
        told = failure_detection.manifest_flags(manifest=self._read(path), program=program)
        names = failure_detection.flags(None)[program]
        desired = {name: told.get(name) for name in names}
        url = components.health_url(manifest=self._read(path), program=program)

        def runs() -> bool:
            found = components.running(program)
            return bool(found) and all(self._of(process.flags, desired) == desired for process in found)

        if not self._wait(lambda: runs() and (url is None or components.answers(url))):
            now = [self._of(process.flags, desired) for process in components.running(program)]
            return (
                f"{program} did not run with {desired} and answer at {url} within "
                f"{self.timeout} s; running: {now or 'none'}"
            )
        return ""

    @staticmethod
    def _of(flags: Mapping[str, str], names: Mapping[str, str | None]) -> dict[str, str | None]:
        return {name: flags.get(name) for name in names}
