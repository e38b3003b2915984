# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.own_packages import OwnPackages

#: What each package brings along.
NEEDS = {"prometheus": ["libjs-moment"], "exporter": []}


class Debian:
    """Packages, as dpkg and apt-get have them."""

    def __init__(self, *installed: str) -> None:
        self.installed = set(installed)
        self.wanted_by_others: set[str] = set()
        self.killed = False

    def run(self, command: list[str]) -> tuple[int, str, str]:
        if command[0] == "dpkg-query":
            return 0, "".join(f"{name}\tii \t1\n" for name in sorted(self.installed)), ""
        if "install" in command:
            if self.killed:
                raise KeyboardInterrupt
            names = [name for name in command if name in NEEDS]
            self.installed |= {*names, *(other for name in names for other in NEEDS[name])}
        if "purge" in command:
            self.installed -= set(command[command.index("--yes") + 1 :])
        if "autoremove" in command:
            assert "--simulate" in command
            left = {"libjs-moment", "foreign"} & self.installed - self.wanted_by_others
            return 0, "".join(f"Remv {name} [1]\n" for name in left), ""
        return 0, "", ""


def own(debian: Debian, record: Path, *, check: bool = False) -> tuple[OwnPackages, Changes]:
    changes = Changes(check_mode=check)
    return OwnPackages(run=debian.run, changes=changes, record=str(record)), changes


def test_what_was_brought_goes_and_nothing_else(tmp_path: Path) -> None:
    debian, record = Debian("exporter", "foreign"), tmp_path / "record"
    packages, changes = own(debian, record, check=True)
    assert packages.ensure(["exporter", "prometheus"])
    assert changes.sentences == ["install prometheus"]
    assert (debian.installed, record.exists()) == ({"exporter", "foreign"}, False)
    packages, _changes = own(debian, record)
    assert packages.ensure(["exporter", "prometheus"])
    assert not packages.ensure(["exporter", "prometheus"])
    assert debian.installed == {"exporter", "foreign", "prometheus", "libjs-moment"}
    packages, changes = own(debian, record)
    packages.remove()
    assert debian.installed == {"exporter", "foreign"}
    assert not record.exists()
    packages, changes = own(debian, record)
    packages.remove()
    assert not changes


def test_what_another_package_wants_stays(tmp_path: Path) -> None:
    debian, record = Debian(), tmp_path / "record"
    own(debian, record)[0].ensure(["prometheus"])
    debian.wanted_by_others = {"libjs-moment"}
    own(debian, record)[0].remove()
    assert debian.installed == {"libjs-moment"}


def test_a_run_that_is_killed_has_noted_what_it_installs(tmp_path: Path) -> None:
    debian, record = Debian(), tmp_path / "record"
    debian.killed = True
    with pytest.raises(KeyboardInterrupt):
        own(debian, record)[0].ensure(["prometheus"])
    debian.killed = False
    debian.installed = {"prometheus"}
    own(debian, record)[0].remove()
    assert debian.installed == set()
