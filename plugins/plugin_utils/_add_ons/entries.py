# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the variable add_ons: names of presets, and add-ons of the user's own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._common.values import (
    described,
    is_sha256,
    mapping_problem,
)
from ansible_collections.bramble.pi.plugins.plugin_utils._add_ons.presets import PRESETS

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?")
_VALUE = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_WORKLOAD = re.compile(r"(deployment|daemonset|statefulset)/[a-z0-9][-a-z0-9.]*")
_KEYS = ("name", "manifest", "sha256", "values", "namespace", "wait_for")
_SET = "set add_ons in group_vars/all.yml"
#: What comes over a network, where others could change it.
_REMOTE = ("https://", "http://")
_FILE = "file://"


class EntryError(BrambleError):
    """An entry of add_ons that says nothing usable."""


class Source(NamedTuple):
    """Where a manifest comes from; the checksum is empty for a file of the controller that has none."""

    url: str
    sha256: str


class Entry(NamedTuple):
    """An add-on that is asked for."""

    name: str
    sources: tuple[Source, ...]
    values: dict[str, Any]
    #: The names of those that the user has given.
    asked: list[str]
    namespace: str
    wait_for: list[str] | None


def _texts(entry: Mapping[str, Any], key: str, name: str) -> list[str]:
    value = entry.get(key)
    texts = [value] if isinstance(value, str) else [] if value is None else value
    if not isinstance(texts, (list, tuple)) or not all(isinstance(each, str) for each in texts):
        raise EntryError(
            f"{key} of {name} in add_ons is {described(value)}; expected text or a list of it: {_SET}"
        )
    return [str(each) for each in texts]


def _source(name: str, text: str, sha256: str) -> Source:
    url = f"{_FILE}{text}" if text.startswith("/") else text
    if not url.startswith((*_REMOTE, f"{_FILE}/")):
        raise EntryError(
            f"manifest of {name} in add_ons is {text!r}; expected a URL, or the whole path of a file on the "
            f'controller, such as "{{{{ inventory_dir }}}}/{name}.yml": {_SET}'
        )
    if not (is_sha256(sha256) or (not sha256 and url.startswith(_FILE))):
        raise EntryError(
            f"sha256 of {name} in add_ons is {sha256!r}; expected that of {url}, as sha256sum prints it: "
            "look at "
            f"the manifest, and {_SET}"
        )
    return Source(url, sha256.lower())


def _sources(name: str, entry: Mapping[str, Any]) -> tuple[Source, ...]:
    manifests, sums = _texts(entry, "manifest", name), _texts(entry, "sha256", name)
    if not manifests:
        raise EntryError(
            f"{name} in add_ons has no manifest, and is none of {', '.join(PRESETS)}; expected one of "
            "these, or "
            f"manifest with a URL or a path: {_SET}"
        )
    if len(sums) > len(manifests):
        raise EntryError(
            f"{name} in add_ons has {len(sums)} of sha256 and {len(manifests)} of manifest; expected one "
            "for each, "
            f"in their order: {_SET}"
        )
    sums += [""] * (len(manifests) - len(sums))
    own = [_source(name, entry["own"], "")] if "own" in entry else []
    return (*(_source(name, text, sha256) for text, sha256 in zip(manifests, sums)), *own)


def _values(name: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    preset = PRESETS.get(name, {}).get("values", {})
    given = entry.get("values", {})
    problem = mapping_problem(given)
    if problem:
        raise EntryError(f"values of {name} in add_ons {problem}: {_SET}")
    values = {**preset, **given}
    for key, value in values.items():
        if not _VALUE.fullmatch(key):
            raise EntryError(
                f"values of {name} in add_ons has {key!r}; expected names of letters, digits and _: {_SET}"
            )
        if value is None or value == []:
            raise EntryError(
                f"{key} in values of {name} in add_ons is {described(value)}; expected a value: {_SET}"
            )
    return values


def _entry(given: Any) -> Entry:
    told = {"name": given} if isinstance(given, str) else given
    if not isinstance(told, Mapping) or not isinstance(told.get("name"), str):
        raise EntryError(
            f"add_ons has {described(given)}; expected one of {', '.join(PRESETS)}, or a mapping with name "
            "and "
            f"manifest: {_SET}"
        )
    name = str(told["name"])
    if not _NAME.fullmatch(name):
        raise EntryError(
            f"name in add_ons is {name!r}; expected at most 40 lower-case letters, digits and hyphens: {_SET}"
        )
    unknown = [str(key) for key in told if key not in _KEYS]
    if unknown:
        raise EntryError(f"{name} in add_ons has {unknown[0]!r}; expected {', '.join(_KEYS)}: {_SET}")
    preset = PRESETS.get(name, {})
    # A preset from elsewhere is still that file, unless it says so.
    merged = {**preset, **told}
    namespace = told.get("namespace", "")
    if namespace and not _NAME.fullmatch(str(namespace)):
        raise EntryError(f"namespace of {name} in add_ons is {namespace!r}; expected such as 'web': {_SET}")
    wait_for = _texts(told, "wait_for", name) if "wait_for" in told else None
    for each in wait_for or ():
        if not _WORKLOAD.fullmatch(each):
            raise EntryError(
                f"wait_for of {name} in add_ons has {each!r}; expected such as deployment/web, "
                "daemonset/web or "
                f"statefulset/web: {_SET}"
            )
    values = _values(name, told)
    return Entry(name, _sources(name, merged), values, list(told.get("values", {})), str(namespace), wait_for)


def read(given: Any) -> list[Entry]:
    """Read the add-ons; EntryError for the first that cannot be."""
    if not isinstance(given, (list, tuple)):
        raise EntryError(f"add_ons is {described(given)}; expected a list, such as [metallb]: {_SET}")
    entries = [_entry(each) for each in given]
    names = [entry.name for entry in entries]
    for name in names:
        if names.count(name) > 1:
            raise EntryError(f"add_ons has {name} {names.count(name)} times; expected it once: {_SET}")
    return entries


def problems(given: Any) -> Iterator[str]:
    """Say what is wrong with the variable, entry by entry."""
    if isinstance(given, (list, tuple)):
        found = False
        for each in given:
            try:
                _entry(each)
            except EntryError as error:
                found = True
                yield str(error)
        if found:
            return
    try:
        read(given)
    except EntryError as error:
        yield str(error)


def urls(entries: Iterable[Entry]) -> list[str]:
    """Return where all manifests come from, each once."""
    return list(dict.fromkeys(source.url for entry in entries for source in entry.sources))


def path_of(url: str) -> str | None:
    """Return the path of a file on the controller; None for what comes over a network."""
    return url[len(_FILE) :] if url.startswith(_FILE) else None
