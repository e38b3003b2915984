# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a command that failed is said to have said."""

from __future__ import annotations

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._common.commands import CommandError, output_of


@pytest.mark.parametrize(
    ("output", "errors", "message"),
    [
        ("", "no such file\n", "'ctr images pull x' ended with 1: no such file"),
        ("not found", "", "'ctr images pull x' ended with 1: not found"),
        ("not found", "\n", "'ctr images pull x' ended with 1: not found"),
        ("", "", "'ctr images pull x' ended with 1: it said nothing"),
        ("", "layer 1\nlayer 2\n  no route\n", "'ctr images pull x' ended with 1: no route"),
    ],
)
def test_the_last_line_of_a_failure(output: str, errors: str, message: str) -> None:
    with pytest.raises(CommandError) as caught:
        output_of(lambda command: (1, output, errors), ["ctr", "images", "pull", "x"], last_line=True)
    assert str(caught.value) == message


def test_all_that_a_failure_said() -> None:
    with pytest.raises(CommandError, match=r"'apt' ended with 100: one\ntwo; look there"):
        output_of(lambda command: (100, "", "one\ntwo\n"), ["apt"], remedy="look there")
    assert output_of(lambda command: (5, "all well", ""), ["systemctl"], accepted=(0, 5)) == "all well"
