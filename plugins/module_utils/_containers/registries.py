# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of registries in containerd's config.toml that newer releases do not read."""

from __future__ import annotations

from ansible_collections.bramble.pi.plugins.module_utils._containers import toml

#: Below registry of the CRI plugin; containerd 2.4 reads hosts.toml files alone.
#: https://github.com/containerd/containerd/blob/main/docs/hosts.md
_GONE = ("auths", "configs", "mirrors")


def old_settings(*, text: str | None) -> list[str]:
    """Name the settings of registries that a configuration has; one that is no TOML is told of elsewhere."""
    try:
        values = toml.parse(text=text or "").values()
    except toml.TomlError:
        return []
    found = {
        key
        for keys in values
        for before, key in zip(keys, keys[1:])
        if keys[0] == "plugins" and before == "registry" and key in _GONE
    }
    return sorted(found)


def warning(*, text: str | None, path: str) -> str | None:
    """Say which of a configuration's settings newer releases do not read, if it has such."""
    found = old_settings(text=text)
    if not found:
        return None
    return (
        f"{path} has {', '.join(found)} of registries, which containerd 2.4 reads no more; expected "
        "a hosts.toml for each registry below /etc/containerd/certs.d, and config_path set to that: write "
        "them, and take these out"
    )
