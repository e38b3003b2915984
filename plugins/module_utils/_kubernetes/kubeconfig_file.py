# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes and removes the kubeconfig of a user; ``kubeconfig`` decides whose one is."""

from __future__ import annotations

import os
import pwd
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text
from ansible_collections.bramble.pi.plugins.module_utils._common.home_files import (
    open_folder,
    read_home_file,
    real_file,
    remove_home_file,
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
    text = _source(src=src, content=content, check_mode=check_mode)
    result: dict[str, Any] = {"changed": True, "dest": dest}
    if not text:
        return {**result, "why": "there is no cluster yet whose kubeconfig it could be"}
    desired = kubeconfig.with_server(text=text, server=server) if server else text
    ids = _ids(owner)
    folder_path, name = real_file(dest)
    with open_folder(folder_path, make=None if check_mode else ids) as folder:
        present = folder.read(name) if folder is not None else None
        # A folder of somebody keeps its mode, unless it is the user's whom the file is for.
        folder_wrong = (
            folder is not None and owner is not None and folder.correct(mode=0o700, ids=ids, dry_run=True)
        )
        if present is None:
            result["why"] = "it was not there"
        elif present.text == desired:
            result["changed"] = folder_wrong or (present.ids, present.mode) != (ids, 0o600)
            result["why"] = "its owner or mode was wrong" if result["changed"] else "it is as it should be"
        else:
            whose = kubeconfig.owner(text=present.text, ca_hash=kubeconfig.admin_ca_hash(desired))
            if whose is kubeconfig.Owner.SHARED:
                why = "its user put something of their own in, so it is left alone"
                return {**result, "changed": False, "why": why}
            known = whose is kubeconfig.Owner.OURS
            result["why"] = (
                f"it was {'out of date' if known else 'that of another cluster'}, and is kept beside"
            )
            if folder is not None:
                result["backup_file"] = os.path.join(folder.path, folder.backup_name(name))
        if result["changed"] and not check_mode and folder is not None:
            if folder_wrong:
                folder.correct(mode=0o700, ids=ids, dry_run=False)
            if present is not None and "backup_file" in result:
                backup = os.path.basename(result["backup_file"])
                folder.replace(backup, present.text, mode=present.mode, ids=present.ids)
            folder.replace(name, desired, mode=0o600, ids=ids)
    return result


def remove(*, dest: str, ca_hash: str, check_mode: bool) -> dict[str, Any]:
    """Remove a kubeconfig if it is that of the cluster; return the module's result."""
    present = read_home_file(dest)
    if present is None:
        return {"changed": False, "dest": dest, "why": "it is not there"}
    if kubeconfig.owner(text=present.text, ca_hash=ca_hash) is not kubeconfig.Owner.OURS:
        return {
            "changed": False,
            "dest": dest,
            "why": "it has what is not of this cluster, so it is left alone",
        }
    if not check_mode:
        remove_home_file(dest)
    return {"changed": True, "dest": dest, "why": "it was that of this cluster"}
