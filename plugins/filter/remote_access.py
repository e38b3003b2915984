# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters about who reaches the cluster from outside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Callable

from ansible_collections.bramble.pi.plugins.plugin_utils._common.filters import filter_errors
from ansible_collections.bramble.pi.plugins.plugin_utils._remote_access import accepted_hosts as proxy_hosts
from ansible_collections.bramble.pi.plugins.plugin_utils._remote_access import kubeconfig


@filter_errors(subject="remote_access_proxy_networks")
def accepted_hosts(networks: Sequence[str]) -> str:
    """Make the expression."""
    return proxy_hosts.accepted_hosts(networks)


@filter_errors()
def certificate_names(pem: str) -> list[str]:
    """Read the names."""
    return kubeconfig.certificate_names(pem)


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name the filters; each is documented in a file of its name."""
        return {
            "accepted_hosts": accepted_hosts,
            "certificate_names": certificate_names,
        }
