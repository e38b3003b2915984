# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The extra arguments that kubeadm hands to the programs it starts.

To v1beta3 of its API they are a mapping of flag to value, from v1beta4 on a list of names and values, in
which a name may be repeated. Users may give them in either form: they are merged by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._common.values import described
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.compatibility import repeats_flags

#: What they are called in kubeadm's documents.
FIELDS = ("extraArgs", "kubeletExtraArgs")

Arguments = list[tuple[str, str]]


class ExtraArgsError(BrambleError):
    """Extra arguments that kubeadm could not hand on."""


def _value(value: Any, *, where: str) -> str:
    """Return a flag's value as kubeadm takes it: always text, booleans as Go writes them."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (str, int, float)):
        return str(value)
    raise ExtraArgsError(f"{where} is {described(value)}; expected text, a number, or true or false")


def _named(found: Any, *, where: str) -> Iterator[tuple[Any, Any]]:
    """Return names and values, whatever they are."""
    if isinstance(found, Mapping):
        yield from found.items()
    elif isinstance(found, Sequence) and not isinstance(found, str):
        for number, entry in enumerate(found, start=1):
            if not isinstance(entry, Mapping) or set(entry) != {"name", "value"}:
                seen = f"has {', '.join(map(str, entry))}" if isinstance(entry, Mapping) else described(entry)
                raise ExtraArgsError(f"entry {number} of {where} {seen}; expected name and value")
            yield entry["name"], entry["value"]
    else:
        raise ExtraArgsError(f"{where} is {described(found)}; expected a mapping of flag to value")


def read(found: Any, *, where: str = FIELDS[0]) -> Arguments:
    """Read extra arguments in either form; null is as good as none."""
    arguments = []
    for name, value in () if found is None else _named(found, where=where):
        if not isinstance(name, str) or not name or name.startswith("-"):
            seen = repr(name) if isinstance(name, str) else described(name)
            raise ExtraArgsError(
                f"a name in {where} is {seen}; expected that of a flag without hyphens before it"
            )
        arguments.append((name, _value(value, where=f"{name} in {where}")))
    return arguments


def merged(below: Arguments, over: Arguments, *, removed: Sequence[str] = ()) -> Arguments:
    """Return all of over, and what below has by other names; without what is removed.

    What takes the place of another stands where that stood, so that merging once more changes nothing.
    """
    names = {name for name, _value in over}
    result: Arguments = []
    done = set(removed)
    for name, value in [*below, *over]:
        if name in done:
            continue
        if name in names:
            result += [argument for argument in over if argument[0] == name]
            done.add(name)
        else:
            result.append((name, value))
    return result


def with_flags(document: Mapping[str, Any], flags: Mapping[str, Mapping[str, str | None]]) -> dict[str, Any]:
    """Return a ClusterConfiguration with these flags, {part: {name: value}}; None for one that is not there.

    All else is as it was.
    """
    result = dict(document)
    version = str(document.get("apiVersion", "")).rpartition("/")[2]
    for part, told in flags.items():
        section = dict(result.get(part) or {})
        where = f"{part}.{FIELDS[0]}"
        found = read(section.get(FIELDS[0]), where=where)
        added = [(name, value) for name, value in told.items() if value is not None]
        arguments = merged(found, added, removed=[name for name, value in told.items() if value is None])
        if arguments:
            section[FIELDS[0]] = written(arguments, version=version, where=where)
        else:
            section.pop(FIELDS[0], None)
        if section or part in result:
            result[part] = section
    return result


def listed(arguments: Arguments) -> list[dict[str, str]]:
    """Return them as a list, the form of the newest API."""
    return [{"name": name, "value": value} for name, value in arguments]


def written(arguments: Arguments, *, version: str, where: str = FIELDS[0]) -> Any:
    """Return them in the form of a version of kubeadm's API."""
    if repeats_flags(version):
        return listed(arguments)
    names = [name for name, _value in arguments]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ExtraArgsError(
            f"{where} repeats {', '.join(repeated)}, which kubeadm.k8s.io/{version} cannot express; "
            "expected each once"
        )
    return dict(arguments)
