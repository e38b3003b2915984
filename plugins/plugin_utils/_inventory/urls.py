# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses of services, as URLs are written."""

from __future__ import annotations


def service_url(*, address: str, port: int, scheme: str) -> str:
    """Write the URL of a service; a port that the address has is kept, and IPv6 gets its brackets."""
    if address.startswith("["):
        has_port = "]:" in address
    elif address.count(":") > 1:
        address, has_port = f"[{address}]", False
    else:
        has_port = ":" in address
    return f"{scheme}://{address}" if has_port else f"{scheme}://{address}:{port}"
