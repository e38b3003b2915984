# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._backup.manifest import (
    BackupError,
    Contents,
    File,
    Manifest,
    differences,
    disagreements,
    parse,
)
from hypothesis import given
from hypothesis import strategies as st

CONTENTS = Contents(revision=48211, keys=312, hash=2874356981, compact_revision=47000)
MANIFEST = Manifest(
    ca_cert_hash="sha256:0fffefc56e995a82f8966f6d22d96bbe4ad95e32bfaa7f7a591a1fb935e9a206",
    node="pi-1",
    created="2026-10-01T12:00:00Z",
    proved="2026-10-01T12:00:21Z",
    kubernetes="1.36.1",
    etcd="3.6.5",
    image="registry.k8s.io/etcd:3.6.5-0",
    members=("pi-1",),
    contents=CONTENTS,
    files={"etcd/snapshot.db": File("ab", 20480), "etc/kubernetes/admin.conf": File("cd", 5600)},
)


def test_written_and_read() -> None:
    assert parse(MANIFEST.dumped()) == MANIFEST


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"format": 1}', MANIFEST.dumped()[:-20], MANIFEST.dumped().replace('"keys"', '"kees"')],
)
def test_what_is_no_manifest(text: str) -> None:
    with pytest.raises(BackupError, match="cannot be read"):
        parse(text)


def test_a_newer_format_is_not_guessed_at() -> None:
    with pytest.raises(BackupError, match="format is 2; expected 1"):
        parse(MANIFEST.dumped().replace('"format": 1', '"format": 2'))


@given(cut=st.integers(0, 600))
def test_a_manifest_that_was_cut_off_is_refused(cut: int) -> None:
    text = MANIFEST.dumped().rstrip()
    with pytest.raises(BackupError):
        parse(text[: min(cut, len(text) - 1)])


def test_files_that_are_missing_too_many_or_changed() -> None:
    seen = {"etcd/snapshot.db": File("ef", 20480), "etc/shadow": File("", 0)}
    assert differences(manifest=MANIFEST, seen=MANIFEST.files) == []
    assert differences(manifest=MANIFEST, seen=seen) == [
        "etc/kubernetes/admin.conf is missing",
        "etc/shadow is not in the manifest",
        "etcd/snapshot.db is not what was backed up",
    ]


@pytest.mark.parametrize(
    ("restored", "found"),
    [
        (CONTENTS, []),
        # When history was removed makes no other store.
        (replace(CONTENTS, compact_revision=1), []),
        (replace(CONTENTS, hash=1), ["its hash is 1, that of the cluster 2874356981"]),
        (replace(CONTENTS, keys=311, revision=48210), ["its revision is 48210,", "its keys is 311,"]),
    ],
)
def test_disagreements(restored: Contents, found: list[str]) -> None:
    seen = disagreements(live=CONTENTS, restored=restored)
    assert [each.startswith(start) for each, start in zip(seen, found)] == [True] * len(found)
    assert len(seen) == len(found)
