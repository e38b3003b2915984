# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a module changes: noted alike in check mode and for real, and done only for real."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._common.commands import Runner, output_of
from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text, write_text
from ansible_collections.bramble.pi.plugins.module_utils._common.secrets import file_diff


class Changes:
    """Keeps what was changed, or in check mode would be: a sentence for each, and the diffs of files.

    ``root`` is put before the paths of files; tests give a folder.
    """

    def __init__(self, *, check_mode: bool, run: Runner | None = None, root: str = "") -> None:
        self.check_mode = check_mode
        self.sentences: list[str] = []
        self.diffs: list[dict[str, str]] = []
        self._run = run
        self._root = root

    def __bool__(self) -> bool:
        """Tell whether anything was changed."""
        return bool(self.sentences)

    def note(self, sentence: str) -> bool:
        """Note a change, and tell whether it is to be made."""
        self.sentences.append(sentence)
        return not self.check_mode

    def write(
        self, path: str, text: str, *, mode: int = 0o644, sentence: str = "", secret: bool = False
    ) -> bool:
        """Give a file this content, and tell whether it had another; no diff shows one that is secret,
        nor keys and passwords in one that is not.

        The mode is that of a new file in octal; one that is there keeps its own.
        """
        before = read_text(self._root + path)
        if before == text:
            return False
        if not secret:
            self.show(path, before or "", text, private=self._is_private(path, mode))
        if self.note(sentence or f"write {path}"):
            write_text(self._root + path, text, mode=mode)
        return True

    def show(self, path: str, before: str, after: str, *, private: bool = False) -> None:
        """Note what ``--diff`` shows of a file, without the secrets in it."""
        self.diffs.append(file_diff(path=path, before=before, after=after, private=private))

    def _is_private(self, path: str, mode: int) -> bool:
        """Tell whether others may not read a file."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            mode = os.stat(self._root + path).st_mode
        return not mode & 0o004

    def do(self, sentence: str, *commands: Sequence[str], remedy: str = "") -> None:
        """Change something by commands, each of which has to succeed."""
        if self.note(sentence):
            if self._run is None:
                raise TypeError("Changes was made without run, and has commands to run")
            for command in commands:
                output_of(self._run, command, remedy=remedy)

    def result(self) -> dict[str, Any]:
        """Return the part of a module's result that tells of changes."""
        return {"changed": bool(self), "changes": self.sentences, "diff": self.diffs}
