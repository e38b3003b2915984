# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module refuses before it touches a file."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.run_module import run_module

ADA = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGYPBWtAFNQ5YQbNGYPo8DRBZu1sBFHZ1bCDFMK+3Gah ada@laptop"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"user": "nobody-such", "keys": [ADA]}, "no user 'nobody-such' on this node: set ssh_access_user"),
        (
            {"user": "root", "keys": [ADA, "hunter2"]},
            "keys, entry 2, is not a public key; expected a line of",
        ),
        (
            {"user": "root", "keys": [ADA.replace("3Gah ", " ")]},
            "keys, entry 1, is not a whole public key; expected a line of",
        ),
        (
            {"user": "root", "keys": [f"pi-1 {ADA}"]},
            "keys, entry 1, has something before the key that is no option of sshd; expected a line of",
        ),
    ],
)
def test_what_cannot_be_entered_is_refused(options: dict[str, Any], message: str) -> None:
    # In check mode, as a key that passes would let somebody in to this machine.
    result = run_module("authorized_keys", check=True, **options)
    assert result["failed"]
    assert message in result["msg"]
