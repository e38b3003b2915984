# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading of the ``kubeadm join`` commands that kubeadm prints.

The forms, by version of kubeadm:

- to 1.9: ``kubeadm join --token T HOST:PORT --discovery-token-ca-cert-hash H``, in one line
- to 1.13: ``kubeadm join HOST:PORT --token T --discovery-token-ca-cert-hash H``, in one line
- 1.14: wrapped after a backslash, with four blanks; ``--experimental-control-plane --certificate-key K``
- 1.15 and later: ``--control-plane``; a blank at the end; several hashes where the CA file has several
- 1.18 and later: wrapped with a tab
- ``kubeadm token create --print-join-command``: the same without the wrapping

See cmd/kubeadm/app/cmd/util/join.go in https://github.com/kubernetes/kubernetes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError

_TOKEN = re.compile(r"[a-z0-9]{6}\.[a-z0-9]{16}")
_CA_CERT_HASH = re.compile(r"sha256:[0-9a-f]{64}")
_CERTIFICATE_KEY = re.compile(r"[0-9a-f]{64}")
_ENDPOINT = re.compile(
    r"(?:\[[0-9a-fA-F:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?):(?P<port>[0-9]{1,5})"
)
_WITHHELD = "<value withheld>"
_VALUES = {
    "--token": _TOKEN,
    "--discovery-token-ca-cert-hash": _CA_CERT_HASH,
    "--certificate-key": _CERTIFICATE_KEY,
}
_CONTROL_PLANE = ("--control-plane", "--experimental-control-plane")


class JoinCommandError(BrambleError):
    """The text is not what kubeadm prints. Its message never holds the value of a secret."""


@dataclass(frozen=True)
class JoinCommand:
    """What one printed ``kubeadm join`` command says."""

    endpoint: str
    token: str
    ca_cert_hashes: tuple[str, ...]
    control_plane: bool = False
    certificate_key: str | None = None


def is_token(text: str) -> bool:
    """Tell whether the text has the form of a bootstrap token."""
    return _TOKEN.fullmatch(text) is not None


def is_ca_cert_hash(text: str) -> bool:
    """Tell whether the text has the form of a hash of a CA certificate."""
    return _CA_CERT_HASH.fullmatch(text) is not None


def is_endpoint(text: str) -> bool:
    """Tell whether the text is HOST:PORT, with the host of IPv6 in brackets."""
    match = _ENDPOINT.fullmatch(text)
    return match is not None and 0 < int(match["port"]) < 65536


def _joined_lines(*, text: str) -> list[str]:
    """Return every command as one line."""
    commands = []
    lines = iter(text.splitlines())
    for line in lines:
        if not re.match(r"\s*kubeadm\s+join(\s|$)", line):
            continue
        parts = [line.strip()]
        while parts[-1].endswith("\\"):
            following = next(lines, None)
            if following is None or not following.strip():
                raise JoinCommandError("the kubeadm join command ends after a backslash")
            parts[-1] = parts[-1][:-1]
            parts.append(following.strip())
        commands.append(" ".join(parts))
    return commands


def _parse(*, command: str) -> JoinCommand:
    if _WITHHELD in command:
        raise JoinCommandError(
            "kubeadm withheld the token; make one with kubeadm token create --print-join-command"
        )
    endpoint = None
    values: dict[str, list[str]] = {option: [] for option in _VALUES}
    control_plane = False
    words = iter(command.split()[2:])
    for word in words:
        if word in _VALUES:
            value = next(words, "")
            if not _VALUES[word].fullmatch(value):
                raise JoinCommandError(f"the value of {word!r} does not match {_VALUES[word].pattern}")
            values[word].append(value)
        elif word in _CONTROL_PLANE:
            control_plane = True
        elif word.startswith("-"):
            raise JoinCommandError(f"unknown option {word.partition('=')[0]!r} in the kubeadm join command")
        elif endpoint is not None:
            raise JoinCommandError("there are words in the kubeadm join command that belong to no option")
        elif is_endpoint(word):
            endpoint = word
        else:
            raise JoinCommandError("the address in the kubeadm join command is not HOST:PORT")
    if endpoint is None:
        raise JoinCommandError("the kubeadm join command names no HOST:PORT")
    for option in ("--token", "--certificate-key"):
        if len(values[option]) > 1:
            raise JoinCommandError(
                f"{option!r} stands {len(values[option])} times in the kubeadm join command"
            )
    if not values["--token"]:
        raise JoinCommandError("the kubeadm join command has no --token")
    if not values["--discovery-token-ca-cert-hash"]:
        raise JoinCommandError(
            "the kubeadm join command has no --discovery-token-ca-cert-hash to verify the cluster by"
        )
    if values["--certificate-key"] and not control_plane:
        raise JoinCommandError("the kubeadm join command has '--certificate-key' without --control-plane")
    return JoinCommand(
        endpoint=endpoint,
        token=values["--token"][0],
        ca_cert_hashes=tuple(dict.fromkeys(values["--discovery-token-ca-cert-hash"])),
        control_plane=control_plane,
        certificate_key=values["--certificate-key"][0] if values["--certificate-key"] else None,
    )


def parse_join_commands(*, text: str) -> list[JoinCommand]:
    """Return every ``kubeadm join`` command in kubeadm's output, in order."""
    commands = [_parse(command=command) for command in _joined_lines(text=text)]
    if not commands:
        raise JoinCommandError("there is no kubeadm join command in the output")
    return commands


def parse_certificate_key(*, text: str) -> str:
    """Return the key that ``kubeadm init phase upload-certs --upload-certs`` prints on a line of its own."""
    keys = [line.strip() for line in text.splitlines() if _CERTIFICATE_KEY.fullmatch(line.strip())]
    if len(keys) != 1:
        raise JoinCommandError(f"kubeadm printed {len(keys)} certificate keys where one is expected")
    return keys[0]


def lifetime(*, text: str) -> timedelta:
    """Return how long a token lives that is made with this ``--ttl``, such as 30m or 1h30m."""
    match = re.fullmatch(r"(?=\d)(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text)
    hours, minutes, seconds = (int(part or 0) for part in match.groups()) if match else (0, 0, 0)
    duration = timedelta(hours=hours, minutes=minutes, seconds=seconds)
    if not duration:
        raise JoinCommandError(f"token_ttl is {text!r}; wanted is a time such as 30m, 2h or 1h30m")
    return duration
