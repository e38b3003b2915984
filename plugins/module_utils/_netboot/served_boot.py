# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The boot partition of a node on its server, which the node writes to as well."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ansible_collections.bramble.pi.plugins.module_utils._boot.folder import FolderBoot
from ansible_collections.bramble.pi.plugins.module_utils._boot.storage import STAGING, plan_change
from ansible_collections.bramble.pi.plugins.module_utils._netboot.tree_files import TreeFiles


class ServedBoot(FolderBoot):
    """A folder that is served as a boot partition; a link in it is replaced, and never followed."""

    def __init__(self, *, path: str) -> None:
        super().__init__(path=path)
        self._tree = TreeFiles(root=path, dry_run=False)

    def _walk(self) -> Iterator[str]:
        yield from self._tree.walk()

    def read(self, name: str) -> bytes | None:
        there = self._names().file(name, self.where)
        return self._tree.read_bytes(there) if there else None

    def change(
        self, *, write: Mapping[str, bytes], remove: Sequence[str] = (), dry_run: bool = False
    ) -> None:
        plan = plan_change(self._names(), write, remove, self.where)
        self._require_room(plan)
        if dry_run:
            return
        self._listing = None
        self._tree.remove_folder(STAGING)
        for folder in plan.new_folders:
            self._tree.folder(folder.rstrip("/"))
        for folder, files in plan.groups:
            for base, data in files.items():
                self._tree.write_bytes(f"{folder}{base}", data)
        for name in plan.remove:
            self._tree.remove(name)
