# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._backup import scratch

GIBIBYTE = 1 << 30


@pytest.mark.parametrize("whole", [True, False])
def test_what_a_killed_run_has_left_goes_before_memory_is_looked_at(
    whole: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes the memory that the next one needs."""
    left = [True]
    sizes = []

    def run(command: list[str]) -> tuple[int, str, str]:
        if command[0] == "umount":
            left.clear()
        if command[0] == "mount":
            sizes.append(command[4].partition("size=")[2].partition(",")[0])
        return 0, "", ""

    monkeypatch.setattr(scratch, "FOLDER", str(tmp_path / "memory"))
    monkeypatch.setattr(scratch.os.path, "ismount", lambda _path: bool(left))
    monkeypatch.setattr(scratch, "available_memory", lambda: 0 if left else GIBIBYTE)
    made = scratch.whole_memory(run=run) if whole else scratch.folder(run=run, size=GIBIBYTE // 2)
    with made:
        pass
    assert sizes == [str(GIBIBYTE - (128 << 20) if whole else GIBIBYTE // 2)]
