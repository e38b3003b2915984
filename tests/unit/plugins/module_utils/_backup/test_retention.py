# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._backup import retention
from hypothesis import given
from hypothesis import strategies as st

CA_HASH = "sha256:0fffefc56e995a82f8966f6d22d96bbe4ad95e32bfaa7f7a591a1fb935e9a206"
NOW = datetime(2026, 10, 1, 12, 0, 0, tzinfo=timezone.utc)
MEBIBYTE = 1024 * 1024
AGE_KEY = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"


OWNER = retention.owner(ca_cert_hash=CA_HASH, node="pi-1")


def name(**ago: int) -> str:
    return retention.file_name(owner=OWNER, created=NOW - timedelta(**ago))


def test_a_name_says_of_which_cluster_and_when() -> None:
    assert name() == "bramble-20261001T120000Z-0fffefc56e99-pi-1.tar.gz.age"
    assert retention.created_of(name(), owner=OWNER) == NOW


def test_the_newest_is_the_last_in_order_whatever_its_cluster() -> None:
    names = [
        retention.file_name(owner=retention.owner(ca_cert_hash=each * 64, node="pi-1"), created=created)
        for each, created in (("f", NOW - timedelta(days=1)), ("0", NOW))
    ]
    assert max(names) == names[1]


@pytest.mark.parametrize(
    "other",
    [
        "notes.txt",
        "bramble-20261001T120000Z-0fffefc56e99-pi-1.tar.gz.age.part",
        "bramble-20261301T120000Z-0fffefc56e99-pi-1.tar.gz.age",
        "bramble-20261001T120000Z-0fffefc56e99-pi-1.tar.gz",
        # Of another cluster, and of other nodes that use the folder.
        "bramble-20261001T120000Z-1fffefc56e99-pi-1.tar.gz.age",
        "bramble-20261001T120000Z-0fffefc56e99-pi-10.tar.gz.age",
        "bramble-20261001T120000Z-0fffefc56e99-my-pi-1.tar.gz.age",
    ],
)
def test_other_files_are_no_backups_and_stay(other: str) -> None:
    assert retention.created_of(other, owner=OWNER) is None
    assert (
        retention.superfluous(names=[other, name()], owner=OWNER, newest=name(), now=NOW, keep=1, days=1)
        == []
    )


@pytest.mark.parametrize(
    ("keep", "days", "gone"),
    [
        (9, 30, []),
        (3, 30, [name(days=3)]),
        (1, 30, [name(days=1), name(days=2), name(days=3)]),
        (9, 2, [name(days=3)]),
        (9, 1, [name(days=2), name(days=3)]),
    ],
)
def test_what_goes(keep: int, days: int, gone: list[str]) -> None:
    names = [name(), name(days=1), name(days=2), name(days=3)]
    assert retention.superfluous(
        names=names, owner=OWNER, newest=name(), now=NOW, keep=keep, days=days
    ) == sorted(gone)


@given(
    hours=st.sets(st.integers(-5000, 5000), max_size=40),
    keep=st.integers(1, 20),
    days=st.integers(1, 100),
)
def test_the_newest_stays_and_never_more_than_asked_for(hours: set[int], keep: int, days: int) -> None:
    """A clock may have been wrong: then there are some of a time to come."""
    names = {name(hours=each) for each in hours} | {name(), "notes.txt"}
    gone = retention.superfluous(names=names, owner=OWNER, newest=name(), now=NOW, keep=keep, days=days)
    kept = names - set(gone)
    assert {name(), "notes.txt"} <= kept
    assert len(kept) - 1 <= keep
    # What goes is never younger than what stays, the one just made aside.
    others = [each for each in kept if retention.created_of(each, owner=OWNER) and each != name()]
    assert all(old < young for old in gone for young in others)


@pytest.mark.parametrize(
    ("needed", "available", "fits"),
    [(10, 20, True), (10, 19, False), (0, 10, True), (0, 9, False), (200, 100, False)],
)
def test_a_tenth_of_the_disk_stays_free(needed: int, available: int, fits: bool) -> None:
    problem = retention.disk_problem(
        folder="/backups",
        needed=needed * MEBIBYTE,
        available=available * MEBIBYTE,
        size=100 * MEBIBYTE,
    )
    assert (problem is None) == fits
    if problem:
        assert f"/backups has {available} MiB free; expected {needed + 10} MiB" in problem
        assert "backup_keep" in problem


def test_memory() -> None:
    needed = retention.memory_needed(database=50 * MEBIBYTE)
    assert needed == 292 * MEBIBYTE
    assert retention.memory_problem(needed=needed, available=needed + 64 * MEBIBYTE) is None
    problem = retention.memory_problem(needed=needed, available=needed + 63 * MEBIBYTE)
    assert problem is not None
    assert "355 MiB; expected 356 MiB" in problem


def test_compressed_memory_is_no_disk() -> None:
    swaps = "Filename\tType\n/dev/zram0\tpartition\t1\n/var/swap\tfile\t2\n/dev/mmcblk0p3\tpartition\t3\n"
    for backing in ({}, {"zram0": "none\n"}):
        found = retention.swaps_to_disk(swaps=swaps, backing=backing.get)
        assert found == ["/var/swap", "/dev/mmcblk0p3"]
    assert retention.swaps_to_disk(swaps="Filename\tType\n", backing=lambda _name: None) == []


def test_compressed_memory_that_writes_to_a_disk_is_one() -> None:
    swaps = "Filename\tType\n/dev/zram0\tpartition\t1\n"
    found = retention.swaps_to_disk(swaps=swaps, backing={"zram0": "/dev/mmcblk0p4\n"}.get)
    assert found == ["/dev/zram0"]


@pytest.mark.parametrize(
    "recipient",
    [AGE_KEY, "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFoo me@example.org", "ssh-rsa AAAAB3NzaC1yc2E="],
)
def test_recipients(recipient: str) -> None:
    assert retention.recipient_problems([recipient]) == []


def test_no_recipient_no_backup() -> None:
    (problem,) = retention.recipient_problems([])
    assert "backup_recipients is empty; expected" in problem
    assert "age-keygen" in problem


@pytest.mark.parametrize("other", ["", "me@example.org", "--output=/etc/shadow", "age1", f"{AGE_KEY} -o x"])
def test_other_recipients_are_refused(other: str) -> None:
    (problem,) = retention.recipient_problems([other, AGE_KEY])
    assert problem.startswith(f"backup_recipients has {other!r}; expected age1...")


def test_an_identity_in_the_place_of_a_recipient_is_not_shown() -> None:
    identity = "AGE-SECRET-KEY-1QQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQ"
    (problem,) = retention.recipient_problems([identity])
    assert "QQQ" not in problem
