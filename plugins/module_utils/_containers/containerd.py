# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""containerd: its configuration, what it says of itself, and kubelet's use of it."""

from __future__ import annotations

import json
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.commands import Runner, output_of
from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text, write_text
from ansible_collections.bramble.pi.plugins.module_utils._common.systemd import Systemd
from ansible_collections.bramble.pi.plugins.module_utils._containers import (
    base,
    containerd_images,
    mirrors,
    registries,
    sources,
    toml,
)

DAEMON = base.Daemon(
    packages=("containerd", "containerd.io"),
    units=("containerd.service",),
    configuration="/etc/containerd/config.toml",
    data="/var/lib/containerd",
)

#: Names of the CRI plugin in disabled_plugins: of config version 1, 2, and 3 (in which it has several parts).
_CRI_PLUGIN = re.compile(r"cri|io\.containerd\.grpc\.v1\.cri|io\.containerd\.cri\..+|io\.containerd\..+\.cri")
#: error="..." in a line of containerd's log.
_LOG_ERROR = re.compile(r'error="((?:[^"\\]|\\.)*)"')

#: The runtime that containerd has by itself.
_RUNC = "runc"
#: Shims that run runc, or what takes its place; by others, such as Kata's, cgroups are not made so.
_RUNC_SHIMS = ("io.containerd.runc.v1", "io.containerd.runc.v2")

_CONFIG_VERSION = ("version",)
_DISABLED_PLUGINS = ("disabled_plugins",)

#: ctr waits for ever for a task that does not end.
_CONTAINERS_SECONDS = 120
_CTR = ("timeout", "30", "ctr", f"--namespace={containerd_images.NAMESPACE}")
_CONTAINERS = (*_CTR, "containers", "list", "--quiet")
#: Written before containers are removed, and gone after a reboot.
_REMOVED = "/run/bramble-containers-removed"


def _runtime_plugin(version: int) -> tuple[str, str]:
    return ("plugins", "io.containerd.grpc.v1.cri" if version < 3 else "io.containerd.cri.v1.runtime")


def _default_runtime(values: dict[toml.Path, Any], *, version: int) -> toml.Path:
    """Return the table, as this config version has it, of the runtime that pods get: runc, or another one."""
    spoken = (*_runtime_plugin(values.get(_CONFIG_VERSION, 1)), "containerd")
    containerd = (*_runtime_plugin(version), "containerd")
    if values.get((*spoken, "default_runtime", "runtime_type")):
        # containerd 1 takes this old form for the default one, whatever the name says.
        return (*containerd, "default_runtime")
    return (*containerd, "runtimes", str(values.get((*spoken, "default_runtime_name")) or _RUNC))


def _cni(version: int) -> toml.Path:
    return (*_runtime_plugin(version), "cni")


def _sandbox(version: int) -> toml.Path:
    if version < 3:
        return (*_runtime_plugin(version), "sandbox_image")
    return ("plugins", "io.containerd.cri.v1.images", "pinned_images", "sandbox")


def _config_path(version: int) -> toml.Path:
    plugin = "io.containerd.grpc.v1.cri" if version < 3 else "io.containerd.cri.v1.images"
    return ("plugins", plugin, "registry", "config_path")


def sandbox_image(*, dump: str) -> str | None:
    """Read which image containerd makes pods' sandboxes of (containerd config dump)."""
    values = _values(dump)
    image = values.get(_sandbox(values.get(_CONFIG_VERSION, 1)))
    return str(image) if image else None


def _bin_dirs(values: dict[toml.Path, Any]) -> list[str | None]:
    cni = _cni(values.get(_CONFIG_VERSION, 1))
    # A file's own bin_dir counts, though the defaults of containerd 2.1 and later have bin_dirs beside it.
    single = values.get((*cni, "bin_dir"))
    return [single] if single else values.get((*cni, "bin_dirs")) or [single]


def _old_cgroup_switch(version: int) -> toml.Path:
    """Return the key of containerd 1 with which its CRI plugin does not load beside a shim for runc."""
    return (*_runtime_plugin(version), "systemd_cgroup")


def _is_for_runc(runtime_type: object) -> bool:
    return not runtime_type or runtime_type in _RUNC_SHIMS


def _disabled_cri(values: dict[toml.Path, Any]) -> list[str]:
    return [name for name in values.get(_DISABLED_PLUGINS, []) if _CRI_PLUGIN.fullmatch(name)]


def _values(text: str) -> dict[toml.Path, Any]:
    try:
        return toml.parse(text=text).values()
    except toml.TomlError as error:
        raise base.RuntimeConfigError(f"is not valid TOML: {error}") from error


def _cgroup_shortcomings(values: dict[toml.Path, Any]) -> Iterator[str]:
    version = values.get(_CONFIG_VERSION, 1)
    runtime = _default_runtime(values, version=version)
    of = "" if runtime[-1] == _RUNC else f" of the default runtime {runtime[-1]}"
    runtime_type = values.get((*runtime, "runtime_type"))
    if not _is_for_runc(runtime_type):
        return
    driver = values.get((*runtime, "options", "SystemdCgroup"))
    if driver is not True:
        yield f"SystemdCgroup{of} is {json.dumps(driver)}, expected true"
    if not runtime_type:
        yield f"runtime_type of {runtime[-1]} is {json.dumps(runtime_type)}, expected a shim"
    if values.get(_old_cgroup_switch(version)):
        yield (
            f"systemd_cgroup in [{toml.key_text(_runtime_plugin(version))}] is true, with which the CRI "
            "plugin does not load; expected false, and SystemdCgroup instead"
        )


def containerd_shortcomings(*, dump: str, wishes: base.Wishes) -> list[str]:
    """Compare what containerd says that it uses (containerd config dump) with what is expected."""
    values = _values(dump)
    version = values.get(_CONFIG_VERSION, 1)
    shortcomings = [
        f"disabled_plugins has {name!r}, which kubelet needs enabled" for name in _disabled_cri(values)
    ]
    if shortcomings:
        # A disabled plugin does not show its settings.
        return shortcomings
    shortcomings += _cgroup_shortcomings(values)
    bin_dirs = _bin_dirs(values)
    if wishes.cni_bin_dir not in bin_dirs:
        shortcomings.append(f"CNI plugins are looked for in {bin_dirs[0]}, expected {wishes.cni_bin_dir}")
    sandbox = values.get(_sandbox(version))
    if wishes.sandbox_image not in (None, sandbox):
        shortcomings.append(f"the sandbox image is {sandbox}, expected {wishes.sandbox_image}")
    looked = values.get(_config_path(version))
    if wishes.mirrors and not mirrors.looked_for(looked):
        shortcomings.append(
            f"settings of registries are looked for in {looked or 'no folder'}, expected {mirrors.HOSTS}"
        )
    return shortcomings


def edit_containerd_config(*, text: str | None, dump: str, wishes: base.Wishes) -> str:
    """Put the wishes into config.toml, in the config version that the file has."""
    text = text or ""
    values = _values(text)
    effective = _values(dump)
    version = values.get(_CONFIG_VERSION, 1)
    if not values:
        # Of a new file's settings only these are fixed; for all others containerd's defaults go on to hold.
        version = effective[_CONFIG_VERSION]
    elif version == 1:
        if any(path[0] == "plugins" for path in values):
            raise base.RuntimeConfigError(
                "is of config version 1; expected version 2 or later: convert it "
                "(containerd config migrate), or move it away to begin with containerd's defaults"
            )
        version = 2
    changes: list[tuple[toml.Path, Any]] = [(_CONFIG_VERSION, version)]
    disabled = _disabled_cri(values)
    if disabled:
        kept = [name for name in values[_DISABLED_PLUGINS] if name not in disabled]
        changes.append((_DISABLED_PLUGINS, kept))
    changes += _cgroup_changes(values=values, effective=effective, version=version)
    if wishes.cni_bin_dir not in _bin_dirs(effective):
        changes += _cni_changes(
            values=values, effective=effective, version=version, desired=wishes.cni_bin_dir
        )
    if wishes.sandbox_image is not None:
        changes.append((_sandbox(version), wishes.sandbox_image))
    looked = effective.get(_config_path(effective.get(_CONFIG_VERSION, 1)))
    if wishes.mirrors and not mirrors.looked_for(looked):
        old = registries.old_settings(text=text)
        if old:
            raise base.RuntimeConfigError(
                f"has {', '.join(old)} of registries, beside which containerd does not take the folder "
                f"{mirrors.HOSTS}; expected a hosts.toml for each of these registries there: write them, and "
                "take the settings out, or set image_mirror_host to ''"
            )
        changes.append((_config_path(version), mirrors.config_path(values.get(_config_path(version)))))
    try:
        for path, value in changes:
            text = toml.set_value(text=text, path=path, value=value)
    except toml.TomlError as error:
        raise base.RuntimeConfigError(f"cannot be changed: {error}") from error
    return text


def _cgroup_changes(
    *, values: dict[toml.Path, Any], effective: dict[toml.Path, Any], version: int
) -> Iterator[tuple[toml.Path, Any]]:
    # What a disabled plugin would use is not in the dump.
    told = values if _disabled_cri(effective) else effective
    runtime = _default_runtime(told, version=version)
    shown = _default_runtime(told, version=told.get(_CONFIG_VERSION, 1))
    if not _is_for_runc(values.get((*runtime, "runtime_type")) or told.get((*shown, "runtime_type"))):
        return
    if runtime[-1] != _RUNC and not any(path[: len(shown)] == shown for path in told):
        raise base.RuntimeConfigError(
            f"has default_runtime_name {runtime[-1]!r} and no such runtime; expected the name of one: "
            f"set default_runtime_name to {_RUNC!r} there, or add [{toml.key_text(runtime)}]"
        )
    if not values.get((*runtime, "runtime_type")):
        # A runtime that the file mentions loses the defaults that containerd 1 has for it.
        yield (*runtime, "runtime_type"), "io.containerd.runc.v2"
    yield (*runtime, "options", "SystemdCgroup"), True
    switch = _old_cgroup_switch(version)
    if values.get(switch):
        # It was meant so, and only an older shim takes it.
        yield switch, False


def _cni_changes(
    *, values: dict[toml.Path, Any], effective: dict[toml.Path, Any], version: int, desired: str
) -> Iterator[tuple[toml.Path, Any]]:
    # From containerd 2.1 on there is bin_dirs, and both may not be set; the file's own choice stays.
    listed = (*_cni(version), "bin_dirs")
    single = (*_cni(version), "bin_dir")
    listed_effective = (*_cni(effective.get(_CONFIG_VERSION, 1)), "bin_dirs")
    if listed in values or (not values.get(single) and listed_effective in effective):
        present = values.get(listed, effective.get(listed_effective, []))
        yield listed, [desired, *(other for other in present if other != desired)]
        if values.get(single):
            yield single, ""
    else:
        yield single, desired


def serves_cri(*, plugins: str) -> bool:
    """Find the CRI plugin in ctr's list of plugins: type, name, platforms, status."""
    rows = [line.split() for line in plugins.splitlines()]
    return any(row[:2] == ["io.containerd.grpc.v1", "cri"] and row[-1] == "ok" for row in rows)


def cri_failure(*, log: str) -> str:
    """Pick out of containerd's log why the CRI plugin did not load last."""
    causes = [
        _LOG_ERROR.search(line) for line in log.splitlines() if "failed to load" in line and "cri" in line
    ]
    found = [cause.group(1) for cause in causes if cause is not None]
    return found[-1] if found else "its log does not say why"


class Containerd(base.Runtime):
    """containerd by itself, as kubelet's runtime."""

    name = "containerd"
    socket = "unix:///run/containerd/containerd.sock"
    daemons = (DAEMON,)
    client = containerd_images.ContainerdImages

    def hosts_files(self, *, wishes: base.Wishes) -> dict[str, str]:
        """Return the settings of registries that have a mirror."""
        return {mirrors.hosts_path(mirror.registry): mirrors.hosts_toml(mirror) for mirror in wishes.mirrors}

    def configure(self, *, host: base.Host, wishes: base.Wishes) -> str | None:
        """Edit config.toml, if containerd does not do as asked."""
        path = str(DAEMON.configuration)
        if host.changes.check_mode and not host.has("containerd"):
            host.changes.note(f"Write {path}")
            return path
        text = read_text(host.root + path)
        dump = _dump(run=host.run, path=None if text is None else host.root + path)
        if not containerd_shortcomings(dump=dump, wishes=wishes):
            return None
        try:
            edited = edit_containerd_config(text=text, dump=dump, wishes=wishes)
        except base.RuntimeConfigError as error:
            raise base.RuntimeStateError(f"{path} {error}. It was left as it is") from error
        _prove(run=host.run, text=edited, wishes=wishes)
        return path if host.changes.write(path, edited, sentence=f"Write {path}") else None

    def serves(self, *, run: Runner) -> bool:
        """Tell whether the CRI plugin runs."""
        return serves_cri(plugins=output_of(run, ["ctr", "plugins", "list"]))

    def check(self, *, run: Runner) -> None:
        """Fail if containerd runs, but without its CRI plugin."""
        if self.serves(run=run):
            return
        command = ["journalctl", "--unit", *DAEMON.units, "--lines", "200", "--no-pager", "--output", "cat"]
        cause = cri_failure(log=output_of(run, command))
        raise base.RuntimeStateError(
            f"containerd runs, but its CRI plugin did not load: {cause}; expected status ok in "
            "'ctr plugins list': fix the cause and run this again"
        )

    def drift(self, *, run: Runner, wishes: base.Wishes) -> list[str]:
        """Compare what config.toml comes to with what is asked."""
        path = str(DAEMON.configuration)
        there = read_text(path) is not None
        return [
            f"{path}: {each}"
            for each in containerd_shortcomings(
                dump=_dump(run=run, path=path if there else None), wishes=wishes
            )
        ]

    def version(self, *, run: Runner) -> tuple[int, int, int] | None:
        return sources.reported_version(run(["containerd", "--version"])[1])

    def sandbox_image(self, *, run: Runner) -> str | None:
        """Ask containerd, which has an image of its own choice."""
        return sandbox_image(dump=output_of(run, ["containerd", "config", "dump"]))

    def remove_containers(self, *, run: Runner, has: Callable[[str], object]) -> None:
        """Remove what is left of the pods.

        kubeadm before 1.31 removes containers with crictl, and only warns where it is not installed.
        """
        if not has("ctr"):
            return
        containers = output_of(run, _CONTAINERS).split()
        found = bool(containers)
        if found:
            write_text(_REMOVED, "")
        deadline = time.monotonic() + _CONTAINERS_SECONDS
        while containers:
            if time.monotonic() > deadline:
                raise base.RuntimeStateError(
                    f"containers {', '.join(containers)} cannot be removed from containerd; reboot the node"
                    " and run this again"
                )
            for container in containers:
                # Each may fail: there is no task, it has not quite ended, containerd was quicker. What
                # counts is that the container is gone in the end.
                run([*_CTR, "tasks", "kill", "--signal=SIGKILL", container])
                run([*_CTR, "tasks", "delete", "--force", container])
                run([*_CTR, "containers", "delete", container])
            containers = output_of(run, _CONTAINERS).split()
        if found or self._remembers_removed(run):
            output_of(run, ["systemctl", "restart", DAEMON.service])

    def leaves_containers(self, *, run: Runner, has: Callable[[str], object]) -> bool:
        """Tell whether there is something left of the pods."""
        if not has("ctr"):
            return False
        # Where it does not run there is nobody who could remove them.
        code, output, _errors = run([*_CONTAINERS])
        return bool(code == 0 and output.split()) or self._remembers_removed(run)

    @staticmethod
    def _remembers_removed(run: Runner) -> bool:
        """Tell whether its CRI lists pods that are gone; it forgets them when it is started."""
        return Systemd(run=run, changes=Changes(check_mode=True)).is_outdated(DAEMON.service, (_REMOVED,))


def _dump(*, run: Runner, path: str | None) -> str:
    """Ask containerd what a configuration comes to, with its defaults and imports."""
    if path is None:
        return output_of(run, ["containerd", "config", "default"])
    return output_of(run, ["containerd", "--config", path, "config", "dump"])


def _prove(*, run: Runner, text: str, wishes: base.Wishes) -> None:
    """Have containerd read the new text before it gets the file."""
    with tempfile.NamedTemporaryFile("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        shortcomings = containerd_shortcomings(dump=_dump(run=run, path=file.name), wishes=wishes)
    if shortcomings:
        raise base.RuntimeStateError(
            f"Edited as asked, {DAEMON.configuration} would not have effect: {'; '.join(shortcomings)}. "
            "It was left as it is: look into the files that it imports, which override it"
        )
