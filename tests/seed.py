# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Chance in tests, which can be repeated: all of it comes from one seed, which each run prints."""

from __future__ import annotations

import os
import random

VARIABLE = "BRAMBLE_TEST_SEED"
#: Set in the environment, so that all processes of a run have the same one.
SEED = int(os.environ.setdefault(VARIABLE, str(random.SystemRandom().randrange(10**9))))


def chance(name: str) -> random.Random:
    """Return the chance of one test, whatever other tests run beside it."""
    return random.Random(f"{SEED} {name}")
