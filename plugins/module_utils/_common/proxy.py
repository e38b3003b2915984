# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The web proxy of the place, as the programs of a node have it: apt, and what systemd starts."""

from __future__ import annotations

from collections.abc import Mapping

from ansible_collections.bramble.pi.plugins.module_utils._common.files import MANAGED

APT = "/etc/apt/apt.conf.d/90-bramble-proxy"
_NONE = "# There is no proxy.\n"


def drop_in(unit: str) -> str:
    """Return the file with what is added to a unit."""
    return f"/etc/systemd/system/{unit}.d/bramble-proxy.conf"


def _names_a_host(entry: str) -> bool:
    """Tell whether an entry of no_proxy is one that apt's settings can name: a name, or an IPv4 address."""
    return not entry.startswith(".") and not {"/", ":"}.intersection(entry)


def apt_text(*, environment: Mapping[str, str], before: str) -> str:
    """Write apt's settings; without a proxy a file that is there says so, and none stays none."""
    if not environment:
        return MANAGED + _NONE if before else ""
    direct = filter(_names_a_host, environment.get("no_proxy", "").split(","))
    lines = [
        *(f'Acquire::{scheme}::Proxy "{environment[f"{scheme}_proxy"]}";' for scheme in ("http", "https")),
        *(f'Acquire::{scheme}::Proxy::{host} "DIRECT";' for host in direct for scheme in ("http", "https")),
    ]
    return MANAGED + "".join(f"{line}\n" for line in lines)


def unit_text(*, environment: Mapping[str, str], before: str) -> str:
    """Write what is added to a unit; it is never taken away, as a unit that runs is younger than no file."""
    if not environment:
        return MANAGED + _NONE if before else ""
    lines = (f'Environment="{name}={value}"\n' for name, value in sorted(environment.items()))
    return f"{MANAGED}[Service]\n{''.join(lines)}"
