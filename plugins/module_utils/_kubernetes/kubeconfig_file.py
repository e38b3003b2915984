# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes and removes the kubeconfig of a user; ``kubeconfig`` decides whose one is."""

from __future__ import annotations

import os
import pwd
import stat
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._common.files import (
    free_backup_name,
    read_text,
    write_text,
)
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import kubeconfig


def _ids(name: str | None) -> tuple[int, int]:
    if name is None:
        return os.getuid(), os.getgid()
    try:
        user = pwd.getpwnam(name)
    except KeyError as error:
        raise kubeconfig.KubeconfigError(
            f"there is no user {name} on this host: set control_plane_admin_user to one who is there"
        ) from error
    return user.pw_uid, user.pw_gid


def _wrong(path: str, mode: int, ids: tuple[int, int]) -> bool:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return True
    return stat.S_IMODE(status.st_mode) != mode or (status.st_uid, status.st_gid) != ids


def _set(path: str, mode: int, ids: tuple[int, int]) -> None:
    os.chown(path, *ids)
    os.chmod(path, mode)


def _source(*, src: str, content: str | None, check_mode: bool) -> str:
    """Return the kubeconfig as kubeadm made it; empty in check mode before there is a cluster."""
    if content is None:
        content = read_text(src) or ""
    if not content and not check_mode:
        raise kubeconfig.KubeconfigError(
            f"{src} is not there: bring the control plane up first (role control_plane)"
        )
    return content


def install(
    *, dest: str, src: str, content: str | None, server: str | None, owner: str | None, check_mode: bool
) -> dict[str, Any]:
    """Write a kubeconfig, unless what is there is somebody's own; return the module's result."""
    folder = os.path.dirname(dest)
    text = _source(src=src, content=content, check_mode=check_mode)
    result: dict[str, Any] = {"changed": True, "dest": dest}
    if not text:
        return {**result, "why": "there is no cluster yet whose kubeconfig it could be"}

    wanted = kubeconfig.with_server(text=text, server=server) if server else text
    ids = _ids(owner)
    before = read_text(dest)
    if before is None:
        result["why"] = "it was not there"
    elif before == wanted:
        folder_wrong = owner is not None and _wrong(folder, 0o700, ids)
        result["changed"] = folder_wrong or _wrong(dest, 0o600, ids)
        result["why"] = "its owner or mode was wrong" if result["changed"] else "it is as it should be"
    else:
        whose = kubeconfig.owner(text=before, ca_hash=kubeconfig.admin_ca_hash(wanted))
        if whose is kubeconfig.Owner.SHARED:
            why = "its user put this cluster in beside others, so it is left alone"
            return {**result, "changed": False, "why": why}
        result["why"] = "it was out of date"
        if whose is kubeconfig.Owner.FOREIGN:
            result["backup_file"] = free_backup_name(dest)
            result["why"] = "it was that of another cluster, and is kept beside"

    if result["changed"] and not check_mode:
        if not os.path.isdir(folder):
            os.makedirs(os.path.dirname(folder), exist_ok=True)
            os.mkdir(folder, 0o700)
            _set(folder, 0o700, ids)
        elif owner is not None:
            _set(folder, 0o700, ids)
        if "backup_file" in result:
            os.rename(dest, result["backup_file"])
        write_text(dest, wanted, mode=0o600)
        _set(dest, 0o600, ids)
    return result


def remove(*, dest: str, ca_hash: str, check_mode: bool) -> dict[str, Any]:
    """Remove a kubeconfig if it is that of the cluster; return the module's result."""
    text = read_text(dest)
    if text is None:
        return {"changed": False, "dest": dest, "why": "it is not there"}
    if kubeconfig.owner(text=text, ca_hash=ca_hash) is not kubeconfig.Owner.OURS:
        return {"changed": False, "dest": dest, "why": "it knows other clusters, so it is left alone"}
    if not check_mode:
        os.unlink(dest)
    return {"changed": True, "dest": dest, "why": "it was that of this cluster"}
