# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest

from tests.unit.run_module import run_module

AGE_KEY = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
IDENTITY = "AGE-SECRET-KEY-1QQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQ"


def test_check_mode_says_that_one_would_be_made() -> None:
    result = run_module("cluster_backup", check=True, recipients=[AGE_KEY])
    assert result["changed"] is True
    assert "backup" not in result


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"recipients": []}, "backup_recipients is empty; expected one recipient of age or more"),
        ({"recipients": ["me"]}, "backup_recipients has 'me'; expected age1..."),
        ({"recipients": [AGE_KEY], "keep": 0}, "backup_keep is 0; expected 1 or more"),
    ],
)
def test_what_is_refused_says_what_to_set(options: dict[str, Any], message: str) -> None:
    for check in (True, False):
        result = run_module("cluster_backup", check=check, **options)
        assert result["failed"] is True
        assert message in result["msg"]


def test_an_identity_that_is_none_is_not_shown() -> None:
    result = run_module("cluster_restore", src="/nowhere", identity=IDENTITY[15:])
    assert "set backup_identity_file to the file that age-keygen has written" in result["msg"]
    assert "QQQ" not in str(result)


def test_a_backup_that_is_not_there() -> None:
    result = run_module("cluster_restore", src="/nowhere", identity=IDENTITY)
    assert result["msg"] == "/nowhere is not there; expected a backup: set backup_restore_file"
    assert "QQQ" not in str(result)
