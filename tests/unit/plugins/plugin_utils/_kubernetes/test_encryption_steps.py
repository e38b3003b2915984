# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role encryption makes of what it has read."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import encryption
from ansible_collections.bramble.pi.plugins.plugin_utils._kubernetes.encryption_steps import step

SECRETS = {1: b"a" * encryption.KEY_BYTES, 2: b"b" * encryption.KEY_BYTES}
KEYS = {
    encryption.name_of(secret, number=number): base64.b64encode(secret).decode()
    for number, secret in SECRETS.items()
}
K1, K2 = KEYS
PLAIN = "identity"


def text(*providers: str) -> str:
    return encryption.dumped(providers=providers, keys=KEYS)


def read(host: str, *providers: str, current: bool = True) -> dict[str, Any]:
    return {"item": host, "present": True, "configuration": text(*providers), "current": current}


ABSENT = {"item": "pi-3", "present": False, "configuration": "", "current": False}
DEAD = {"item": "pi-2", "unreachable": True, "msg": "No route to host"}
FAILED = {"item": "pi-2", "failed": False, "msg": "encryption.json is not there"}


@pytest.mark.parametrize(
    ("results", "rotate", "expected"),
    [
        ([ABSENT], False, {"done": True, "problem": "", "message": "", "host": ""}),
        (
            [read("pi-1", PLAIN), ABSENT],
            False,
            {
                "new_key": 1,
                "host": "pi-1",
                "message": "key 1 is made on pi-1, which reads by it from then on",
            },
        ),
        (
            [read("pi-1", PLAIN, K1), read("pi-2", PLAIN)],
            False,
            {
                "configurations": {"pi-2": text(PLAIN, K1)},
                "message": f"pi-2 writes secrets by identity, and reads by {K1} too",
            },
        ),
        (
            [read("pi-1", K2), read("pi-2", K2, K1)],
            False,
            {
                "rewrite": True,
                "remember": True,
                "configurations": {"pi-2": text(K2)},
                "message": f"all secrets are rewritten; pi-2 writes secrets by {K2} alone",
            },
        ),
        ([read("pi-1", K1, current=False)], False, {"configurations": {"pi-1": text(K1)}}),
        # Nothing is left to do, whatever the one that is off has.
        ([read("pi-1", K1), DEAD], False, {"done": True, "problem": ""}),
        (
            [read("pi-1", K1), DEAD],
            True,
            {
                "done": True,
                "problem": "pi-2: No route to host; expected all control planes, as each has to read what"
                " the others write: bring them up, or take them out of the group control_plane, and run this"
                " again",
            },
        ),
        ([read("pi-1", K1), FAILED], False, {"done": True, "problem": "pi-2: encryption.json is not there"}),
    ],
)
def test_the_next_step(results: list[dict[str, Any]], rotate: bool, expected: dict[str, Any]) -> None:
    found = step(results, encrypt=True, rotate=rotate)
    assert {name: found[name] for name in expected} == expected
    assert not any(secret in found["message"] + found["problem"] for secret in KEYS.values())


def test_a_file_of_somebody_else_is_a_problem() -> None:
    found = step([{**read("pi-1", K1), "configuration": "PLANTED"}], encrypt=True, rotate=False)
    assert found["done"]
    assert "expected what bramble.pi.encryption writes" in found["problem"]
    assert "PLANTED" not in found["problem"]
