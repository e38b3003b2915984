# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._common.values import is_sha256
from ansible_collections.bramble.pi.plugins.plugin_utils._add_ons import entries
from ansible_collections.bramble.pi.plugins.plugin_utils._add_ons.presets import PRESETS

SUM = "a" * 64
POOL = {"name": "metallb", "values": {"addresses": ["10.0.0.200-10.0.0.220"]}}


@pytest.mark.parametrize(
    ("given", "sources", "values"),
    [
        (
            {"name": "web", "manifest": "/srv/web.yml"},
            [entries.Source("file:///srv/web.yml", "")],
            {},
        ),
        (
            {"name": "web", "manifest": "https://example.com/web.yml", "sha256": SUM.upper()},
            [entries.Source("https://example.com/web.yml", SUM)],
            {},
        ),
        # A file's checksum is asked for by nobody, and checked where it is given.
        (
            {"name": "web", "manifest": ["/a.yml", "file:///b.yml"], "sha256": [SUM], "values": {"port": 80}},
            [entries.Source("file:///a.yml", SUM), entries.Source("file:///b.yml", "")],
            {"port": 80},
        ),
    ],
)
def test_own_add_ons(given: Any, sources: list[entries.Source], values: dict[str, Any]) -> None:
    (entry,) = entries.read([given])
    assert list(entry.sources) == sources
    assert entry.values == values
    assert list(entries.problems([given])) == []


def test_presets_are_pinned() -> None:
    for entry in entries.read([*(name for name in PRESETS if name != "metallb"), POOL]):
        for url, sha256 in entry.sources:
            path = entries.path_of(url)
            assert is_sha256(sha256) if path is None else path.startswith("/")


def test_a_preset_from_elsewhere_is_still_that_file() -> None:
    """So a rack without internet takes it from a disk, and a changed copy is refused."""
    (entry,) = entries.read([{**POOL, "manifest": "/srv/metallb-native.yaml"}])
    first, second = entry.sources
    assert first == entries.Source("file:///srv/metallb-native.yaml", str(PRESETS["metallb"]["sha256"]))
    assert second.url.endswith("/roles/add_ons/files/metallb-addresses.manifest")


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("metallb", "add_ons is the text 'metallb'; expected a list, such as [metallb]: set add_ons"),
        (
            ["metalb"],
            "metalb in add_ons has no manifest, and is none of csi-driver-nfs, metallb, metrics-server",
        ),
        (["metallb"], "addresses in values of metallb in add_ons is null; expected a value"),
        (
            [{"name": "metallb", "values": {"addresses": []}}],
            "addresses in values of metallb in add_ons is a lis",
        ),
        ([7], "add_ons has the number 7; expected one of csi-driver-nfs, metallb"),
        ([{"manifest": "/srv/web.yml"}], "add_ons has a mapping; expected one of"),
        (
            [{"name": "Web", "manifest": "/web.yml"}],
            "name in add_ons is 'Web'; expected at most 40 lower-case",
        ),
        (
            [{"name": "web", "manifest": "web.yml"}],
            "manifest of web in add_ons is 'web.yml'; expected a URL, or",
        ),
        (
            [{"name": "web", "manifest": 3}],
            "manifest of web in add_ons is the number 3; expected text or a list",
        ),
        (
            [{"name": "web", "manifest": "https://example.com/web.yml"}],
            "sha256 of web in add_ons is ''; expected that of https://example.com/web.yml, as sha256sum",
        ),
        (
            [{"name": "web", "manifest": "/web.yml", "sha256": "12"}],
            "sha256 of web in add_ons is '12'; expected",
        ),
        (
            [{"name": "web", "manifest": "/web.yml", "sha256": [SUM, SUM]}],
            "web in add_ons has 2 of sha256 and 1 of manifest; expected one for each",
        ),
        (
            [{"name": "web", "manifest": "/web.yml", "value": {}}],
            "web in add_ons has 'value'; expected name,",
        ),
        (
            [{"name": "web", "manifest": "/web.yml", "values": []}],
            "values of web in add_ons is a list; expected",
        ),
        (
            [{"name": "web", "manifest": "/web.yml", "values": {"a-b": 1}}],
            "values of web in add_ons has 'a-b'; expected names of letters, digits and _",
        ),
        (
            [{"name": "web", "manifest": "/web.yml", "namespace": "a/b"}],
            "namespace of web in add_ons is 'a/b'; expected such as 'web'",
        ),
        (
            [{"name": "web", "manifest": "/web.yml", "wait_for": ["job/web"]}],
            "wait_for of web in add_ons has 'job/web'; expected such as deployment/web",
        ),
        (["traefik", "traefik"], "add_ons has traefik 2 times; expected it once"),
    ],
)
def test_refusals(given: Any, text: str) -> None:
    (problem,) = entries.problems(given)
    assert text in problem
    assert "set add_ons in group_vars/all.yml" in problem
    with pytest.raises(entries.EntryError):
        entries.read(given)


def test_each_entry_is_told() -> None:
    assert len(list(entries.problems(["metalb", "traefk"]))) == 2
