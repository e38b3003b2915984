# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.compatibility import KUBEADM_API_VERSIONS
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.extra_args import (
    Arguments,
    listed,
    merged,
    read,
    written,
)
from hypothesis import given
from hypothesis import strategies as st

PAIRS = st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("12")), max_size=5)
ONCE = st.dictionaries(st.sampled_from("abcd"), st.sampled_from("12"))


@pytest.mark.parametrize(
    ("below", "over", "result"),
    [
        ([], [], []),
        ([("a", "1")], [("b", "2")], [("a", "1"), ("b", "2")]),
        ([("a", "1"), ("b", "1")], [("a", "2")], [("a", "2"), ("b", "1")]),
        (
            [("a", "1"), ("b", "1"), ("a", "2")],
            [("a", "3"), ("a", "4")],
            [("a", "3"), ("a", "4"), ("b", "1")],
        ),
    ],
)
def test_merging_by_name(below: Arguments, over: Arguments, result: Arguments) -> None:
    assert merged(below, over) == result


@given(PAIRS, PAIRS)
def test_all_of_over_is_there_and_once_more_changes_nothing(below: Arguments, over: Arguments) -> None:
    result = merged(below, over)
    for name in {name for name, _value in [*below, *over]}:
        given_last = over if name in dict(over) else below
        assert [value for other, value in result if other == name] == [
            value for other, value in given_last if other == name
        ]
    assert merged(result, over) == result
    assert merged(result, [], removed=[name for name, _value in result]) == []


@given(ONCE, st.sampled_from([*KUBEADM_API_VERSIONS, "v1beta5", "v1"]))
def test_both_forms_say_the_same(arguments: dict[str, str], version: str) -> None:
    pairs = list(arguments.items())
    assert read(arguments) == read(listed(pairs)) == pairs
    assert read(written(pairs, version=version)) == pairs
