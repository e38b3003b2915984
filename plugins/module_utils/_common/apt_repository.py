# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A signed repository that apt gets beside those of the system."""

from __future__ import annotations

import glob
import os
import tempfile
from collections.abc import Callable
from typing import NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._common import apt, apt_sources
from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.commands import Runner
from ansible_collections.bramble.pi.plugins.module_utils._common.download import download, unproved
from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text, write_text

_OTHER_SOURCES = (
    "/etc/apt/sources.list",
    "/etc/apt/sources.list.d/*.list",
    "/etc/apt/sources.list.d/*.sources",
)
#: By itself apt-get update takes an unreachable repository for a warning.
_FAIL_ON_ERRORS = ["-o", "APT::Update::Error-Mode=any"]


class Key(NamedTuple):
    """What proves the packages of a repository."""

    url: str
    #: Where it is kept.
    path: str
    #: What has its address, and the address of the repository, for messages.
    variable: str
    variables: str
    #: What to set to a URL that begins with https://.
    remedy: str


class AptRepository:
    """A repository at a URL, by a source of apt: the file ``path``, which says ``text``."""

    def __init__(
        self,
        *,
        path: str,
        text: str,
        url: str,
        key: Key,
        run: Runner,
        warn: Callable[[str], None],
        changes: Changes,
        root: str = "",
    ) -> None:
        self.path = path
        self.text = text
        self.url = url
        self.key = key
        self.run = run
        self.warn = warn
        self.changes = changes
        #: Put before paths, as changes does; tests give a folder.
        self.root = root
        #: What was in the files that were written, {path: text}, until apt has read the lists of it.
        self.before: dict[str, str | None] = {}
        #: Only this repository; the lists of the others are left as they are.
        self.only = ["-o", f"Dir::Etc::sourcelist={path}", "-o", "Dir::Etc::sourceparts=/dev/null"]

    def others(self) -> dict[str, str]:
        """Return the other sources of apt, {path: text}."""
        paths = [
            path for pattern in _OTHER_SOURCES for path in sorted(glob.glob(pattern)) if path != self.path
        ]
        return {path: read_text(path) or "" for path in paths}

    def ensure(self, *, refresh: bool) -> None:
        """Set it up; its key is fetched again whenever it is going to be used."""
        there = read_text(self.root + self.key.path) is not None
        changed = read_text(self.root + self.path) != self.text
        if refresh or changed:
            self._refuse_what_apt_refuses()
        if refresh or not there or changed:
            if not self.changes.check_mode:
                self._write(self.key.path, self.fetch_key())
            elif not there:
                self.changes.note(f"write {self.key.path}")
        self._write(self.path, self.text)

    def _write(self, path: str, text: str) -> None:
        before = read_text(self.root + path)
        if self.changes.write(path, text) and not self.changes.check_mode:
            self.before[path] = before

    def _refuse_what_apt_refuses(self) -> None:
        """Have apt read all sources with ours among them, before ours is written."""
        others = self.others()
        with tempfile.TemporaryDirectory() as folder:
            for path in others:
                if os.path.basename(os.path.dirname(path)) == "sources.list.d":
                    os.symlink(path, os.path.join(folder, os.path.basename(path)))
            ours = os.path.join(folder, os.path.basename(self.path))
            with open(ours, "w", encoding="utf-8") as file:
                file.write(self.text)
            command = ["apt-get", "indextargets", "-o", f"Dir::Etc::sourceparts={folder}"]
            code, _output, errors = self.run(command)
        if code != 0:
            raise apt_sources.AptSourceError(
                apt_sources.refusal(
                    errors=errors.replace(folder, os.path.dirname(self.path)),
                    source=self.path,
                    others=apt_sources.naming(files=others, url=self.url),
                )
            )

    def fetch_key(self) -> str:
        """Download the key."""
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, os.path.basename(self.key.path))
            download(url=self.key.url, path=path, variable=self.key.variables)
            text = read_text(path) or ""
        apt_sources.check_key(text=text, url=self.key.url, variable=self.key.variable)
        for warning in unproved(url=self.key.url, sha256=None, remedy=self.key.remedy):
            self.warn(f"{warning}. apt believes whoever signs with this key")
        return text

    def update(self) -> None:
        """Fetch its lists; if that fails, undo what was written, with which no apt-get update works."""
        options = [*self.only, *("-o", "APT::Get::List-Cleanup=false"), *_FAIL_ON_ERRORS]
        try:
            apt.update(run=self.run, options=options)
        except apt.AptError as error:
            if not self.before:
                raise
            raise apt.AptError(f"{error}\n{self._undo()}") from error
        self.before = {}

    def _undo(self) -> str:
        paths = list(self.before)
        for path, text in self.before.items():
            if text is None:
                os.unlink(self.root + path)
            else:
                write_text(self.root + path, text)
        self.before = {}
        self.changes.note(f"undo {', '.join(paths)}")
        return f"Undone, as apt-get update fails with it: {', '.join(paths)}"
