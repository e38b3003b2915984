# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Both sides of copies on one node, as the playbook sets them up, and what a stolen key is good for there.

It is run as a program in namespaces of its own, and prints what came of it.
"""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._backup import copies, send
from ansible_collections.bramble.pi.plugins.module_utils._backup.copies import Receiver, Request

from tests.unit.run_module import run_module

AGE_KEY = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
HOST: dict[str, Any] = {"name": "pi-2", "address": "127.0.0.1", "port": 2222}
OWNER = "0fffefc56e99-pi-1"
COPIES = Path("/var/lib/bramble-backup-copies")
OF_SENDER = COPIES / "pi-1"
BACKUPS = Path("/var/lib/backups")
HOME = Path(copies.HOME)
CONFIGURATION = Path("/etc/ssh/sshd_config")
NONE: dict[str, Any] = {"copied": None, "file": None, "names": []}


def sender(hosts: list[dict[str, Any]], *, check: bool = False, **more: Any) -> dict[str, Any]:
    options = {"recipients": [AGE_KEY], "copies": hosts, "dest": "/var/lib/backup.pyz"}
    return run_module("backup_program", check=check, **options, **more)


def receiver(name: str = "pi-1", *, check: bool = False, **more: Any) -> dict[str, Any]:
    return run_module("backup_receiver", check=check, sender=name, folder=str(COPIES), **more)


def known(keys: list[str], *, check: bool = False) -> dict[str, Any]:
    host = {"name": "pi-2", "known_as": ["pi-2"], "keys": keys}
    return run_module("known_hosts", check=check, path=copies.KNOWN_HOSTS, hosts=[host], replace=True)


def send_all() -> dict[str, Any]:
    """Send what is there, as the timer does."""
    copy: dict[str, Any] = dict(NONE)
    send.bring_up_to_date(
        Receiver.of(HOST),
        copy,
        folder=str(BACKUPS),
        owner=OWNER,
        now=lambda: datetime.now(timezone.utc),
    )
    return copy


def there() -> dict[str, Any]:
    """Say of each copy its mode, whose it is, and whether it is the sender's file."""
    return {
        path.name: [
            oct(path.stat().st_mode & 0o777),
            path.owner(),
            path.read_bytes() == (BACKUPS / path.name).read_bytes(),
        ]
        for path in OF_SENDER.iterdir()
    }


def set_up(came: dict[str, Any]) -> dict[str, Any]:
    """Go the four steps."""
    came["check"] = [sender([HOST], check=True), receiver(key="", check=True)]
    came["nothing yet"] = [os.path.exists(path) for path in (copies.SENDER_FOLDER, HOME, COPIES)]
    made = sender([HOST])
    key = made["public_key"]
    let_in = receiver(key=key)
    assert "host_keys" in let_in, let_in
    keys = let_in["host_keys"]
    came["apply"] = [made, let_in, known(keys)]
    came["check again"] = [sender([HOST], check=True), receiver(key=key, check=True), known(keys, check=True)]
    came["apply again"] = [sender([HOST]), receiver(key=key), known(keys)]
    authorized_keys = HOME / ".ssh" / "authorized_keys"
    paths = [Path(copies.KEY), HOME, authorized_keys, Path(copies.PROGRAM), COPIES, OF_SENDER]
    came["modes"] = [[oct(path.stat().st_mode & 0o777), path.owner()] for path in paths]
    return {"key": key, "host_keys": keys}


def try_key(names: list[str]) -> dict[str, Any]:
    """Try what a sender's key is good for beside adding."""
    words = copies.ssh_command(Receiver.of(HOST), Request("x", 1, "0"))
    options = [word for word in words[1 : words.index("--")] if word != "-T"]
    target = words[words.index("--") + 1]
    port, user = options[options.index("-p") + 1], options[options.index("-l") + 1]
    plain = [word for word in options if word not in ("-p", "-l", port, user)]
    ssh, at = ["ssh", *options], f"{user}@{target}"
    file = OF_SENDER / names[0]

    def attempt(*command: str, data: bytes = b"") -> list[Any]:
        done = subprocess.run(command, input=data, capture_output=True, timeout=60, check=False)
        return [done.returncode, (done.stdout + done.stderr).decode(errors="replace")[-400:]]

    def as_user(script: str) -> list[Any]:
        return attempt("runuser", "-u", copies.USER, "--", "sh", "-c", script)

    add = Request(names[0], 1, "0" * 64).text()
    no_forward = ["-o", "ExitOnForwardFailure=yes", "-R", "3333:127.0.0.1:22", "-N"]
    return {
        "a shell": attempt(*ssh, target, data=b"id\n"),
        "a terminal": attempt(*ssh, "-tt", target, data=b"id\n"),
        "a command": attempt(*ssh, target, f"cat {file}"),
        "two commands": attempt(*ssh, target, f"{add}; id"),
        "another folder": attempt(*ssh, target, add.replace("add ", "add ../"), data=b"x"),
        "other content": attempt(*ssh, target, add, data=b"x"),
        "sftp": attempt("sftp", *plain, "-P", port, at, data=b"ls\n"),
        "sftp by its subsystem": attempt(*ssh, "-s", target, "sftp"),
        "scp": attempt("scp", "-O", *plain, "-P", port, "/etc/hostname", f"{at}:{OF_SENDER}/x"),
        "scp from there": attempt("scp", *plain, "-P", port, f"{at}:{file}", "/run/x"),
        "a port from there": attempt(*ssh, "-W", f"127.0.0.1:{port}", target),
        "a port to there": attempt(*ssh, *no_forward, target),
        "its own keys": as_user(f"echo x >>{HOME}/.ssh/authorized_keys"),
        "its own program": as_user(f"echo x >>{copies.PROGRAM}"),
        "its own folder": as_user(f"mv {OF_SENDER} {COPIES}/x"),
    }


def try_configuration(lines: list[str], key: str) -> dict[str, str]:
    """Say what is refused of an sshd with such a line."""
    text = CONFIGURATION.read_text()
    said = {}
    for line in lines:
        CONFIGURATION.write_text(f"{line}\n{text}")
        said[line] = receiver(key=key).get("msg", "")
    CONFIGURATION.write_text(text)
    return said


def remove(came: dict[str, Any], key: str, names: list[str]) -> None:
    """Have no copies any more, of one sender and then of the other."""
    receiver("pi-4", key=key)
    # Something else that is on that disk.
    theirs = COPIES / "photos"
    theirs.mkdir(mode=0o755)
    (theirs / names[0]).touch(mode=0o640)
    os.chown(theirs / names[0], 12345, 12345)
    (COPIES / "notes.txt").touch()
    came["former"] = [sender([], check=True)["former"], sender([])["former"], sender([])["former"]]
    came["key"] = os.path.exists(copies.SENDER_FOLDER)
    came["absent, check"] = receiver(state="absent", check=True)
    came["absent"] = receiver(state="absent")
    came["lines"] = (HOME / ".ssh" / "authorized_keys").read_text()
    came["last absent"] = receiver("pi-4", state="absent")
    came["absent again"] = receiver(state="absent")
    came["forgotten"] = [sender([], forget=["pi-2"])["former"], sender([])["changed"]]
    came["stays"] = sorted(path.name for path in OF_SENDER.iterdir())
    users = [user.pw_name for user in pwd.getpwall()]
    came["left"] = [HOME.exists(), copies.USER in users, (OF_SENDER / names[0]).owner()]
    came["theirs"] = [oct(theirs.stat().st_mode & 0o777), (theirs / names[0]).stat().st_uid]
    came["back"] = [receiver(key=key)["changed"], receiver(key=key)["changed"]]
    came["back, there"] = there()


def main() -> None:
    """Do it all."""
    came: dict[str, Any] = {}
    given = set_up(came)
    subprocess.run(["sshd", "-p", str(HOST["port"])], check=True)
    try:
        BACKUPS.mkdir()
        times = [datetime.now(timezone.utc) - timedelta(hours=hours) for hours in range(2)]
        names = [f"bramble-{made:%Y%m%dT%H%M%SZ}-{OWNER}.tar.gz.age" for made in times]
        for name in names:
            (BACKUPS / name).write_bytes(os.urandom(3 << 20))
        came.update({"names": names, "sent": send_all(), "sent again": send_all(), "there": there()})
        came["attempts"] = try_key(names)
        came["after all"] = there()
        # Another machine answers at that address.
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "/run/other"], check=True)
        known([" ".join(Path("/run/other.pub").read_text().split()[:2])])
        came["other host key"] = send_all()["error"]
        known(given["host_keys"])
    finally:
        os.kill(int(Path("/run/sshd.pid").read_text()), 15)
    came["nobody answers"] = send_all()["error"]
    came["lists"] = try_configuration(sys.argv[1:], given["key"])
    remove(came, given["key"], names)
    sys.stdout.write(json.dumps(came) + "\n")


if __name__ == "__main__":
    main()
