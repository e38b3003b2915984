# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A change that takes itself back unless somebody confirms it: the dead man's switch.

The node does it alone, in a unit of its own that has nothing to do with the connection that started it.
Whether the change is confirmed or reverted is decided by who renames the file C(pending) first. A node that
is switched off in between finds the old files at its next boot.

The way back needs no room on the disk: the old files and the new ones are laid beside the files that they are
for, and what was reverted is a file that is there before, so that all that is left is to rename.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

DIRECTORY = "/var/lib/bramble/network-trial"
# What was reverted: the trial's identifier, and why.
RECORD = "/var/lib/bramble/network-reverted"
# The last trial that was confirmed, with its identifier.
CONFIRMED_RECORD = "/var/lib/bramble/network-confirmed"
# Each trial has a unit of its own: the last one stays known to systemd while a DHCP client lives in it.
UNITS = "bramble-network-trial-*.service"
BOOT_UNIT = "/etc/systemd/system/bramble-network-restore.service"
BOOT_LINK = "/etc/systemd/system/sysinit.target.wants/bramble-network-restore.service"

BOOT_UNIT_TEXT = f"""[Unit]
Description=Revert a change of the network that was not confirmed
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


def staged(path: str, side: str) -> str:
    """Name the C(old) or the C(new) file beside one; no program reads a file whose name begins with a dot."""
    folder, _slash, name = path.rpartition("/")
    return f"{folder}/.{name}.bramble-{side}"


def record(*, identifier: str, reason: str) -> str:
    """Write what is told of a trial that was reverted."""
    return f"{identifier}\n{reason}\n"


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
# try: make the change, and revert it unless it is confirmed in time
# revert: revert it now
# restore: put the old files back, at boot
trial={DIRECTORY}
export LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin

{functions}
staged() {{ # old or new, file
  echo "${{2%/*}}/.${{2##*/}}.bramble-$1"
}}

# A file that is a mount point itself, as containers have them, cannot be replaced: it is rewritten.
replace() {{ # by this file, that file
  mv -f "$1" "$2" 2>/dev/null && return
  grep -qF " $2 " /proc/self/mountinfo && cat "$1" >"$2" && rm -f "$1"
}}

put() {{ # old or new; what is in place already stays
  failed=0
  while read -r was path; do
    copy=$(staged "$1" "$path")
    if [ -e "$copy" ]; then
      replace "$copy" "$path" || failed=1
    elif [ "$1" = old ] && [ "$was" = absent ]; then
      rm -f "$path" || failed=1
    fi
  done <"$trial/files" || failed=1
  sync
  return "$failed"
}}

# Without the list of its files nothing is a trial any more: it goes before what says how the trial ended.
forget() {{
  while read -r was path; do rm -f "$(staged old "$path")" "$(staged new "$path")"; done <"$trial/files"
  rm -f {BOOT_LINK} {BOOT_UNIT} "$trial/files"
  rm -rf "$trial"
}}

taken_back() {{
  # Where there is no room for the reason, the record without it is.
  {{ echo {identifier} && echo "$1"; }} >"$trial/reason" && mv -f "$trial/reason" "$trial/record"
  mv -f "$trial/record" {RECORD} && sync && forget
}} 2>/dev/null

now() {{ cut -d. -f1 /proc/uptime; }}

revert() {{
  restore_before
  tries=3
  until put old; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || break
    sleep 1
  done
  restore_after
  # What could not be put back is tried again by the next run, and at the next boot.
  [ "$tries" -gt 0 ] && taken_back "$1"
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
  if put new; then
    after
    mv "$trial/applying" "$trial/applied"
    while [ -e "$trial/pending" ] && [ "$(now)" -lt "$deadline" ]; do sleep 0.2; done
    reason="it was not confirmed within {timeout} s"
  else
    reason="the new files could not be put in place; see 'df -h' and 'dmesg'"
  fi
  # Who cannot rename it on a disk that takes nothing more cannot confirm it either.
  if mv "$trial/pending" "$trial/expired" 2>/dev/null || [ -e "$trial/pending" ]; then
    revert "$reason"
  elif [ -e "$trial/rejected" ]; then
    sleep 1
    revert "$(cat "$trial/rejected")"
  fi
  ;;
revert) revert "the trial was interrupted" ;;
restore)
  if [ -e "$trial/confirmed" ]; then
    ln -f "$trial/confirmed" {CONFIRMED_RECORD}
    forget
  elif [ -e "$trial/files" ]; then
    put old
    restored=$?
    regenerate
    [ "$restored" = 0 ] && taken_back "the node was started again before it was confirmed"
  fi
  ;;
esac
"""
