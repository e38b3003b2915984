# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds for all tests: the seed, and which tests run with every change and which in the long run only.

A run with every change deselects the tests that are marked long; the long run selects them, and has
HYPOTHESIS_PROFILE=long. Two kinds of tests belong to both:

- Of the cases of a test that is marked ``some(number)``, a run with every change takes so many, chosen by the
  seed, and the long run takes all.
- Properties have the same examples in all runs with every change, and many more of the seed in the long run.
"""

from __future__ import annotations

import os

import pytest

from tests.seed import SEED, VARIABLE, chance

LONG_PROPERTIES = os.environ.get("HYPOTHESIS_PROFILE") == "long"


def pytest_report_header() -> str:
    """Print the seed."""
    return f"seed: {SEED} ({VARIABLE}={SEED} repeats what was left to chance)"


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Let hypothesis have the seed, unless another one was asked for."""
    if LONG_PROPERTIES and config.option.hypothesis_seed is None:
        config.option.hypothesis_seed = str(SEED)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark as long what this run does not take, or takes for being the long one."""
    families: dict[tuple[str, int], list[pytest.Item]] = {}
    for item in items:
        if LONG_PROPERTIES and getattr(getattr(item, "function", None), "is_hypothesis_test", False):
            item.add_marker(pytest.mark.long)
        for mark in item.iter_markers("some"):
            families.setdefault((item.nodeid.partition("[")[0], *mark.args), []).append(item)
    for (name, number), cases in families.items():
        chosen: list[pytest.Item] = []
        if "not long" in config.option.markexpr:
            chosen = chance(name).sample(cases, min(number, len(cases)))
        for item in cases:
            if item not in chosen:
                item.add_marker(pytest.mark.long)
