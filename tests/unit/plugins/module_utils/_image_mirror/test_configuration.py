# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._containers.mirrors import Mirror
from ansible_collections.bramble.pi.plugins.module_utils._image_mirror import configuration, units
from ansible_collections.bramble.pi.plugins.module_utils._image_mirror.refusals import problems

QUAY = Mirror("quay.io", "https://quay.io", "https://10.0.0.1:5011")
LOGIN = {"user": "ada", "password": "secret"}


def read(**options: Any) -> dict[str, Any]:
    return dict(json.loads(configuration.configuration(QUAY, data="/mnt/disk", **options)))


def test_a_registry_stands_for_another_one() -> None:
    content = read(credentials=LOGIN)
    assert content["proxy"] == {"remoteurl": "https://quay.io", "username": "ada", "password": "secret"}
    assert content["http"]["addr"] == "10.0.0.1:5011"
    assert content["storage"]["filesystem"] == {"rootdirectory": "/mnt/disk/quay.io"}
    assert read()["proxy"] == {"remoteurl": "https://quay.io"}


def test_without_it_what_is_there_is_served_and_nothing_is_taken() -> None:
    content = read(credentials=LOGIN, online=False)
    assert "proxy" not in content
    assert "secret" not in json.dumps(content)
    assert content["storage"]["maintenance"] == {"readonly": {"enabled": True}}
    # A descriptor that is kept would outlive what was cleaned.
    assert all("cache" not in read(online=online)["storage"] for online in (True, False))


def test_each_registry_has_its_unit() -> None:
    assert units.instance("quay.io") == "bramble-image-mirror@quay.io.service"
    assert "ReadWritePaths=/mnt/disk\n" in units.service(data="/mnt/disk")
    # Before the seven days are over after which a registry forgets what it fetched.
    assert "RuntimeMaxSec=6d\n" in units.service(data="/mnt/disk")


GOOD: dict[str, Any] = {
    "image_mirror_address": "10.0.0.1",
    "image_mirror_credentials": {"quay.io": LOGIN},
    "image_mirror_folder": "/mnt/disk/images",
    "image_mirror_port": 5010,
    "image_mirror_registries": {
        "quay.io": "https://quay.io",
        "registry.lan:5000": "http://registry.lan:5000",
    },
    "image_mirror_size": "20GB",
}


@pytest.mark.parametrize("values", [{}, dict.fromkeys(GOOD), {"image_mirror_credentials": {}}])
def test_what_can_be(values: dict[str, Any]) -> None:
    assert list(problems({**GOOD, **values})) == []


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("image_mirror_address", "pi-1", "'pi-1'; expected an IPv4 address of image_mirror_host"),
        ("image_mirror_address", "", "''; expected an IPv4 address"),
        ("image_mirror_port", 0, "0; expected 2 ports from there on, from 1 to 65535"),
        ("image_mirror_port", 65535, "65535; expected 2 ports from there on"),
        ("image_mirror_size", "20", "'20'; expected a number with MB, GB or TB, such as 20GB"),
        ("image_mirror_folder", "/home/pi/images", "'/home/pi/images'; expected a folder such as"),
        (
            "image_mirror_registries",
            {"Quay": "https://quay.io"},
            "with 'Quay'; expected names as in those of",
        ),
        ("image_mirror_registries", {"../quay.io": "https://quay.io"}, "with '../quay.io'; expected names"),
        ("image_mirror_registries", {"quay.io": "quay.io"}, "with quay.io: 'quay.io'; expected the URL of a"),
        ("image_mirror_registries", {"quay.io": ""}, "with quay.io: ''; expected the URL of a host alone"),
        (
            "image_mirror_registries",
            {"quay.io": None},
            "with quay.io: None; expected the URL of a host alone",
        ),
        (
            "image_mirror_registries",
            {"quay.io": "https://quay.io/v2/"},
            "with quay.io: 'https://quay.io/v2/'; ex",
        ),
        (
            "image_mirror_registries",
            {"quay.io": "https://a:secret@quay.io"},
            "with quay.io: 'https://quay.io'; ex",
        ),
        (
            "image_mirror_credentials",
            {"ghcr.io": LOGIN},
            "with 'ghcr.io'; expected registries of image_mirror_r",
        ),
        (
            "image_mirror_credentials",
            {"quay.io": {"user": "ada"}},
            "with quay.io and a secret that is not shown",
        ),
        (
            "image_mirror_credentials",
            {"quay.io": "secret"},
            "with quay.io and a secret that is not shown here",
        ),
    ],
)
def test_what_cannot_be_is_told_with_its_variable(name: str, value: Any, expected: str) -> None:
    values = {**GOOD, "image_mirror_credentials": {}, name: value}
    (problem,) = problems(values)
    assert problem.startswith(f"{name} is {expected}")
    assert problem.endswith(f": set {name} in group_vars/all.yml")
    assert "secret@" not in problem


def test_no_registry_at_all() -> None:
    (problem,) = problems({**GOOD, "image_mirror_registries": {}, "image_mirror_credentials": {}})
    assert problem.startswith("image_mirror_registries is {}; expected a registry at least")
