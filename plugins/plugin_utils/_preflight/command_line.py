# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of what a run was given on the command line: variables and tags, by their names."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.bramble.pi.plugins.plugin_utils._preflight import names
from ansible_collections.bramble.pi.plugins.plugin_utils._preflight.rack import ALL, Finding

#: What Ansible itself makes of tags.
_SPECIAL = ("all", "always", "never", "tagged", "untagged")
#: What molecule skips in every playbook.
_MOLECULE = ("notest", "molecule-notest")
_MISSPELT_TAG = 0.6


def check_extra_variables(
    given: Sequence[str],
    *,
    specs: Mapping[str, Mapping[str, Mapping[str, Any]]],
    known_variables: Collection[str],
) -> Iterator[Finding]:
    """Check that the variables of -e are known; their owner may have others of his own."""
    for name in given:
        if name in known_variables:
            continue
        found = names.unknown(name, specs)
        own = f"If it is your own, name it in preflight_known_variables {ALL}"
        if found and found.like:
            yield Finding(f"-e sets {name}, which is not known: did you mean {found.like}? {own}")
        elif found:
            yield Finding(
                f"-e sets {name}, which begins like a variable of bramble.pi, but is none. {own}",
                warning=True,
            )


def check_tags(
    *, run: Sequence[str], skip: Sequence[str], there: Collection[str] | None
) -> Iterator[Finding]:
    """Check that tags are there; Ansible does nothing, or too much, with one that is not."""
    if there is None:
        return
    for option, given in (("--tags", run), ("--skip-tags", skip)):
        for tag in given:
            if tag in there or tag in (*_SPECIAL, *_MOLECULE):
                continue
            like = names.nearest(tag, sorted(there), _MISSPELT_TAG)
            hint = f" (did you mean {like}?)" if like else ""
            ours = ", ".join(sorted({*there} - {*_SPECIAL}))
            expected = f"one of {ours}: run it with these, or" if ours else "none, as it has none: run it"
            yield Finding(
                f"'{option}' has {tag!r}, which is no tag of this playbook{hint}; expected {expected} "
                f"without '{option}'"
            )
