# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets are rewritten while others write them; the real API server is in tests/e2e/test_encryption.py."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._common.commands import CommandError
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import apply_encryption
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.encryption import EncryptionError


class Api:
    """Stores secrets by a key, and as an API server leaves out what is stored by the first key already."""

    def __init__(self, stored: dict[str, str], meanwhile: Callable[[Api], None] = lambda _api: None) -> None:
        self.revisions = itertools.count(10)
        self.stored = stored
        self.versions = {name: str(next(self.revisions)) for name in stored}
        self.meanwhile = meanwhile
        self.replaced: list[list[str]] = []

    def write(self, name: str) -> None:
        self.stored[name] = "new"
        self.versions[name] = str(next(self.revisions))

    def ask_api(self) -> tuple[bool, bool]:
        return True, True

    def run(self, command: Sequence[str]) -> tuple[int, str, str]:
        items = [
            {"metadata": {"uid": name, "name": name, "namespace": "n", "resourceVersion": version}}
            for name, version in self.versions.items()
        ]
        assert "secrets" in command
        return 0, json.dumps({"items": items}), ""

    def feed(self, command: Sequence[str], text: str) -> None:
        names = []
        errors = []
        # Between the question and the answer.
        self.meanwhile(self)
        for each in json.loads(text)["items"]:
            name = each["metadata"]["uid"]
            names.append(name)
            if name not in self.stored:
                errors.append(f'Error from server (NotFound): secrets "{name}" not found')
            elif each["metadata"]["resourceVersion"] != self.versions[name]:
                errors.append(f'Error from server (Conflict): error when replacing "STDIN": "{name}"')
            elif name == "refused":
                errors.append('Error from server (Forbidden): admission webhook "x" denied the request')
            elif self.stored[name] != "new":
                self.write(name)
        self.replaced.append(sorted(names))
        if errors:
            lines = "\n".join(errors)
            raise CommandError(f"'{' '.join(command)}' ended with 1: {lines}")


def rewrite(api: Api, *, timeout: int = 60) -> int:
    return apply_encryption.rewrite(node=cast("Any", api), timeout=timeout)


@pytest.mark.parametrize(
    ("stored", "rewritten", "replaced"),
    [
        ({}, 0, []),
        ({"a": "new", "b": "new"}, 0, [["a", "b"]]),
        # The second time it is seen that they were left out.
        ({"a": "old", "b": "new", "c": "old"}, 2, [["a", "b", "c"], ["a", "c"]]),
    ],
)
def test_until_all_are_left_out(stored: dict[str, str], rewritten: int, replaced: list[list[str]]) -> None:
    api = Api(stored)
    assert rewrite(api) == rewritten
    assert set(api.stored.values()) <= {"new"}
    assert api.replaced == replaced


def once(change: Callable[[Api], Any]) -> Callable[[Api], None]:
    """Do something while the first ones are replaced."""

    def meanwhile(api: Api) -> None:
        if not api.replaced:
            change(api)

    return meanwhile


def test_one_that_is_written_meanwhile_is_looked_at_again() -> None:
    api = Api({"a": "old", "b": "old"}, once(lambda api: api.write("a")))
    rewrite(api)
    assert set(api.stored.values()) == {"new"}
    assert api.replaced == [["a", "b"], ["a", "b"]]


def test_one_that_is_deleted_meanwhile_is_not_missed() -> None:
    def delete(api: Api) -> None:
        del api.stored["a"], api.versions["a"]

    api = Api({"a": "old", "b": "old"}, once(delete))
    assert rewrite(api) == 1
    assert api.stored == {"b": "new"}


def test_what_is_refused_ends_it() -> None:
    api = Api({"a": "old", "refused": "old"})
    with pytest.raises(CommandError, match="admission webhook"):
        rewrite(api)


def test_one_that_is_written_all_the_time_ends_it_with_its_name() -> None:
    api = Api({"busy": "old"}, lambda api: api.write("busy"))
    with pytest.raises(
        EncryptionError, match=r"such as n/busy; expected a moment without: set encryption_timeout"
    ):
        rewrite(api, timeout=0)


def test_no_answer_is_no_empty_list(monkeypatch: pytest.MonkeyPatch) -> None:
    api = Api({"a": "old"})
    monkeypatch.setattr(api, "run", lambda _command: (0, "", ""))
    with pytest.raises(EncryptionError, match="printed nothing"):
        rewrite(api)
