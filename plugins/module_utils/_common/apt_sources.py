# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sources of apt: how one is written, which key proves it, and why apt would not read it."""

from __future__ import annotations

import base64
import binascii
import re

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError

_ARMOUR = re.compile(
    r"-----BEGIN PGP PUBLIC KEY BLOCK-----\r?\n(?:[A-Za-z]+: [^\n]*\n)*\r?\n"
    r"([A-Za-z0-9+/=\s]+?)(?:\r?\n=[A-Za-z0-9+/]{4})?\r?\n-----END PGP PUBLIC KEY BLOCK-----"
)


class AptSourceError(BrambleError):
    """A repository that cannot be set up."""


def source_text(*, role: str, url: str, suite: str, keyring: str, component: str = "") -> str:
    """Write a source in apt's deb822 format; a flat repository has the suite / and no component."""
    return (
        f"# Written by Ansible (bramble.pi.{role}).\n"
        f"Types: deb\nURIs: {url}\nSuites: {suite}\n"
        + (f"Components: {component}\n" if component else "")
        + f"Signed-By: {keyring}\n"
    )


def check_key(*, text: str, url: str, variable: str) -> None:
    """Refuse what is not a key, such as the login page of a network."""
    match = _ARMOUR.search(text)
    try:
        if match is not None and base64.b64decode("".join(match.group(1).split()), validate=True):
            return
    except binascii.Error:
        pass
    raise AptSourceError(
        f"{url} is not an ASCII-armoured OpenPGP key: it begins with {text[:60]!r}; expected "
        f"'-----BEGIN PGP PUBLIC KEY BLOCK-----'. Set {variable}"
    )


def naming(*, files: dict[str, str], url: str) -> list[str]:
    """Return the apt sources in which a repository is named."""
    return [
        path
        for path, text in files.items()
        if any(url.rstrip("/") in line for line in text.splitlines() if not line.lstrip().startswith("#"))
    ]


def refusal(*, errors: str, source: str, others: list[str]) -> str:
    """Say why apt would not read its sources with ours among them, by what it printed."""
    said = [line.removeprefix("E: ") for line in errors.splitlines() if line.startswith("E: ")]
    said = list(dict.fromkeys(said)) or [errors.strip()]
    if not others or "Conflicting" not in errors:
        return (
            f"apt does not read its sources: {'; '.join(said)}. {source} was not written: fix what apt "
            "names, and run this again"
        )
    return (
        f"{' and '.join(others)} is a second source of the repository of {source}, and with both no apt "
        f"command works: {'; '.join(said)}; expected one: run 'rm {' '.join(others)}', or take its lines "
        f"out where there are others. {source} was not written"
    )
