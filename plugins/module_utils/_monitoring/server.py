# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the monitoring has on the host that watches: Prometheus and alertmanager, with what they read."""

from __future__ import annotations

import contextlib
import os
import pwd
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.commands import Runner, output_of
from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text, replace_file
from ansible_collections.bramble.pi.plugins.module_utils._common.own_packages import OwnPackages
from ansible_collections.bramble.pi.plugins.module_utils._common.systemd import Systemd
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.state import MONITORING_CERTIFICATE
from ansible_collections.bramble.pi.plugins.module_utils._monitoring import (
    configuration,
    refusals,
    rules,
    units,
)
from ansible_collections.bramble.pi.plugins.module_utils._monitoring.configuration import (
    ALERTMANAGER,
    ALERTMANAGER_PORT,
    CLUSTER_CA,
    FOLDER,
    PROMETHEUS,
    RULES,
    Receivers,
    Target,
)
from ansible_collections.bramble.pi.plugins.module_utils._monitoring.node import (
    remove_drop_in,
    remove_empty_folders,
    remove_files,
    remove_user,
)
from ansible_collections.bramble.pi.plugins.module_utils._monitoring.refusals import MonitoringError

RECORD = "/var/lib/bramble/monitoring-server-packages.json"
_PACKAGES = (units.SERVER, units.MANAGER)
_USER = "prometheus"
_CONNECT_SECONDS = 5
_POLL = 1.0


class ServerWishes(NamedTuple):
    """What is asked of the host that watches."""

    address: str
    port: int
    data: str
    size: str
    targets: Sequence[Target]
    receivers: Receivers
    scrape_interval: int
    examine_interval: int
    after: int
    etcd_port: int
    #: The client certificate with its key, and the authority of the cluster; None to keep what is there.
    certificate: str | None = None
    ca: str | None = None


class ServerPart:
    """Makes a host the one that watches the others."""

    def __init__(self, *, run: Runner, find: Callable[[str], str | None], changes: Changes) -> None:
        self._run = run
        self._find = find
        self._changes = changes
        self._systemd = Systemd(run=run, changes=changes)
        self._packages = OwnPackages(run=run, changes=changes, record=RECORD)

    def ensure(self, wishes: ServerWishes, *, timeout: int) -> None:
        """Ensure that the host watches the others."""
        self._check_data_folder(wishes.data)
        drop_ins = {
            units.SERVER: units.server(
                address=wishes.address, port=wishes.port, data=wishes.data, size=wishes.size
            ),
            units.MANAGER: units.manager(address=wishes.address, data=wishes.data),
        }
        # Before the packages, which start them at once: without a configuration they do not begin.
        written = {unit: self._changes.write(units.drop_in(unit), text) for unit, text in drop_ins.items()}
        if any(written.values()):
            self._systemd.read_units()
        self._packages.ensure(_PACKAGES)
        written[units.SERVER] |= self._credentials(wishes)
        texts = self._texts(wishes)
        self._test(wishes, texts)
        for unit, path in ((units.SERVER, RULES), (units.SERVER, PROMETHEUS), (units.MANAGER, ALERTMANAGER)):
            written[unit] |= self._write(path, texts[path], secret=path == ALERTMANAGER)
        for name in ("prometheus", "alertmanager"):
            self._folder(f"{wishes.data}/{name}")
        reads = {
            units.SERVER: (PROMETHEUS, RULES, MONITORING_CERTIFICATE, CLUSTER_CA),
            units.MANAGER: (ALERTMANAGER,),
        }
        for unit, files in reads.items():
            self._systemd.ensure_running(
                f"{unit}.service", changed=written[unit], files=(units.drop_in(unit), *files)
            )
        if self._changes and not self._changes.check_mode:
            self._wait(wishes, timeout=timeout)

    def _check_data_folder(self, folder: str) -> None:
        problem = refusals.data_folder_problem(
            folder,
            mounts=refusals.mount_table(read_text("/proc/mounts") or ""),
            fstab=refusals.mount_table(read_text("/etc/fstab") or ""),
        )
        if problem:
            raise MonitoringError(problem)

    def _credentials(self, wishes: ServerWishes) -> bool:
        files = {MONITORING_CERTIFICATE: wishes.certificate, CLUSTER_CA: wishes.ca}
        return bool([path for path, text in files.items() if text and self._write(path, text, secret=True)])

    def _texts(self, wishes: ServerWishes, *, folder: str = FOLDER) -> dict[str, str]:
        has_certificate = bool(wishes.certificate) or os.path.exists(MONITORING_CERTIFICATE)
        return {
            RULES: rules.rules(examine_interval=wishes.examine_interval, after=wishes.after),
            PROMETHEUS: configuration.prometheus(
                targets=wishes.targets,
                certificate=MONITORING_CERTIFICATE if has_certificate else None,
                scrape_interval=wishes.scrape_interval,
                address=wishes.address,
                etcd_port=wishes.etcd_port,
                folder=folder,
            ),
            ALERTMANAGER: configuration.alertmanager(receivers=wishes.receivers, after=wishes.after),
        }

    def _test(self, wishes: ServerWishes, texts: dict[str, str]) -> None:
        """Have both programs validate what they are to read before it takes the place of the former."""
        promtool, amtool = self._find("promtool"), self._find("amtool")
        # In check mode the packages may be yet to come.
        if promtool is None or amtool is None:
            if self._changes.check_mode:
                return
            raise MonitoringError(
                f"promtool or amtool is not installed; expected the packages {' and '.join(_PACKAGES)}:"
                " run 'ansible-playbook -i INVENTORY bramble.pi.monitoring' again"
            )
        if all(read_text(path) == text for path, text in texts.items()):
            return
        with tempfile.TemporaryDirectory(prefix="bramble-") as folder:
            for path, text in {**texts, **self._texts(wishes, folder=folder)}.items():
                replace_file(f"{folder}/{os.path.basename(path)}", text.encode(), mode=0o600)
            where = f"{folder}/{os.path.basename(PROMETHEUS)}"
            # In check mode the certificate that it names may be yet to come.
            kind = "rules" if self._changes.check_mode else "config"
            path = f"{folder}/{os.path.basename(RULES)}" if self._changes.check_mode else where
            output_of(self._run, [promtool, "check", kind, path], remedy="see the variables monitoring_*")
            output_of(
                self._run,
                [amtool, "check-config", f"{folder}/{os.path.basename(ALERTMANAGER)}"],
                remedy="see monitoring_mail, monitoring_webhook and monitoring_ntfy",
            )

    def _owner(self) -> tuple[int, int]:
        entry = pwd.getpwnam(_USER)
        return entry.pw_uid, entry.pw_gid

    def _write(self, path: str, text: str, *, secret: bool = False) -> bool:
        """Write a file that Prometheus or alertmanager reads; of one with secrets no diff shows anything."""
        before = read_text(path)
        if before == text:
            return False
        if not secret:
            self._changes.show(path, before or "", text)
        if self._changes.note(f"write {path}"):
            os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
            owner = self._owner() if secret else (0, 0)
            replace_file(path, text.encode(), mode=0o600 if secret else 0o644, owner=owner)
        return True

    def _folder(self, path: str) -> None:
        try:
            owner = self._owner()
        except KeyError:
            # In check mode, before the packages are there.
            owner = (0, 0)
        with contextlib.suppress(FileNotFoundError):
            status = os.stat(path)
            if (status.st_uid, status.st_gid) == owner:
                return
        if self._changes.note(f"create {path}"):
            os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                os.mkdir(path, mode=0o750)
            os.chown(path, *owner)

    def _wait(self, wishes: ServerWishes, *, timeout: int) -> None:
        deadline = time.monotonic() + timeout
        for unit, port in ((units.SERVER, wishes.port), (units.MANAGER, ALERTMANAGER_PORT)):
            url = f"http://{wishes.address}:{port}/-/ready"
            while not answers(url):
                if time.monotonic() > deadline:
                    raise MonitoringError(
                        f"{unit} does not answer at {url} within {timeout} s; expected its answer: look at"
                        f" 'journalctl -u {unit}', or set monitoring_timeout"
                    )
                time.sleep(_POLL)

    def remove(self, *, data: str, with_data: bool) -> None:
        """Remove all that the role brought to the host; the data only if it is told so."""
        self._packages.remove()
        for unit in (units.SERVER, units.MANAGER):
            remove_drop_in(unit, changes=self._changes, systemd=self._systemd)
        remove_files(self._changes, [FOLDER])
        if with_data:
            remove_files(self._changes, [f"{data}/prometheus", f"{data}/alertmanager"])
            if os.path.isdir(data) and not os.listdir(data) and not os.path.ismount(data):
                remove_files(self._changes, [data])
        remove_user(run=self._run, changes=self._changes, kept=[f"{data}/prometheus"])
        remove_empty_folders(self._changes)


def answers(url: str) -> bool:
    """Tell whether a program of this host is ready."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        opener.open(url, timeout=_CONNECT_SECONDS).close()
    except (OSError, urllib.error.URLError):
        return False
    return True
