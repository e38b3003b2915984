# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Docker and containerd as Kubernetes needs them: their configuration, and what they say of themselves."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._containers import toml

#: Lists of ``key=value`` in daemon.json, in which an entry replaces the one with its key.
_OPTION_LISTS = ("exec-opts", "storage-opts")
_CGROUP_DRIVER = "native.cgroupdriver"
#: Setting in daemon.json: what docker info calls it.
_INFO_KEYS = {"storage-driver": "Driver", "log-driver": "LoggingDriver"}
#: "WARNING: No memory limit support"; the others (bridge-nf-call-iptables, blkio) limit nothing.
_LIMIT_WARNING = re.compile(r"\blimit\b", re.IGNORECASE)
#: Names of the CRI plugin in disabled_plugins: of config version 1, 2, and 3 (in which it has several parts).
_CRI_PLUGIN = re.compile(r"cri|io\.containerd\.grpc\.v1\.cri|io\.containerd\.cri\..+|io\.containerd\..+\.cri")

#: error="..." in a line of containerd's log.
_LOG_ERROR = re.compile(r'error="((?:[^"\\]|\\.)*)"')

_CONFIG_VERSION = ("version",)
_DISABLED_PLUGINS = ("disabled_plugins",)


class RuntimeConfigError(BrambleError):
    """A configuration that cannot be read, or not be changed as wanted."""


def _merge_options(*, present: list[Any], wanted: list[Any]) -> list[Any]:
    merged = list(present)
    for option in wanted:
        key = str(option).partition("=")[0]
        places = [at for at, other in enumerate(merged) if str(other).partition("=")[0] == key]
        if places:
            merged[places[0]] = option
            for at in reversed(places[1:]):
                del merged[at]
        else:
            merged.append(option)
    return merged


def _merge(*, present: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    merged = dict(present)
    for key, value in wanted.items():
        there = merged.get(key)
        if isinstance(there, dict) and isinstance(value, dict):
            merged[key] = _merge(present=there, wanted=value)
        elif key in _OPTION_LISTS and isinstance(value, list):
            merged[key] = _merge_options(present=there if isinstance(there, list) else [], wanted=value)
        else:
            merged[key] = value
    return merged


def merge_daemon_json(*, text: str | None, wanted: dict[str, Any]) -> str:
    """Merge settings into daemon.json; text that has them already is returned as it is."""
    present: Any = {}
    if text is not None and text.strip():
        try:
            present = json.loads(text)
        except ValueError as error:
            raise RuntimeConfigError(f"is not valid JSON: {error}") from error
        if not isinstance(present, dict):
            raise RuntimeConfigError(f"holds {json.dumps(present)[:60]}, and a JSON object is wanted")
    merged = _merge(present=present, wanted=wanted)
    if text is not None and merged == present:
        return text
    return json.dumps(merged, indent=4, ensure_ascii=False) + "\n"


class ContainerdWishes(NamedTuple):
    """What containerd has to be like; the CRI plugin and the systemd driver are not up for choice."""

    cni_bin_dir: str
    sandbox_image: str | None = None


def _runtime_plugin(version: int) -> tuple[str, str]:
    return ("plugins", "io.containerd.grpc.v1.cri" if version < 3 else "io.containerd.cri.v1.runtime")


def _runc(version: int) -> toml.Path:
    return (*_runtime_plugin(version), "containerd", "runtimes", "runc")


def _cni(version: int) -> toml.Path:
    return (*_runtime_plugin(version), "cni")


def _sandbox(version: int) -> toml.Path:
    if version < 3:
        return (*_runtime_plugin(version), "sandbox_image")
    return ("plugins", "io.containerd.cri.v1.images", "pinned_images", "sandbox")


def sandbox_image(*, dump: str) -> str | None:
    """Read which image containerd makes pods' sandboxes of (containerd config dump)."""
    values = _values(dump)
    image = values.get(_sandbox(values.get(_CONFIG_VERSION, 1)))
    return str(image) if image else None


def _bin_dirs(values: dict[toml.Path, Any]) -> list[str | None]:
    cni = _cni(values.get(_CONFIG_VERSION, 1))
    return values.get((*cni, "bin_dirs")) or [values.get((*cni, "bin_dir"))]


def _disabled_cri(values: dict[toml.Path, Any]) -> list[str]:
    return [name for name in values.get(_DISABLED_PLUGINS, []) if _CRI_PLUGIN.fullmatch(name)]


def _values(text: str) -> dict[toml.Path, Any]:
    try:
        return toml.parse(text=text).values()
    except toml.TomlError as error:
        raise RuntimeConfigError(f"is not valid TOML: {error}") from error


def containerd_shortcomings(*, dump: str, wishes: ContainerdWishes) -> list[str]:
    """Compare what containerd says that it uses (containerd config dump) with what is wanted."""
    values = _values(dump)
    version = values.get(_CONFIG_VERSION, 1)
    shortcomings = [
        f"disabled_plugins has {name!r}, which kubelet needs enabled" for name in _disabled_cri(values)
    ]
    if shortcomings:
        # A disabled plugin does not show its settings.
        return shortcomings
    driver = values.get((*_runc(version), "options", "SystemdCgroup"))
    if driver is not True:
        shortcomings.append(f"SystemdCgroup is {json.dumps(driver)}, wanted true")
    runtime_type = values.get((*_runc(version), "runtime_type"))
    if not runtime_type:
        shortcomings.append(f"runtime_type of runc is {json.dumps(runtime_type)}, wanted a shim")
    bin_dirs = _bin_dirs(values)
    if wishes.cni_bin_dir not in bin_dirs:
        shortcomings.append(f"CNI plugins are looked for in {bin_dirs[0]}, wanted {wishes.cni_bin_dir}")
    sandbox = values.get(_sandbox(version))
    if wishes.sandbox_image not in (None, sandbox):
        shortcomings.append(f"the sandbox image is {sandbox}, wanted {wishes.sandbox_image}")
    return shortcomings


def edit_containerd_config(*, text: str | None, dump: str, wishes: ContainerdWishes) -> str:
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
            raise RuntimeConfigError(
                "is of config version 1, and version 2 or later is wanted: convert it "
                "(containerd config migrate), or move it away to begin with containerd's defaults"
            )
        version = 2
    changes: list[tuple[toml.Path, Any]] = [(_CONFIG_VERSION, version)]
    disabled = _disabled_cri(values)
    if disabled:
        kept = [name for name in values[_DISABLED_PLUGINS] if name not in disabled]
        changes.append((_DISABLED_PLUGINS, kept))
    runc = _runc(version)
    if not values.get((*runc, "runtime_type")):
        # A runtime that the file mentions loses the defaults that containerd 1 has for it.
        changes.append(((*runc, "runtime_type"), "io.containerd.runc.v2"))
    changes.append(((*runc, "options", "SystemdCgroup"), True))
    if wishes.cni_bin_dir not in _bin_dirs(effective):
        changes.append(
            _cni_change(values=values, effective=effective, version=version, wanted=wishes.cni_bin_dir)
        )
    if wishes.sandbox_image is not None:
        changes.append((_sandbox(version), wishes.sandbox_image))
    try:
        for path, value in changes:
            text = toml.set_value(text=text, path=path, value=value)
    except toml.TomlError as error:
        raise RuntimeConfigError(f"cannot be changed: {error}") from error
    return text


def _cni_change(
    *, values: dict[toml.Path, Any], effective: dict[toml.Path, Any], version: int, wanted: str
) -> tuple[toml.Path, Any]:
    # From containerd 2.1 on there is bin_dirs, and both may not be set; the file's own choice stays.
    listed = (*_cni(version), "bin_dirs")
    single = (*_cni(version), "bin_dir")
    listed_effective = (*_cni(effective.get(_CONFIG_VERSION, 1)), "bin_dirs")
    if listed in values or (single not in values and listed_effective in effective):
        present = values.get(listed, effective.get(listed_effective, []))
        return listed, [wanted, *(other for other in present if other != wanted)]
    return single, wanted


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


class DockerInfo(NamedTuple):
    """What docker says of itself."""

    server_version: str
    cgroup_driver: str
    cgroup_version: str
    storage_driver: str
    logging_driver: str
    warnings: list[str]


def read_docker_info(*, text: str) -> DockerInfo:
    """Read docker info's JSON."""
    try:
        info = json.loads(text)
    except ValueError as error:
        raise RuntimeConfigError(f"docker info is not JSON: {text[:200]}") from error
    if info.get("ServerErrors"):
        raise RuntimeConfigError("docker info: " + "; ".join(info["ServerErrors"]))
    return DockerInfo(
        server_version=info.get("ServerVersion", ""),
        cgroup_driver=info.get("CgroupDriver", ""),
        cgroup_version=info.get("CgroupVersion", ""),
        storage_driver=info.get("Driver", ""),
        logging_driver=info.get("LoggingDriver", ""),
        warnings=info.get("Warnings") or [],
    )


def docker_shortcomings(*, info: DockerInfo, wanted: dict[str, Any], accepted: list[str]) -> list[str]:
    """Compare what docker says of itself with the settings wanted, and name the limits that it cannot set."""
    options = dict(str(option).partition("=")[::2] for option in wanted.get("exec-opts", []))
    compared = [
        ("cgroup driver", info.cgroup_driver, options.get(_CGROUP_DRIVER)),
        ("storage driver", info.storage_driver, wanted.get("storage-driver")),
        ("logging driver", info.logging_driver, wanted.get("log-driver")),
    ]
    shortcomings = [
        f"{name} is {seen}, wanted {value}" for name, seen, value in compared if value not in (None, seen)
    ]
    for warning in info.warnings:
        if _LIMIT_WARNING.search(warning) and not any(known in warning for known in accepted):
            shortcomings.append(f"it warns {warning!r}, wanted no warning about limits")
    return shortcomings


class Unit(NamedTuple):
    """A unit of systemd."""

    loaded: bool
    enabled: bool
    active: bool
    #: Seconds after boot at which it became active.
    active_since: float


UNIT_PROPERTIES = "Id,LoadState,UnitFileState,ActiveState,ActiveEnterTimestampMonotonic"


def read_units(*, text: str) -> dict[str, Unit]:
    """Read systemctl show's properties of several units."""
    units: dict[str, Unit] = {}
    for block in text.strip().split("\n\n"):
        properties = dict(line.partition("=")[::2] for line in block.splitlines())
        units[properties["Id"]] = Unit(
            loaded=properties["LoadState"] == "loaded",
            enabled=properties["UnitFileState"] == "enabled",
            active=properties["ActiveState"] == "active",
            active_since=int(properties["ActiveEnterTimestampMonotonic"]) / 1_000_000,
        )
    return units
