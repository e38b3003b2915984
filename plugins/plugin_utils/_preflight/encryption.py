# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of control_plane_encrypt_secrets, and of what goes with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import encryption
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import extra_args
from ansible_collections.bramble.pi.plugins.plugin_utils._preflight.rack import ALL, Finding, Rack


def check_encryption(rack: Rack) -> Iterator[Finding]:
    """Check that keys are rotated where there are some, and that nobody else tells API servers of others."""
    encrypt = rack.cluster_value("control_plane_encrypt_secrets")
    if rack.cluster_value("encryption_rotate") and not encrypt:
        yield Finding(
            "encryption_rotate is true, and control_plane_encrypt_secrets is not; expected a key that another"
            f" one takes the place of: set control_plane_encrypt_secrets to true {ALL}, or leave"
            " encryption_rotate out"
        )
    configuration = rack.cluster_value("control_plane_cluster_configuration")
    server = configuration.get("apiServer") if isinstance(configuration, Mapping) else None
    given = server.get(extra_args.FIELDS[0]) if isinstance(server, Mapping) else None
    try:
        names = {name for name, _value in extra_args.read(given)}
    except extra_args.ExtraArgsError:
        return  # check_flags reports it.
    if encrypt and encryption.FLAG in names:
        yield Finding(
            f"control_plane_cluster_configuration has {encryption.FLAG} in apiServer.extraArgs, and"
            " control_plane_encrypt_secrets is true; expected one of them: leave the flag out of"
            f" control_plane_cluster_configuration {ALL}, or set control_plane_encrypt_secrets to false"
        )
