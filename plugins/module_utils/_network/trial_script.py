# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A change that takes itself back unless somebody confirms it: the dead man's switch.

The node does it alone, in a unit of its own that has nothing to do with the connection that started it.
Whether the change is confirmed or taken back is decided by who renames the file C(pending) first. A node that
is switched off in between finds the old files at its next boot.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

DIRECTORY = "/var/lib/bramble/network-trial"
# What was taken back: the trial's identifier, and why.
RECORD = "/var/lib/bramble/network-taken-back"
# Each trial has a unit of its own: the last one stays known to systemd while a DHCP client lives in it.
UNITS = "bramble-network-trial-*.service"
BOOT_UNIT = "/etc/systemd/system/bramble-network-restore.service"
BOOT_LINK = "/etc/systemd/system/sysinit.target.wants/bramble-network-restore.service"

BOOT_UNIT_TEXT = f"""[Unit]
Description=Take back a change of the network that was not confirmed
DefaultDependencies=no
RequiresMountsFor=/etc {DIRECTORY}
After=local-fs.target systemd-remount-fs.service
Before=network-pre.target networking.service NetworkManager.service systemd-networkd.service dhcpcd.service
Before=shutdown.target
Conflicts=shutdown.target
Wants=network-pre.target

[Service]
Type=oneshot
ExecStart=/bin/sh {DIRECTORY}/switch restore
"""


def command(*alternatives: Sequence[str]) -> str:
    """Write a command for the script, each with its time limit; the next is tried if one fails."""
    return " || ".join(f"timeout 30 {shlex.join(alternative)}" for alternative in alternatives)


def _function(name: str, commands: Sequence[str]) -> str:
    lines = "\n".join(f"  {line}" for line in commands or [":"])
    return f"{name}() {{\n{lines}\n}}\n"


def script(
    *,
    identifier: str,
    timeout: int,
    session: int,
    before: Sequence[str],
    after: Sequence[str],
    restore_before: Sequence[str],
    restore_after: Sequence[str],
    regenerate: Sequence[str],
) -> str:
    """Write what the node runs."""
    functions = "\n".join(
        _function(name, commands)
        for name, commands in (
            ("before", before),
            ("after", after),
            ("restore_before", restore_before),
            ("restore_after", restore_after),
            ("regenerate", regenerate),
        )
    )
    return f"""#!/bin/sh
# Written by the collection bramble.pi, for one change of the network.
# try: make the change, and take it back unless it is confirmed in time
# revert: take it back now
# restore: put the old files back, at boot
trial={DIRECTORY}
export LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin

{functions}
put() {{ # old or new
  while read -r path; do
    if [ -e "$trial/$1$path" ]; then
      mkdir -p "${{path%/*}}"
      # No program reads a file whose name begins with a dot.
      cp -p "$trial/$1$path" "${{path%/*}}/.bramble-new" && mv -f "${{path%/*}}/.bramble-new" "$path"
    else
      rm -f "$path"
    fi
  done <"$trial/files"
  sync
}}

taken_back() {{
  {{ echo {identifier} && echo "$1"; }} >{RECORD}
  rm -f {BOOT_LINK} {BOOT_UNIT}
  rm -rf "$trial"
}}

now() {{ cut -d. -f1 /proc/uptime; }}

revert() {{
  restore_before
  put old
  restore_after
  taken_back "$1"
}}

case $1 in
try)
  # The answer that the change is being tried goes out over the old path; this process ends after it.
  waited=0
  while [ -e /proc/{session} ] && [ "$waited" -lt 50 ]; do
    sleep 0.2
    waited=$((waited + 1))
  done
  sleep 1
  deadline=$(($(now) + {timeout}))
  before
  put new
  after
  : >"$trial/applied"
  while [ -e "$trial/pending" ] && [ "$(now)" -lt "$deadline" ]; do sleep 0.2; done
  if mv "$trial/pending" "$trial/expired" 2>/dev/null; then
    revert "it was not confirmed within {timeout} s"
  elif [ -e "$trial/rejected" ]; then
    sleep 1
    revert "$(cat "$trial/rejected")"
  fi
  ;;
revert) revert "the trial was cut short" ;;
restore)
  if [ -e "$trial/confirmed" ]; then
    rm -rf {BOOT_LINK} {BOOT_UNIT} "$trial"
  elif [ -e "$trial/files" ]; then
    put old
    regenerate
    taken_back "the node was started again before it was confirmed"
  fi
  ;;
esac
"""
