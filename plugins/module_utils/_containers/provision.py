# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Docker and containerd of a node, installed, configured, started and checked for one runtime of kubelet."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Any, NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._common import apt, proxy
from ansible_collections.bramble.pi.plugins.module_utils._common.commands import output_of
from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text
from ansible_collections.bramble.pi.plugins.module_utils._common.systemd import is_younger, unit_properties
from ansible_collections.bramble.pi.plugins.module_utils._containers import (
    base,
    containerd,
    docker,
    mirror_files,
    origin,
    registries,
    sources,
)

_UNIT_PROPERTIES = "Id,LoadState,UnitFileState,ActiveState,ActiveEnterTimestampMonotonic"
#: Docker is set up whatever kubelet uses, and it runs on containerd.
_ALWAYS = (containerd.DAEMON, docker.DAEMON)


def provision(*, runtime: base.Runtime, host: base.Host, wishes: base.Wishes) -> dict[str, Any]:
    """Bring the runtime into the state asked for, and return what the module returns."""
    there = origin.refuse(host=host, wishes=wishes, runtime=runtime)
    # Written first, the settings hold from Docker's first start on.
    wishes = mirror_files.known(host=host, wishes=wishes)
    former = mirror_files.former(host=host)
    mirror_files.write(runtime=runtime, host=host, wishes=wishes)
    written = [
        docker.edit_daemon_json(host=host, wishes=wishes, former=former),
        *_write_proxies(host=host, wishes=wishes),
    ]
    mirror_files.remove(runtime=runtime, host=host, wishes=wishes)
    installed = _installed(runtime=runtime, host=host)
    moved: list[str] = []
    if wishes.containerd_source == sources.DOCKER:
        moved = origin.from_docker(host=host, wishes=wishes, installed=there)
    else:
        docker.install(host=host, wishes=wishes, installed=installed)
    if wishes.containerd_source == sources.ARCHIVE:
        moved = origin.from_archive(host=host, wishes=wishes, installed=there)
    runtime.install(host=host, wishes=wishes, installed=installed)
    written.append(runtime.configure(host=host, wishes=wishes))
    _warn_of_registries(runtime=runtime, host=host)
    restarted = _ensure_services(runtime=runtime, host=host, written=written)
    result = {
        **host.changes.result(),
        "cri_socket": runtime.socket,
        # Docker that only stands beside kubelet's runtime has none of its pods.
        "felt_by_pods": bool(moved) or any(daemon in runtime.daemons for daemon in restarted),
    }
    if not (host.changes.check_mode and host.changes):
        runtime.check(run=host.run)
        result["docker_info"] = docker.check(run=host.run, wishes=wishes)._asdict()
    return result


def _proxy_files(daemon: base.Daemon) -> list[str]:
    return [proxy.drop_in(unit) for unit in daemon.units]


def _write_proxies(*, host: base.Host, wishes: base.Wishes) -> list[str]:
    """Tell what pulls images of the proxy, and return the files that were changed."""
    changed = []
    for path in (path for daemon in _ALWAYS for path in _proxy_files(daemon)):
        before = read_text(host.root + path) or ""
        text = proxy.unit_text(environment=wishes.proxy_environment, before=before)
        if text != before and host.changes.write(path, text, sentence=f"Write {path}"):
            changed.append(path)
    if not host.changes.check_mode and changed:
        output_of(host.run, ["systemctl", "daemon-reload"])
    return changed


def _warn_of_registries(*, runtime: base.Runtime, host: base.Host) -> None:
    path = str(containerd.DAEMON.configuration)
    warning = registries.warning(text=read_text(host.root + path), path=path)
    # As long as it is containerd 1, there is time.
    if warning and (runtime.version(run=host.run) or (0,)) >= (2,):
        host.warn(warning)


def _installed(*, runtime: base.Runtime, host: base.Host) -> dict[str, apt.Package]:
    """Ask dpkg for Docker, and for what the runtime has beyond it."""
    daemons = [docker.DAEMON, *(daemon for daemon in runtime.daemons if daemon not in _ALWAYS)]
    names = [name for daemon in daemons for name in daemon.packages]
    # dpkg-query exits with 1 if it does not know one of the packages, and still lists the others.
    return apt.read_packages(text=host.run([*apt.DPKG_QUERY, *names])[1])


class Unit(NamedTuple):
    """A unit of systemd."""

    loaded: bool
    enabled: bool
    active: bool
    #: Seconds after boot at which it became active.
    active_since: float


def read_units(*, text: str) -> dict[str, Unit]:
    """Read systemctl show's properties of several units."""
    return {
        name: Unit(
            loaded=properties["LoadState"] == "loaded",
            enabled=properties["UnitFileState"] == "enabled",
            active=properties["ActiveState"] == "active",
            active_since=int(properties["ActiveEnterTimestampMonotonic"]) / 1_000_000,
        )
        for name, properties in unit_properties(text=text).items()
    }


def _ensure_services(
    *, runtime: base.Runtime, host: base.Host, written: Collection[str | None]
) -> list[base.Daemon]:
    """Enable and start the services, and restart those that are older than their configuration or program.

    Returns which were restarted.
    """
    restarted = []
    daemons = [*_ALWAYS, *(daemon for daemon in runtime.daemons if daemon not in _ALWAYS)]
    owners = {name: daemon for daemon in daemons for name in daemon.units}
    show = ["systemctl", "show", "-p", _UNIT_PROPERTIES, *owners]
    for name, unit in read_units(text=output_of(host.run, show)).items():
        if host.changes.check_mode and not unit.loaded:
            host.changes.note(f"Enable and start {name}")
            continue
        if not unit.enabled:
            _systemctl("enable", name, host=host)
        daemon = owners[name]
        files = [*([daemon.configuration] if daemon.configuration else []), *_proxy_files(daemon)]
        if daemon == containerd.DAEMON:
            files += origin.REPLACED
        if not unit.active:
            _systemctl("start", name, host=host)
        elif (
            is_younger([host.root + path for path in files], than=time.monotonic() - unit.active_since)
            # Announced only, it is not newer yet.
            or (host.changes.check_mode and set(files).intersection(written))
            # What kept the plugin from loading may be gone by now.
            or (name == runtime.daemons[-1].units[-1] and not runtime.serves(run=host.run))
        ):
            _systemctl("restart", name, host=host)
            restarted.append(daemon)
    return restarted


def _systemctl(verb: str, unit: str, *, host: base.Host) -> None:
    """Change the state of a service; if it fails, its log says why."""
    if not host.changes.note(f"{verb.capitalize()} {unit}"):
        return
    command = ["systemctl", verb, unit]
    code, _output, error = host.run(command)
    if code != 0:
        journal = ["journalctl", "--unit", unit, "--lines", "15", "--no-pager", "--output", "cat"]
        raise base.RuntimeStateError(
            f"'{' '.join(command)}' ended with {code}: {error.strip()}\nIts log ends with:\n"
            f"{host.run(journal)[1]}"
        )
