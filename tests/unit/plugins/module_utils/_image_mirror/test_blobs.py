# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from datetime import datetime, timezone

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._image_mirror import blobs
from ansible_collections.bramble.pi.plugins.module_utils._image_mirror.blobs import Blob, Use

DIGEST = f"sha256:{'0a' * 32}"
TIME = datetime(2026, 11, 30, 19, 48, 58, tzinfo=timezone.utc).timestamp()


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("8GB", 8 * 10**9),
        ("500MB", 500 * 10**6),
        ("1TB", 10**12),
        ("0GB", None),
        ("8", None),
        ("8 GB", None),
        ("8GiB", None),
        ("much", None),
        ("", None),
    ],
)
def test_sizes(text: str, size: int | None) -> None:
    assert blobs.size_of(text) == size


@pytest.mark.parametrize(
    ("total", "left"), [(10 * 10**9, 500 * 10**6), (20 * 10**9, 10**9), (2 * 10**12, 10**9)]
)
def test_what_is_left_to_others(total: int, left: int) -> None:
    assert blobs.reserve(total) == left


def line(asked: str, *, status: int = 200, time: str = "30/Nov/2026:19:48:58 +0000") -> str:
    return f'10.0.0.7 - - [{time}] "{asked} HTTP/1.1" {status} 418 "" "containerd/1.7.24~ds1"'


@pytest.mark.parametrize(
    ("text", "use"),
    [
        (line(f"GET /v2/a/b/blobs/{DIGEST}"), Use("a/b", "blobs", DIGEST, TIME)),
        (line("HEAD /v2/pause/manifests/3.10?ns=registry.k8s.io"), Use("pause", "manifests", "3.10", TIME)),
        (
            line("GET /v2/a/manifests/v1", time="30/Nov/2026:20:48:58 +0100"),
            Use("a", "manifests", "v1", TIME),
        ),
        (line(f"GET /v2/a/blobs/{DIGEST}", status=206), Use("a", "blobs", DIGEST, TIME)),
        (line("GET /v2/a/manifests/v1", status=404), None),
        (line("PUT /v2/a/manifests/v1", status=201), None),
        (line("GET /v2/"), None),
        # What others write into the log leads nowhere else.
        (line("GET /v2/../../etc/manifests/v1"), None),
        (line("GET /v2/a/manifests/../../../../etc"), None),
        (line("GET /v2/a/manifests/v1", time="31/Feb/2026:19:48:58 +0000"), None),
        ('time="2026-11-30T19:48:58Z" level=warning msg="GET /v2/a/manifests/v1 HTTP/1.1"', None),
    ],
)
def test_what_a_log_tells(text: str, use: Use | None) -> None:
    assert list(blobs.uses([text])) == ([use] if use else [])


def test_the_parts_of_an_image() -> None:
    other = DIGEST.replace("0a", "0b")
    manifest = {"config": {"digest": DIGEST}, "layers": [{"digest": other}, {"digest": "../../x"}]}
    assert blobs.parts_of(json.dumps(manifest).encode()) == [DIGEST, other]
    for text in (
        b"{}",
        b"",
        b"[1]",
        b'{"manifests": []}',
        b'{"config": {"digest": 1}, "layers": []}',
        b"\xff",
    ):
        assert blobs.parts_of(text) == []


BLOBS = [
    Blob("/c", "c", 30, 3.0),
    Blob("/a", "a", 10, 1.0),
    Blob("/d", "d", 40, 4.0),
    Blob("/b", "b", 20, 1.0),
]


@pytest.mark.parametrize(
    ("excess", "gone"),
    [(-5, ""), (0, ""), (1, "a"), (10, "a"), (11, "ab"), (31, "abc"), (1000, "abcd")],
)
def test_what_was_used_least_recently_goes_first(excess: int, gone: str) -> None:
    assert "".join(blob.digest for blob in blobs.surplus(BLOBS, excess=excess)) == gone
