# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rack of three nodes, some of whose variables are changed to see what preflight says."""

from __future__ import annotations

from typing import Any

from ansible_collections.bramble.pi.plugins.plugin_utils._preflight.check import validate
from ansible_collections.bramble.pi.plugins.plugin_utils._preflight.inventory import read_options

SPECS = read_options()
#: A later default is no other rack.
SPECS["kube_packages"]["kube_packages_version"] = {"type": "raw", "default": "1.36"}
#: No option of ours that is a secret has choices.
SPECS["control_plane"]["control_plane_token"] = {"type": "str", "no_log": True, "choices": ["not-the-secret"]}
NODES: dict[str, dict[str, Any]] = {
    f"pi-{number}": {"ansible_host": f"192.168.1.10{number}"} for number in (1, 2, 3)
}
BEHIND_NAT = {"control_plane": ["pi-1"], "workers": ["pi-2", "pi-3"], "nat_headnode": ["pi-1"]}


def found(
    everywhere: dict[str, Any] | None = None,
    *,
    hosts: dict[str, dict[str, Any]] | None = None,
    groups: dict[str, list[str]] | None = None,
    files: dict[str, str] | None = None,
    **options: Any,
) -> tuple[list[str], list[str]]:
    """Check three nodes with some of their variables changed."""
    changed = {
        name: {**NODES.get(name, {}), **(hosts or {}).get(name, {})} for name in {**NODES, **(hosts or {})}
    }
    return validate(
        groups={"control_plane": ["pi-1"], "workers": ["pi-2", "pi-3"]} if groups is None else groups,
        hosts={name: {**(everywhere or {}), **variables} for name, variables in changed.items()},
        specs=SPECS,
        files=files,
        **{"node_network": "", "known_variables": [], **options},
    )


def problem(*arguments: Any, **options: Any) -> str:
    """Return the one problem that there is to be."""
    problems, warnings = found(*arguments, **options)
    assert warnings == []
    (text,) = problems
    return text


def check_row(variables: dict[str, Any], text: str | None, *, host: str | None = None) -> None:
    """Check that the variables, of one host or of all, are the one problem of that text, or none."""
    changed: dict[str, Any] = {"hosts": {host: variables}} if host else {"everywhere": variables}
    if text is None:
        assert found(**changed) == ([], [])
    else:
        assert text in problem(**changed)
