# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is left to chance is chosen by the seed, and all of it belongs to the long run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KILLS = "tests/unit/plugins/modules/test_netboot_tree.py"


def collect(path: str, *arguments: str, **environment: str) -> tuple[set[str], str]:
    """Return the tests that a run takes, and all that pytest said."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", path, *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return {line for line in done.stdout.splitlines() if line.startswith(path)}, done.stdout


def test_each_change_gets_some_and_the_long_run_all() -> None:
    kills = {name for name in collect(KILLS)[0] if "killed" in name}
    chosen = {
        seed: collect(KILLS, "-m", "not long", BRAMBLE_TEST_SEED=seed)[0] & kills for seed in ("1", "2")
    }
    assert [len(names) for names in chosen.values()] == [8, 8]
    assert chosen["1"] != chosen["2"]
    assert collect(KILLS, "-m", "not long", BRAMBLE_TEST_SEED="1")[0] & kills == chosen["1"]
    assert collect(KILLS, "-m", "long")[0] == kills
