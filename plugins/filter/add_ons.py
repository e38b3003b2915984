# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of the role add_ons; the documentation of each is beside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Callable

from ansible_collections.bramble.pi.plugins.plugin_utils._add_ons import entries, objects
from ansible_collections.bramble.pi.plugins.plugin_utils._common.filters import filter_errors


@filter_errors()
def add_on_urls(add_ons: Sequence[Any]) -> list[str]:
    """List where the manifests come from."""
    return entries.urls(entries.read(add_ons))


@filter_errors()
def add_on_definitions(add_ons: Sequence[Any], texts: Mapping[str, str]) -> str:
    """Return the objects of all add-ons."""
    return objects.definitions(entries.read(add_ons), texts)


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name the filters; each is documented in a file of its name."""
        return {"add_on_definitions": add_on_definitions, "add_on_urls": add_on_urls}
