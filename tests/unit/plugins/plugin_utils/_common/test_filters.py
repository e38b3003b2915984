# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.plugin_utils._common.filters import filter_errors


def test_an_error_for_the_user_is_ansible_s_own() -> None:
    @filter_errors()
    def plain(text: str) -> str:
        raise BrambleError(f"{text} is wrong")

    @filter_errors(subject="the file")
    def named(text: str) -> str:
        raise BrambleError(f"{text} is wrong")

    for function, message in ((plain, "line 2 is wrong"), (named, "the file: line 2 is wrong")):
        with pytest.raises(AnsibleFilterError) as caught:
            function("line 2")
        assert caught.value.message == message


def test_a_fault_of_the_collection_stays_one() -> None:
    @filter_errors()
    def broken(value: int) -> float:
        return 1 / value

    assert broken(2) == 0.5
    with pytest.raises(ZeroDivisionError):
        broken(0)
