# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the monitoring has on each node: node-exporter, the examination by a timer, and etcd's metrics."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._common import program
from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.commands import Runner
from ansible_collections.bramble.pi.plugins.module_utils._common.own_packages import OwnPackages
from ansible_collections.bramble.pi.plugins.module_utils._common.systemd import Systemd
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import node_files
from ansible_collections.bramble.pi.plugins.module_utils._monitoring import collect, units

RECORD = "/var/lib/bramble/monitoring-node-packages.json"
#: Where node-exporter of Debian looks for the metrics of others.
_LINK = "/var/lib/prometheus/node-exporter/bramble.prom"
_FOLDERS = ("/var/lib/prometheus/node-exporter", "/var/lib/prometheus", "/var/log/prometheus")
#: Shared with other roles.
_OWN_FOLDERS = ("/etc/bramble", "/usr/local/lib/bramble", "/var/lib/bramble")
_TIMER, _SERVICE = f"{units.COLLECTOR}.timer", f"{units.COLLECTOR}.service"
_SOCKET, _PROXY = f"{units.ETCD}.socket", f"{units.ETCD}.service"
#: Of Debian, all as the same user.
DAEMONS = (units.EXPORTER, units.SERVER, units.MANAGER)


class NodeWishes(NamedTuple):
    """What is asked of a node."""

    #: Where it is reached by the monitoring host.
    address: str
    #: From where the monitoring host asks.
    admitted: str
    interval: int
    etcd_port: int
    #: As of the doctor.
    examination: Mapping[str, Any]


def path_of(unit: str) -> str:
    """Return where the file of an own unit is."""
    return f"{units.UNITS}/{unit}"


def remove_files(changes: Changes, paths: Iterable[str]) -> bool:
    """Remove files, links and folders that are there, and tell whether there were any."""
    present = [path for path in paths if os.path.lexists(path)]
    for path in present:
        if not changes.note(f"remove {path}"):
            continue
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)
    return bool(present)


def remove_drop_in(unit: str, *, changes: Changes, systemd: Systemd) -> None:
    """Remove what was added to a unit of Debian, which goes on as its owner has it."""
    path = units.drop_in(unit)
    if remove_files(changes, [path]):
        if not changes.check_mode and not os.listdir(os.path.dirname(path)):
            os.rmdir(os.path.dirname(path))
        systemd.read_units()
        if systemd.is_active(unit):
            systemd.restart(unit)


def remove_empty_folders(changes: Changes) -> None:
    """Remove the folders of the collection that have nothing in them any more."""
    for folder in _OWN_FOLDERS:
        with contextlib.suppress(OSError):
            if not changes.check_mode:
                os.rmdir(folder)


def remove_user(*, run: Runner, changes: Changes, kept: Iterable[str] = ()) -> None:
    """Remove the user of Debian's daemons, which their packages leave, if none of them is there any more."""
    if any(os.path.exists(f"/usr/bin/{daemon}") for daemon in DAEMONS) or any(map(os.path.exists, kept)):
        return
    if run(["getent", "passwd", "prometheus"])[0] == 0:
        changes.do("remove the user prometheus", ["userdel", "prometheus"])
    for folder in _FOLDERS:
        if os.path.isdir(folder) and not os.listdir(folder):
            remove_files(changes, [folder])


class NodePart:
    """Makes a node one that is watched."""

    def __init__(self, *, run: Runner, changes: Changes) -> None:
        self._run = run
        self._changes = changes
        self._systemd = Systemd(run=run, changes=changes)
        self._packages = OwnPackages(run=run, changes=changes, record=RECORD)

    def ensure(self, wishes: NodeWishes) -> None:
        """Ensure that the node tells of itself."""
        self._exporter(wishes)
        self._collector(wishes)
        if node_files.kubernetes_state() == "control_plane":
            self._etcd(wishes)
        else:
            self._remove_etcd()

    def _exporter(self, wishes: NodeWishes) -> None:
        # Before the package, which starts it at once.
        drop_in = units.drop_in(units.EXPORTER)
        changed = self._changes.write(drop_in, units.exporter(address=wishes.address))
        if changed:
            self._systemd.read_units()
        changed |= self._packages.ensure([units.EXPORTER])
        self._systemd.ensure_running(f"{units.EXPORTER}.service", changed=changed, files=(drop_in,))

    def _collector(self, wishes: NodeWishes) -> None:
        self._changes.write(collect.SETTINGS, json.dumps(dict(wishes.examination), indent=2) + "\n")
        program.install_folder(collect, units.PROGRAM, self._changes)
        self._link()
        files = {
            path_of(_SERVICE): units.collector_service(),
            path_of(_TIMER): units.collector_timer(interval=wishes.interval),
        }
        changed = [path for path, text in files.items() if self._changes.write(path, text)]
        self._systemd.ensure_running(_TIMER, changed=bool(changed), files=tuple(files))

    def _link(self) -> None:
        if os.path.islink(_LINK) and os.readlink(_LINK) == collect.METRICS:
            return
        if self._changes.note(f"link {_LINK} to {collect.METRICS}"):
            os.makedirs(os.path.dirname(_LINK), exist_ok=True)
            new = f"{_LINK}.bramble-new"
            remove_files(Changes(check_mode=False), [new])
            os.symlink(collect.METRICS, new)
            os.replace(new, _LINK)

    def _etcd(self, wishes: NodeWishes) -> None:
        files = {
            path_of(_SOCKET): units.etcd_socket(
                address=wishes.address, port=wishes.etcd_port, admitted=wishes.admitted
            ),
            path_of(_PROXY): units.etcd_service(admitted=wishes.admitted),
        }
        changed = [path for path, text in files.items() if self._changes.write(path, text)]
        if changed:
            # A socket is not restarted while what it has started runs.
            self._systemd.read_units()
            self._systemd.ensure_stopped(_PROXY)
        self._systemd.ensure_running(_SOCKET, changed=bool(changed), files=tuple(files))

    def _remove_etcd(self) -> None:
        self._systemd.ensure_stopped(_SOCKET)
        self._systemd.ensure_stopped(_PROXY)
        if remove_files(self._changes, [path_of(_SOCKET), path_of(_PROXY)]):
            self._systemd.read_units()

    def remove(self) -> None:
        """Remove all that the role brought to the node."""
        self._remove_etcd()
        self._systemd.ensure_stopped(_TIMER)
        if remove_files(self._changes, [path_of(_TIMER), path_of(_SERVICE)]):
            self._systemd.read_units()
        remove_files(self._changes, [units.PROGRAM, _LINK, collect.SETTINGS, units.STATE])
        self._packages.remove()
        remove_drop_in(units.EXPORTER, changes=self._changes, systemd=self._systemd)
        remove_user(run=self._run, changes=self._changes)
        remove_empty_folders(self._changes)
