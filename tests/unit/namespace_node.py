# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node made of namespaces: modules and programs run for real, on folders and a network of its own."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.unit.run_module import REPOSITORY

_SYSTEMCTL = """verb=$1
# Ansible's own module has an option after the unit.
for word; do case $word in -*) ;; *) unit=$word ;; esac; done
started=/run/started-$unit
lines() {
  sed -n "s/^$1=//p" "/etc/systemd/system/$unit" 2>/dev/null
}
case $verb in
is-active) [ -e "$started" ]; exit ;;
is-enabled) [ -e "/run/enabled-$unit" ] && echo enabled; exit ;;
show)
  printf 'Id=%s\\nLoadState=loaded\\n' "$unit"
  if [ -e "$started" ]; then
    printf 'ActiveState=active\\nActiveEnterTimestampMonotonic=%s\\n' "$(cat "$started")"
  else
    printf 'ActiveState=inactive\\nActiveEnterTimestampMonotonic=0\\n'
  fi
  exit ;;
esac
echo "$*" >>/run/systemctl
# Anyone who asks for this is killed before it is done.
[ "$(cat /run/kill-at 2>/dev/null)" != "$verb" ] || { rm /run/kill-at; kill -9 "$PPID"; exit 1; }
[ "$verb" != try-restart ] || [ ! -e "$started" ] || verb=restart
[ "$verb" != restart ] || { systemctl stop "$unit"; exec systemctl start "$unit"; }
case $verb in
enable) : >"/run/enabled-$unit" ;;
disable) rm -f "/run/enabled-$unit" ;;
stop)
  lines ExecStop | sed 's/^-//' | sh >/dev/null 2>&1
  rm -f "$started" ;;
start)
  # Of services that stay nothing is run.
  [ "$(lines Type)" != oneshot ] ||
    lines ExecStart | sed 's/^-\\(.*\\)/\\1 || :/' | sh -e >/dev/null 2>&1 || exit 1
  @PYTHON@ -c 'import time; print(time.monotonic_ns() // 1000)' >"$started" ;;
esac"""
_MARK = "\n-- next --\n"


class NamespaceNode:
    """Its folders are on one small file system; C(eth0) is a cable to C(peer), and both are up."""

    def __init__(
        self, scratch: Path, *, folders: Sequence[str], size: str = "1m", processes: bool = False
    ) -> None:
        """With ``processes`` it has its own, and sees and ends no others."""
        self.scratch = scratch
        self.own = ("--pid", "--fork", "--kill-child", "--mount-proc") if processes else ()
        self.programs = scratch / "bin"
        self.programs.mkdir()
        self.folders = folders
        self.size = size
        self.files: dict[str, str] = {}
        self.errors = ""

    def write(self, path: str, text: str) -> None:
        """Have a file there from the beginning."""
        self.files[path] = text

    def program(self, name: str, text: str) -> None:
        """Put a shell script in front of a program."""
        path = self.programs / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def systemd(self) -> None:
        """Have a systemctl that runs the commands of a oneshot unit's file, and knows what it has started.

        What it is asked to do is in /run/systemctl. It kills who asks for the verb in /run/kill-at.
        """
        self.program("systemctl", _SYSTEMCTL.replace("@PYTHON@", sys.executable))

    def module(self, name: str, *, check: bool = False, **options: Any) -> str:
        """Return the command that runs a module; @TRIAL@ in its options is the trial begun before."""
        arguments = json.dumps({"ANSIBLE_MODULE_ARGS": {**options, "_ansible_check_mode": check}})
        python = f"{sys.executable} -m ansible_collections.bramble.pi.plugins.modules.{name}"
        given = f'"$(printf %s {shlex.quote(arguments)} | sed "s/@TRIAL@/$trial/")"'
        return (
            f"printf %s {given} | {python} | tee {self.scratch}/result; "
            f"""begun=$(sed -n 's/.*"trial": "\\([0-9a-f]*\\)", .*/\\1/p' {self.scratch}/result); """
            'trial="${begun:-$trial}"'
        )

    def run(self, *commands: str) -> list[str]:
        """Run commands on the node, one after the other; return what each printed."""
        setup = [
            # As this network's interfaces are in there.
            "mount -t sysfs sysfs /sys",
            "mount -t tmpfs tmpfs /srv",
            "cp -a /etc /srv/etc",
            "mount --bind /srv/etc /etc",
            # Programs of the test come first for all that searches only where the system's are.
            "mkdir /srv/real /srv/sbin",
            "mount --bind /usr/sbin /srv/real",
            f"ln -s /srv/real/* {self.programs}/* /srv/sbin --force",
            "mount --bind /srv/sbin /usr/sbin",
            "mount -t tmpfs tmpfs /run",
            "mount -t tmpfs tmpfs /var/lib",
            f"mount -t tmpfs -o size={self.size} tmpfs /mnt",
        ]
        for folder in self.folders:
            setup += [f"mkdir -p {folder} /mnt{folder}", f"mount --bind /mnt{folder} {folder}"]
        for number, (path, text) in enumerate(self.files.items()):
            source = self.scratch / f"file-{number}"
            source.write_text(text)
            setup += [f"mkdir -p {os.path.dirname(path)}", f"cp {source} {path}"]
        setup += [
            "ip link set lo up",
            "ip link add eth0 type veth peer name peer",
            "ip link set eth0 up",
            "ip link set peer up",
        ]
        script = "set -e\n" + "\n".join(setup) + "\nset +e\n"
        script += "\n".join(f"{command}\nprintf '{_MARK!r}'".replace("''", "'") for command in commands)
        # A session of a controller is one that sshd started.
        shell = self.scratch / "sshd"
        shell.unlink(missing_ok=True)
        shell.symlink_to("/bin/sh")
        done = subprocess.run(
            ["unshare", "--mount", "--net", "--propagation=private", *self.own, str(shell), "-c", script],
            capture_output=True,
            text=True,
            check=False,
            env={
                **os.environ,
                "PATH": f"{self.programs}:{os.environ['PATH']}",
                "PYTHONPATH": str(REPOSITORY / ".collections"),
            },
        )
        assert done.returncode == 0, done.stderr
        self.errors = done.stderr
        return done.stdout.split(_MARK)[:-1]

    def result(self, output: str) -> dict[str, Any]:
        """Read the result of a module."""
        assert output, self.errors
        result: dict[str, Any] = json.loads(output)
        return result
