# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sends backups of a control plane to the nodes that keep copies, with a key that never leaves it."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable
from datetime import datetime
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._backup import archive, copies, retention
from ansible_collections.bramble.pi.plugins.module_utils._backup.copies import Receiver, Request
from ansible_collections.bramble.pi.plugins.module_utils._backup.manifest import BackupError
from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.commands import Runner, output_of
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import os_error_text

_SECONDS = 1800


def bring_up_to_date(
    receiver: Receiver, copy: dict[str, Any], *, folder: str, owner: str, now: Callable[[], datetime]
) -> None:
    """Send what the receiver does not have yet, the newest first; ``copy`` is the status of that."""
    there = {name for name in os.listdir(folder) if retention.created_of(name, owner=owner)}
    copy["error"] = None
    copy["names"] = sorted(there & set(copy["names"]))
    try:
        # Without the newest, which it keeps for ever, its card was flashed again, or its folder is another.
        if copy["names"] and not _send(receiver, os.path.join(folder, copy["names"][-1])):
            copy["names"] = copy["names"][-1:]
        for name in sorted(there - set(copy["names"]), reverse=True):
            _send(receiver, os.path.join(folder, name))
            copy["names"] = sorted([*copy["names"], name])
            copy["file"] = copy["names"][-1]
            copy["copied"] = f"{now():{retention.ISO}}"
    except BackupError as error:
        copy["error"] = str(error)
    except OSError as error:
        copy["error"] = os_error_text(error)


def _send(receiver: Receiver, path: str) -> bool:
    """Send a backup, and tell whether it was there before."""
    asked = Request(os.path.basename(path), os.path.getsize(path), archive.sha256_of(path))
    command = copies.ssh_command(receiver, asked)
    try:
        with open(path, "rb") as file:
            done = subprocess.run(command, stdin=file, capture_output=True, timeout=_SECONDS, check=False)
    except FileNotFoundError as error:
        raise BackupError(
            "ssh is not installed on this node; expected Debian's package: run 'apt-get install"
            " openssh-client'"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise BackupError(
            f"{receiver.name} did not take {asked.name} within {_SECONDS} s; expected an answer: look at the"
            " network between both nodes"
        ) from error
    if done.returncode != 0:
        said = " ".join(done.stderr.decode("utf-8", "replace").split())[-600:]
        remedy = ""
        if done.returncode == 255:
            remedy = (
                f"; expected an answer of {receiver.address}, port {receiver.port}: see that {receiver.name}"
                " is switched on, and run 'ansible-playbook bramble.pi.backup', which sets both sides up"
            )
        said = said or f"ssh ended with {done.returncode}"
        raise BackupError(f"{receiver.name} did not take {asked.name}: {said}{remedy}")
    return done.stdout.decode("utf-8", "replace").strip().endswith(copies.is_there_text(asked))


def own_key(changes: Changes, run: Runner) -> str:
    """Return the public half of this node's own key; one that is not there is made, but in check mode."""
    if not os.path.exists(copies.KEY):
        if not changes.note(f"make the key {copies.KEY}"):
            return ""
        os.makedirs(copies.SENDER_FOLDER, mode=0o700, exist_ok=True)
        new = f"{copies.KEY}.new"
        with contextlib.suppress(FileNotFoundError):
            # Of a run that was killed; ssh-keygen would ask.
            os.unlink(new)
        output_of(run, ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "bramble-backup", "-f", new])
        os.unlink(f"{new}.pub")
        archive.sync(new)
        os.replace(new, copies.KEY)
        archive.sync(copies.SENDER_FOLDER)
    return output_of(run, ["ssh-keygen", "-y", "-P", "", "-f", copies.KEY]).strip()


def remove_key(changes: Changes) -> None:
    """Remove the key, and the host keys of those who had it."""
    if os.path.isdir(copies.SENDER_FOLDER) and changes.note(f"remove {copies.SENDER_FOLDER}"):
        shutil.rmtree(copies.SENDER_FOLDER)
