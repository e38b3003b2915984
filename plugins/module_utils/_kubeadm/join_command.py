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

import ipaddress
import re
import shlex
from dataclasses import dataclass
from datetime import timedelta

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError

_TOKEN = re.compile(r"[a-z0-9]{6}\.[a-z0-9]{16}")
_CA_CERT_HASH = re.compile(r"sha256:[0-9a-f]{64}")
_CERTIFICATE_KEY = re.compile(r"[0-9a-f]{64}")
_ENDPOINT = re.compile(r"(?:\[(?P<ipv6>[0-9a-fA-F:.]+)\]|(?P<host>[A-Za-z0-9.-]+)):(?P<port>[0-9]{1,5})")
_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_LONGEST_NAME = 253
#: What colours a terminal, and names its window.
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]*[0-~])")
#: How long Go's durations can be: 2562047 hours, some 292 years.
_LONGEST_LIFETIME = timedelta(hours=2562047)
_LONGEST_SHOWN = 60
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
    if match is None or not 0 < int(match["port"]) < 65536:
        return False
    return _is_ipv6(match["ipv6"]) if match["ipv6"] else _is_host(match["host"])


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _is_host(text: str) -> bool:
    """Tell whether the text is a name, or an IPv4 address where it looks like one."""
    if re.fullmatch(r"[0-9.]+", text):
        try:
            ipaddress.IPv4Address(text)
        except ValueError:
            return False
        return True
    return len(text) <= _LONGEST_NAME and all(_LABEL.fullmatch(label) for label in text.split("."))


def _endpoint(word: str) -> str | None:
    """Read HOST:PORT; the dot at the end of a whole name goes, as kubeadm takes none when it joins."""
    plain = re.sub(r"(?<=[A-Za-z0-9])\.(?=:[0-9]+$)", "", word)
    if plain != word and re.match(r"[0-9.]+:", plain):
        return None
    return plain if is_endpoint(plain) else None


def _words(command: str) -> list[str]:
    """Split a command as a shell does, and what is set by an equals sign from its option."""
    try:
        words = shlex.split(command)
    except ValueError:
        raise JoinCommandError("the quotes in the kubeadm join command are not balanced") from None
    parts: list[str] = []
    for word in words:
        option, equals, value = word.partition("=")
        if equals and option in _VALUES:
            parts += [option, value]
        elif option in _CONTROL_PLANE and value == "true":
            parts.append(option)
        else:
            parts.append(word)
    return parts


def _joined_lines(*, text: str) -> list[str]:
    """Return every command as one line."""
    commands = []
    lines = iter(_ESCAPES.sub("", text).splitlines())
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
    words = iter(_words(command)[2:])
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
        else:
            endpoint = _endpoint(word)
            if endpoint is None:
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
    lines = [line.strip() for line in _ESCAPES.sub("", text).splitlines()]
    keys = [line for line in lines if _CERTIFICATE_KEY.fullmatch(line)]
    if len(keys) != 1:
        raise JoinCommandError(f"kubeadm printed {len(keys)} certificate keys where one is expected")
    return keys[0]


def lifetime(*, text: str) -> timedelta:
    """Return how long a token lives that is made with this ``--ttl``, such as 30m or 1h30m."""
    match = re.fullmatch(r"(?=[0-9])(?:([0-9]+)h)?(?:([0-9]+)m)?(?:([0-9]+)s)?", text)
    try:
        hours, minutes, seconds = (int(part or 0) for part in match.groups()) if match else (0, 0, 0)
        duration = timedelta(hours=hours, minutes=minutes, seconds=seconds)
    except (OverflowError, ValueError):
        # More days than a timedelta holds, or more digits than Python reads.
        duration = timedelta.max
    if not timedelta() < duration <= _LONGEST_LIFETIME:
        shown = text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
        raise JoinCommandError(
            f"token_ttl is {shown!r}; expected a time such as 30m, 2h or 1h30m, at most "
            f"{_LONGEST_LIFETIME // timedelta(hours=1)}h: set workers_token_ttl"
        )
    return duration
