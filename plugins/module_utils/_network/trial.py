# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Trials: a change of the network that the node reverts unless the controller has come back to confirm it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._common.files import (
    read_text,
    replace_file,
    write_text,
)
from ansible_collections.bramble.pi.plugins.module_utils._network import trial_script
from ansible_collections.bramble.pi.plugins.module_utils._network.manager import Commands, File
from ansible_collections.bramble.pi.plugins.module_utils._network.node import Node
from ansible_collections.bramble.pi.plugins.module_utils._network.probe import gateway_answers
from ansible_collections.bramble.pi.plugins.module_utils._network.settings import (
    NetworkError,
    Settings,
    settings,
    shortcomings,
)

_SETTLE_TIMEOUT = 10.0


def start(
    node: Node,
    *,
    identifier: str,
    files: Sequence[File],
    commands: Commands,
    timeout: int,
    session: int,
    parameters: Mapping[str, Any],
) -> None:
    """Lay everything ready, so that a restart of the node finds it, and let the node go on alone.

    All that the way back needs is on the disk before anything is changed; if there is no room, nothing is.
    """
    part = f"{trial_script.DIRECTORY}.part"
    shutil.rmtree(part, ignore_errors=True)
    os.makedirs(part, mode=0o700)
    try:
        lines = [f"{_stage(file)} {file.path}\n" for file in files]
        write_text(f"{part}/files", "".join(lines))
        write_text(f"{part}/pending", json.dumps(dict(parameters)))
        write_text(f"{part}/applying", "")
        record = trial_script.record(identifier=identifier, reason="it was not confirmed")
        write_text(f"{part}/record", record)
        write_text(
            f"{part}/switch",
            trial_script.script(
                identifier=identifier,
                timeout=timeout,
                session=session,
                before=commands.before,
                after=commands.after,
                restore_before=commands.before,
                restore_after=commands.restore_after,
                regenerate=commands.regenerate,
            ),
        )
        write_text(trial_script.BOOT_UNIT, trial_script.BOOT_UNIT_TEXT)
        os.makedirs(os.path.dirname(trial_script.BOOT_LINK), exist_ok=True)
        if not os.path.islink(trial_script.BOOT_LINK):
            os.symlink(trial_script.BOOT_UNIT, trial_script.BOOT_LINK)
        os.rename(part, trial_script.DIRECTORY)
    except BaseException:
        _forget([file.path for file in files])
        raise
    os.sync()
    try:
        _detach(node, "try", identifier)
    except NetworkError:
        _forget([file.path for file in files])
        raise


def _stage(file: File) -> str:
    """Lay a file beside the one that it replaces, and that one's copy; tell whether that one is there.

    Both are on its file system, so that they are put in place by their names alone.
    """
    new, old = (trial_script.staged(file.path, side) for side in ("new", "old"))
    _remove(new, old)
    present = os.path.exists(file.path)
    like = file.path if present else None
    write_text(new, file.text, mode=file.mode)
    if like is None:
        return "absent"
    with open(like, "rb") as source:
        replace_file(old, source.read(), like=like)
    for copy in (new, old):
        shutil.copymode(like, copy)
        owner = os.stat(like)
        os.chown(copy, owner.st_uid, owner.st_gid)
    return "present"


def _remove(*paths: str) -> None:
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def _files() -> list[str]:
    """Return the files that the trial is about."""
    lines = (read_text(f"{trial_script.DIRECTORY}/files") or "").splitlines()
    return [line.partition(" ")[2] for line in lines]


def _flush(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unit(identifier: str) -> str:
    return trial_script.UNITS.replace("*", identifier)


def _detach(node: Node, verb: str, identifier: str) -> None:
    command = ["systemd-run", "--quiet", "--collect", f"--unit={_unit(identifier)}"]
    # DHCP clients that ifup starts live on after the trial.
    command += ["--property=KillMode=process", "--description=Try a change of the network"]
    status, _stdout, stderr = node.run([*command, "/bin/sh", f"{trial_script.DIRECTORY}/switch", verb])
    if status != 0:
        raise NetworkError(
            "the unit for a change of the network could not be started, and nothing was changed: "
            f"systemd-run says {stderr.strip()!r}; expected a node that was booted with systemd"
        )


def _forget(files: Sequence[str]) -> None:
    """Remove all that a trial needed."""
    for path in files:
        _remove(trial_script.staged(path, "old"), trial_script.staged(path, "new"))
    # Without the list of its files nothing is a trial any more: it goes before what says how the trial ended.
    _remove(trial_script.BOOT_LINK, trial_script.BOOT_UNIT, f"{trial_script.DIRECTORY}/files")
    for folder in (trial_script.DIRECTORY, f"{trial_script.DIRECTORY}.part"):
        shutil.rmtree(folder, ignore_errors=True)


def _finish() -> None:
    """Note which trial was confirmed, which is known by that note alone, and remove the rest."""
    files = _files()
    _remove(trial_script.CONFIRMED_RECORD)
    os.link(f"{trial_script.DIRECTORY}/confirmed", trial_script.CONFIRMED_RECORD)
    _forget(files)


def _taken_back(identifier: str | None) -> str | None:
    """Return why a trial, or any one, was reverted."""
    text = read_text(trial_script.RECORD)
    if text is None:
        return None
    of, _newline, reason = text.partition("\n")
    return reason.strip() if identifier in (None, of) else None


def check_none(node: Node) -> None:
    """Refuse a second change beside one that is not decided."""
    if not os.path.exists(trial_script.DIRECTORY):
        return
    if os.path.exists(f"{trial_script.DIRECTORY}/confirmed"):
        _finish()
        return
    if not os.path.exists(f"{trial_script.DIRECTORY}/files"):
        # It ended, but for its folder.
        _forget([])
        return
    if not node.is_active(trial_script.UNITS):
        _detach(node, "revert", str(time.time_ns()))
    raise NetworkError(
        "an earlier change of the network that was not confirmed is just being reverted; expected the "
        "node as it was: run this again in node_network_confirm_timeout seconds"
    )


def read_record() -> str | None:
    """Return why an earlier trial was reverted, which is told once."""
    reason = _taken_back(None)
    if reason is not None:
        os.unlink(trial_script.RECORD)
    return reason


def report(identifier: str) -> dict[str, Any]:
    """Say what became of a trial, which is the last that is heard of it once it was reverted."""
    outcome = _outcome(identifier)
    if outcome["state"] == "taken_back":
        # Who reads this is told; the next run need not be.
        os.unlink(trial_script.RECORD)
    return outcome


def _outcome(identifier: str) -> dict[str, Any]:
    reason = _taken_back(identifier)
    if reason is not None:
        return {"state": "taken_back", "reason": reason}
    if os.path.exists(trial_script.DIRECTORY):
        return {"state": "pending", "reason": ""}
    confirmed = json.loads(read_text(trial_script.CONFIRMED_RECORD) or "{}")
    if confirmed.get("identifier") == identifier:
        return {"state": "confirmed", "reason": ""}
    return {"state": "unknown", "reason": "the node has no record of what became of it"}


def confirm(node: Node, identifier: str) -> dict[str, Any]:
    """Keep the change if the node has what it is to have and its gateway answers."""
    pending = f"{trial_script.DIRECTORY}/pending"
    parameters = json.loads(read_text(pending) or "{}")
    if parameters.get("identifier") != identifier:
        return _outcome(identifier)
    desired = settings_of(node, parameters)
    # Where the address stays the same, the controller may be here before anything has happened.
    while os.path.exists(pending) and not os.path.exists(f"{trial_script.DIRECTORY}/applied"):
        time.sleep(0.2)
    deadline = time.monotonic() + _SETTLE_TIMEOUT
    while True:
        reasons = shortcomings(settings=desired, state=node.state(desired.interface))
        if not reasons or time.monotonic() > deadline:
            break
        time.sleep(0.5)
    gateway = str(desired.gateway or "")
    if (
        not reasons
        and gateway
        and not gateway_answers(node.run, interface=desired.interface, gateway=gateway)
    ):
        reasons = [
            f"the gateway {gateway} does not answer on {desired.interface}; expected a machine there that "
            "does: set node_network_gateway"
        ]
    try:
        if reasons:
            # Where there is no room for the reasons, it is rejected without them.
            with contextlib.suppress(OSError):
                write_text(pending, "; ".join(reasons) + "\n")
            os.rename(pending, f"{trial_script.DIRECTORY}/rejected")
            return {"state": "rejected", "reason": "; ".join(reasons)}
        # What is confirmed is on the disk before the way back is given up.
        for path in _files():
            _flush(path)
            _flush(os.path.dirname(path))
        os.rename(pending, f"{trial_script.DIRECTORY}/confirmed")
        _flush(trial_script.DIRECTORY)
    except FileNotFoundError:
        return _outcome(identifier)
    node.run(["systemctl", "stop", _unit(identifier)])
    _finish()
    return {"state": "confirmed", "reason": ""}


def settings_of(node: Node, parameters: Mapping[str, Any]) -> Settings:
    """Read what the interface is to have, from the module's parameters or from those of a trial."""
    return settings(
        interface=parameters["interface"],
        address=parameters["address"],
        gateway=parameters["gateway"],
        resolvers=parameters["resolvers"],
        search=parameters["search"],
        existing=node.interfaces(),
    )
