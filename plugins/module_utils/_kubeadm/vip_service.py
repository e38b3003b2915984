# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one address of all control planes on a node: its packages, files and service."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._common import apt
from ansible_collections.bramble.pi.plugins.module_utils._common.addresses import (
    interface_addresses,
    without_prefix,
)
from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.commands import Runner, output_of
from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text
from ansible_collections.bramble.pi.plugins.module_utils._common.own_packages import OwnPackages
from ansible_collections.bramble.pi.plugins.module_utils._common.systemd import Systemd, is_active
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import networks, state, vip
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.kubeconfig import server_of
from ansible_collections.bramble.pi.plugins.module_utils._network.probe import holder_of

RECORD = "/var/lib/bramble/vip-packages.json"
#: What other roles use as well, and what therefore stays when the address goes.
_SHARED_PACKAGES = ("curl", "nftables")


def configured() -> vip.Place | None:
    """Return which address this node takes part in holding, by its files."""
    return vip.read_place(read_text(vip.CONFIGURATION) or "")


def seen(run: Runner) -> dict[str, Any] | None:
    """Return how the address is on this node; None where the node takes no part in it."""
    place = configured()
    if place is None:
        return None
    return {
        **place._asdict(),
        "active": is_active(run, vip.UNIT),
        "held": _is_held(place, interface_addresses(run)),
    }


def _is_held(place: vip.Place, addresses: dict[str, list[str]]) -> bool:
    return place.address in map(without_prefix, addresses.get(place.interface, ()))


class VipService:
    """Has this node take part in holding the address, or no more."""

    def __init__(self, *, run: Runner, changes: Changes) -> None:
        self._run = run
        self._changes = changes
        self._systemd = Systemd(run=run, changes=changes)
        self._packages = OwnPackages(run=run, changes=changes, record=RECORD)

    def ensure(self, address: str, *, own: str, control_planes: Sequence[str]) -> vip.Place:
        """Ensure that this node takes part; ``control_planes`` are the addresses of all, its ``own`` too."""
        addresses = interface_addresses(self._run)
        place = vip.place(address, own=own, addresses=addresses)
        files = vip.files(place, own=own, control_planes=control_planes)
        if not self._systemd.is_active(vip.UNIT) and not _is_held(place, addresses):
            self._check_free(place, peers=[each for each in control_planes if each != own])
        self._install()
        written = [path for path, text in files.items() if self._changes.write(path, text)]
        restarted = self._systemd.ensure_running(vip.UNIT, changed=bool(written), files=files)
        # Others may have flushed them since.
        if not restarted and self._run(list(vip.LIST_RULES))[0] != 0:
            self._systemd.reload(vip.UNIT)
        return place

    def _install(self) -> None:
        installed = apt.read_packages(text=output_of(self._run, apt.DPKG_QUERY))
        missing = [name for name in _SHARED_PACKAGES if name not in installed]
        if missing and self._changes.note(f"install {', '.join(missing)}"):
            apt.install(run=self._run, arguments=missing)
        self._packages.ensure(["keepalived"])

    def _check_free(self, place: vip.Place, *, peers: Sequence[str]) -> None:
        """Refuse an address that another machine than a control plane has."""
        holder = holder_of(interface=place.interface, address=place.address)
        if holder is None:
            return
        if holder not in [holder_of(interface=place.interface, address=peer) for peer in peers]:
            raise vip.VipError(
                f"control_plane_vip is {place.address}, which {holder} has, no control plane; expected an "
                f"address of {place.interface}'s network that nobody has: set control_plane_vip in "
                "group_vars/all.yml, or take it from that machine"
            )

    def remove(self, *, reset: bool) -> None:
        """Ensure that this node takes no part; refused while its cluster, if it stays, is reached there."""
        place = configured()
        if place is not None and not reset:
            used = networks.uses_address(server_of(read_text(state.ADMIN_KUBECONFIG) or ""), place.address)
            if used:
                raise vip.VipError(used)
        if place is not None or os.path.exists(vip.UNIT_PATH):
            self._systemd.ensure_stopped(vip.UNIT)
        self._delete(vip.UNIT_PATH, vip.RULES)
        self._packages.remove()
        # By it a run that is killed is known to have something left to remove.
        self._delete(vip.CONFIGURATION)

    def _delete(self, *paths: str) -> None:
        for path in paths:
            if os.path.exists(path) and self._changes.note(f"remove {path}"):
                os.unlink(path)
                if path == vip.UNIT_PATH:
                    self._systemd.read_units()
