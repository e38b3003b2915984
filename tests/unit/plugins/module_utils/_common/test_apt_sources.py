# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sources are written and keys are checked; the tests of the packages of Kubernetes try it with apt."""

from __future__ import annotations

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._common import apt_sources

URL = "https://pkgs.k8s.io/core:/stable:/v1.36/deb/"
KEY = """\
-----BEGIN PGP PUBLIC KEY BLOCK-----
Version: GnuPG v2.0.15 (GNU/Linux)

mQENBGMHoXcBCADukGOEQyleViOgtkMVa7hKifP6POCTh+98xNW4TfHK/nBJN2sm
u4XaiUmtB9UuGt9jl8VxQg4hOMRf40coIwHsNwtSrc2R9v5Kgpvcv537QVIigVHH
=n5iG
-----END PGP PUBLIC KEY BLOCK-----
"""


def test_writes_the_source() -> None:
    lines = apt_sources.source_text(
        role="docker", url=URL, suite="trixie", component="stable", keyring="/k.asc"
    ).splitlines()
    assert lines[1:] == [
        "Types: deb",
        f"URIs: {URL}",
        "Suites: trixie",
        "Components: stable",
        "Signed-By: /k.asc",
    ]
    flat = apt_sources.source_text(role="kube_packages", url=URL, suite="/", keyring="/k.asc")
    assert flat.splitlines()[3:] == ["Suites: /", "Signed-By: /k.asc"]


WITHOUT_HEADER = KEY.replace("Version: GnuPG v2.0.15 (GNU/Linux)\n", "")
BROKEN_KEYS = [KEY[:90], KEY.replace("mQENBG", "mQ!"), KEY.replace("PUBLIC", "PRIVATE")]


@pytest.mark.parametrize("text", [KEY, KEY.replace("\n", "\r\n"), WITHOUT_HEADER])
def test_accepts_a_key(text: str) -> None:
    apt_sources.check_key(text=text, url="http://x/Release.key", variable="kube_packages_key")


@pytest.mark.parametrize("text", ["", "<html><title>Sign in</title>", *BROKEN_KEYS])
def test_refuses_what_is_no_key(text: str) -> None:
    with pytest.raises(apt_sources.AptSourceError, match="is not an ASCII-armoured OpenPGP key"):
        apt_sources.check_key(text=text, url="http://x/Release.key", variable="kube_packages_key")
