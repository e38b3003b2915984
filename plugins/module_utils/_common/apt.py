# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packages of a node: what dpkg has, and apt-get, tried until it is done or cannot be."""

from __future__ import annotations

import re
import time
from typing import Callable, NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._common.commands import Runner
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError

#: needrestart would restart the services of containers on its own.
ENVIRONMENT = {"DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_SUSPEND": "1", "LC_ALL": "C.UTF-8"}
DPKG_QUERY = ["dpkg-query", "-W", "-f", "${Package}\t${db:Status-Abbrev}\t${Version}\n"]

# Unattended upgrades hold the lock for minutes on a Pi's first boot.
_APT_GET = ["apt-get", "-o", "DPkg::Lock::Timeout=300"]
_UPDATE = [*_APT_GET, "update"]
_INSTALL = [*_APT_GET, "install", "--yes", "--no-install-recommends", "-o", "Dpkg::Options::=--force-confold"]
# What an interrupted run has left without what it depends on is fixed by the same command.
FULL_UPGRADE = ["full-upgrade", "--yes", "--fix-broken"]
_FULL_UPGRADE = [*_APT_GET, *FULL_UPGRADE, "-o", "Dpkg::Options::=--force-confold"]
_CONFIGURE = ["dpkg", "--configure", "-a", "--force-confold"]

_LISTS_LOCKED = "Could not get lock /var/lib/apt/lists/lock"
_LOCK_ATTEMPTS = 60
_LOCK_PAUSE = 5.0

# What was seen when apt failed: the command that fixes it, or None for new package lists.
_REMEDIES = (
    (re.compile(r"dpkg was interrupted|dpkg --configure -a"), _CONFIGURE),
    (
        re.compile(
            r"Unable to locate package|no installation candidate|was not found|unmet dependencies|"
            r"Failed to fetch|Unable to fetch"
        ),
        None,
    ),
)
#: apt does nothing at all then.
_NO_ARCHIVE = re.compile(r"The package (\S+) needs to be reinstalled, but I can't find an archive for it")
_CAUSE = re.compile(r"E: |Err:|W: GPG error|dpkg: error| *Depends: |.* : Depends: | *subprocess ")


class AptError(BrambleError):
    """A package that cannot be installed."""


class Package(NamedTuple):
    """A package as dpkg has it."""

    version: str
    held: bool
    #: Unpacked but not configured, or otherwise left half-way.
    broken: bool


def read_packages(*, text: str) -> dict[str, Package]:
    """Read the output of DPKG_QUERY; packages that were removed are left out."""
    packages: dict[str, Package] = {}
    for line in text.splitlines():
        name, status, version = line.split("\t")
        # Three letters: what is desired, what is there, and a blank or an R for an error.
        if status[1] not in "nc":
            packages[name] = Package(version, status[0] == "h", status[1:].strip() != "i")
    return packages


def failure_cause(*, output: str, error: str) -> str:
    """Pick the lines that say why apt failed out of a page of output, each with what goes on below it."""
    lines = [line.rstrip() for line in f"{output}\n{error}".splitlines() if line.strip()]
    causes: list[str] = []
    goes_on = False
    for line in lines:
        # The reason stands on a line of its own, indented: a name that is not known, who else has a file.
        goes_on = (goes_on and line[0].isspace()) or _CAUSE.match(line.strip()) is not None
        if goes_on:
            causes.append(line.strip())
    return "\n".join(causes or [line.strip() for line in lines[-5:]])


def update(*, run: Runner, options: list[str], sleep: Callable[[float], None] = time.sleep) -> None:
    """Fetch package lists."""
    for _attempt in range(_LOCK_ATTEMPTS):
        code, output, error = run([*_UPDATE, *options])
        if code == 0:
            return
        if _LISTS_LOCKED not in error:
            break
        # Unlike that of dpkg, apt does not wait for this lock itself.
        sleep(_LOCK_PAUSE)
    raise AptError(failure_cause(output=output, error=error))


def _reinstall(*, run: Runner) -> None:
    """Unpack again what dpkg was killed in: it does not configure that, and apt leaves it so."""
    rows = (line.split("\t") for line in run(DPKG_QUERY)[1].splitlines())
    halves = {name: version for name, status, version in rows if status.endswith("R")}
    if not halves:
        return
    # What else dpkg has begun comes first, and fails only for these.
    run(_CONFIGURE)
    if run([*_INSTALL, "--reinstall", *map("=".join, halves.items())])[0] != 0:
        # A version that no source has any more. If that fails too, so will what comes next, and says why.
        run([*_INSTALL, "--allow-change-held-packages", *halves])


def install(*, run: Runner, arguments: list[str]) -> None:
    """Install packages; finish what dpkg left half-way, fetch package lists that are missing or stale."""
    _try(run=run, command=[*_INSTALL, *arguments])


def full_upgrade(*, run: Runner) -> None:
    """Bring all packages to their newest version but those that are held, in the same way."""
    _try(run=run, command=_FULL_UPGRADE)


def _advice(error: str) -> str:
    """Return what the user has to decide, as apt does not say it."""
    found = _NO_ARCHIVE.search(error)
    if not found:
        return ""
    return (
        f" dpkg was killed while it unpacked {found[1]}, and no source of apt has it; expected one that"
        f" does: add its repository, or remove it by 'sudo dpkg --remove --force-remove-reinstreq {found[1]}'"
    )


def _try(*, run: Runner, command: list[str]) -> None:
    remedies = list(_REMEDIES)
    _reinstall(run=run)
    while True:
        code, output, error = run(command)
        if code == 0:
            return
        remedy = next((found for found in remedies if found[0].search(output + error)), None)
        if remedy is None:
            raise AptError(failure_cause(output=output, error=error) + _advice(error))
        remedies.remove(remedy)
        if remedy[1] is None:
            update(run=run, options=[])
        else:
            # If it fails, so will the next attempt, and that says what it needs.
            run(remedy[1])
