# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sets a node up to keep copies of others' backups: a user without rights, whom one command runs for."""

from __future__ import annotations

import os
import pwd
import shutil
import stat

from ansible_collections.bramble.pi.plugins.module_utils._backup import copies, receive, retention
from ansible_collections.bramble.pi.plugins.module_utils._backup.manifest import BackupError
from ansible_collections.bramble.pi.plugins.module_utils._common import program
from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.commands import SBIN, Runner
from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text
from ansible_collections.bramble.pi.plugins.module_utils._ssh.keys import authorized_key_problem
from ansible_collections.bramble.pi.plugins.module_utils._ssh.sshd import effective_command

_SSH = f"{copies.HOME}/.ssh"
_AUTHORIZED_KEYS = f"{_SSH}/authorized_keys"
_HOST_KEYS = tuple(f"/etc/ssh/ssh_host_{kind}_key.pub" for kind in ("ed25519", "ecdsa", "rsa"))
_ROOT = (0, 0)


def host_keys() -> list[str]:
    """Return the keys by which this node's sshd is known, each as type and key."""
    texts = (read_text(path) for path in _HOST_KEYS)
    return [" ".join(text.split()[:2]) for text in texts if text]


def let_in(*, sender: str, key: str, folder: str, days: int, changes: Changes, run: Runner) -> None:
    """Let a sender add copies to its folder; an empty key stands for one that check mode did not make."""
    _check(sender=sender, folder=folder, run=run)
    if key or not changes.check_mode:
        problem = authorized_key_problem(key)
        if problem:
            raise BackupError(
                f"the key of {sender} {problem}; expected its public half: run this again, or remove"
                f" {copies.SENDER_FOLDER} on {sender}"
            )
    _user(changes)
    for path in (copies.HOME, _SSH):
        _folder(path, 0o755, _ROOT, changes)
    program.install(receive, copies.PROGRAM, changes)
    if not os.path.isdir(folder):
        # One that is there may be a whole disk, with other things on it.
        _folder(folder, 0o755, _ROOT, changes)
    of_sender = copies.folder_of(folder, sender)
    ids = _ids()
    _folder(of_sender, 0o700, ids or _ROOT, changes)
    if ids is not None:
        _own(of_sender, ids, changes)
    line = copies.authorized_line(sender=sender, key=key, folder=folder, days=days)
    text = copies.with_sender(read_text(_AUTHORIZED_KEYS) or "", sender=sender, line=line)
    # Root's own, so that whoever comes in cannot change it, and for the user to read, as sshd does.
    changes.write(_AUTHORIZED_KEYS, text, sentence=f"let {sender} in to add copies")
    if not changes.check_mode and run(["runuser", "-u", copies.USER, "--", "test", "-w", of_sender])[0] != 0:
        raise BackupError(
            f"{copies.USER} cannot write to {of_sender}; expected a disk with owners, and folders above it"
            " that others may pass: set backup_copy_folder to such a one"
        )


def keep_out(*, sender: str, folder: str, changes: Changes) -> int:
    """Let a sender in no more, and remove what no other one needs; return how many copies of it stay."""
    before = read_text(_AUTHORIZED_KEYS) or ""
    after = copies.with_sender(before, sender=sender)
    if after:
        changes.write(_AUTHORIZED_KEYS, after, sentence=f"let {sender} in no more")
    else:
        _disown(folder, changes)
        _remove(changes)
    return len([name for name in _listed(copies.folder_of(folder, sender)) if not name.endswith(".part")])


def _listed(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []


def _check(*, sender: str, folder: str, run: Runner) -> None:
    problems = [each for each in [copies.folder_problem(folder)] if each]
    if not copies.HOST_NAME.fullmatch(sender):
        problems.append(f"the sender is {sender!r}; expected letters, digits and _.-: rename it there")
    path = shutil.which("sshd", path=":".join([*SBIN, os.environ.get("PATH", "")]))
    if path is None:
        problems.append("there is no sshd on this node; expected one: run 'apt-get install openssh-server'")
    else:
        code, output, errors = run(effective_command(sshd=path, user=copies.USER))
        if code != 0:
            said = " ".join(errors.split())[-300:]
            problems.append(f"sshd does not take its own configuration ({said}); expected one that it does")
        problems += [
            f"{each} in /etc/ssh/sshd_config, and reload ssh" for each in copies.door_problems(output)
        ]
    if not host_keys():
        # Else the control plane's own run would end on it, without a backup.
        problems.append("there is no host key in /etc/ssh; expected one: run 'ssh-keygen -A' there")
    if problems:
        raise BackupError("; ".join(problems))


def _present() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(copies.USER)
    except KeyError:
        return None


def _ids() -> tuple[int, int] | None:
    """Return the numbers of the user and its group; None before check mode's user is there."""
    user = _present()
    return (user.pw_uid, user.pw_gid) if user else None


def _user(changes: Changes) -> None:
    user = _present()
    if user is not None and user.pw_dir != copies.HOME:
        raise BackupError(
            f"there is a user {copies.USER} with the home {user.pw_dir}; expected none, or this collection's:"
            f" run 'userdel {copies.USER}'"
        )
    if user is None:
        # sshd keeps out whose password is locked by '!', where it does not use PAM; '*' is none that fits.
        # The forced command needs a shell.
        options = ["--system", "--user-group", "--no-create-home", "--home-dir", copies.HOME]
        words = [*options, "--shell", "/bin/sh", "--password", "*", copies.USER]
        changes.do(f"create the user {copies.USER}", ["useradd", *words])


def _folder(path: str, mode: int, ids: tuple[int, int], changes: Changes) -> None:
    """Have a folder there with its owner and mode."""
    try:
        status = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        if changes.note(f"create {path}"):
            os.makedirs(path, mode=0o755, exist_ok=True)
            os.chmod(path, mode)
            os.chown(path, *ids)
        return
    if not stat.S_ISDIR(status.st_mode):
        raise BackupError(f"{path} is no folder; expected one: move away what is there")
    seen = (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)
    if seen != (mode, *ids) and changes.note(f"correct owner and mode of {path}"):
        os.chown(path, *ids)
        os.chmod(path, mode)


def _own(folder: str, ids: tuple[int, int], changes: Changes) -> None:
    """Give the copies in a folder to the user, who may be another one than before, or to root."""
    for name in _listed(folder):
        path = os.path.join(folder, name)
        status = os.stat(path, follow_symlinks=False)
        # Of a file with another name elsewhere it is not known whose that is.
        ours = stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and retention.parse_name(name)
        if ours and (status.st_uid, status.st_gid) != ids and changes.note(f"correct the owner of {path}"):
            os.chown(path, *ids, follow_symlinks=False)


def _disown(folder: str, changes: Changes) -> None:
    """Give all that is the user's to root before the user goes, whose number another one may get."""
    ids = _ids()
    for name in _listed(folder):
        path = os.path.join(folder, name)
        status = os.stat(path, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode) and ids is not None and status.st_uid == ids[0]:
            _folder(path, 0o700, _ROOT, changes)
            _own(path, _ROOT, changes)


def _remove(changes: Changes) -> None:
    if os.path.isdir(copies.HOME) and changes.note(f"remove {copies.HOME}"):
        shutil.rmtree(copies.HOME)
    user = _present()
    if user is not None and user.pw_dir == copies.HOME:
        changes.do(f"remove the user {copies.USER}", ["userdel", copies.USER])
