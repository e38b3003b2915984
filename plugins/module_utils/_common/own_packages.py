# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packages that a role brings and takes away again: those alone that it brought and nothing else wants."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence

from ansible_collections.bramble.pi.plugins.module_utils._common import apt
from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.commands import Runner, output_of
from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text, write_text

_REMOVED = re.compile(r"^(?:Remv|Purg) (\S+)", re.MULTILINE)


class OwnPackages:
    """The packages that a role has installed on this node, noted in a file."""

    def __init__(self, *, run: Runner, changes: Changes, record: str) -> None:
        self._run = run
        self._changes = changes
        self._record = record

    def _installed(self) -> set[str]:
        return set(apt.read_packages(text=output_of(self._run, apt.DPKG_QUERY)))

    def _noted(self) -> dict[str, list[str]]:
        try:
            found = json.loads(read_text(self._record) or "")
            return {"named": list(found["named"]), "others": list(found["others"])}
        except (ValueError, KeyError, TypeError):
            return {"named": [], "others": []}

    def _note(self, *, named: set[str], others: set[str]) -> None:
        text = json.dumps({"named": sorted(named), "others": sorted(others)}, indent=2)
        write_text(self._record, f"{text}\n", mode=0o600)

    def ensure(self, names: Sequence[str]) -> bool:
        """Install those that are missing, and tell whether there were any."""
        before = self._installed()
        missing = [name for name in names if name not in before]
        if not missing:
            return False
        if self._changes.note(f"install {', '.join(missing)}"):
            noted = self._noted()
            named = {*noted["named"], *missing}
            # Before, so that a run that is killed has them noted.
            self._note(named=named, others=set(noted["others"]))
            apt.install(run=self._run, arguments=missing)
            others = self._installed() - before - set(missing)
            self._note(named=named, others={*noted["others"], *others})
        return True

    def remove(self) -> None:
        """Remove those that are noted, with what came with them and nothing else wants."""
        noted = self._noted()
        installed = self._installed()
        named = sorted(installed & set(noted["named"]))
        if named and self._changes.note(f"remove {', '.join(named)}"):
            self._purge(named)
        if not self._changes.check_mode:
            unneeded = _REMOVED.findall(output_of(self._run, _UNNEEDED))
            others = sorted(set(noted["others"]) & set(unneeded))
            if others and self._changes.note(f"remove {', '.join(others)}"):
                self._purge(others)
        if os.path.exists(self._record) and self._changes.note(f"remove {self._record}"):
            os.unlink(self._record)

    def _purge(self, names: Sequence[str]) -> None:
        output_of(self._run, [*_APT, "purge", "--yes", *names])


_APT = ["apt-get", "-o", "DPkg::Lock::Timeout=300"]
# What others only suggest was brought for nobody else: these are packages that were not there before.
_UNNEEDED = [*_APT, "-o", "APT::AutoRemove::SuggestsImportant=false", "autoremove", "--simulate"]
