# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with the settings of the monitoring, as far as they alone tell."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._common.data_folder import is_data_folder
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._common.urls import is_url
from ansible_collections.bramble.pi.plugins.module_utils._common.values import is_address

_SIZE = re.compile(r"[1-9][0-9]*(MB|GB|TB)")
_SERVER = re.compile(r"[A-Za-z0-9._-]+:[0-9]{1,5}")
_WHERE = "in group_vars/all.yml"
_LEAST = {"monitoring_scrape_interval": 5, "monitoring_examine_interval": 10, "monitoring_alert_after": 1}


class MonitoringError(BrambleError):
    """The monitoring cannot be as it is asked for; the message says why, and what fixes it."""


def _set(name: str, seen: Any, expected: str) -> str:
    return f"{name} is {seen}; expected {expected}: set {name} {_WHERE}"


def _secret(name: str, expected: str) -> str:
    return f"{name} is a secret that is not shown here; expected {expected}: set {name} {_WHERE}"


def _mail(mail: Mapping[str, Any]) -> Iterator[str]:
    for part, what in (("to", "an address"), ("from", "an address"), ("server", "host:port")):
        if not mail.get(part):
            yield _set("monitoring_mail", f"without {part}", f"{part}, {what}")
    for part in ("to", "from"):
        if mail.get(part) and "@" not in str(mail[part]):
            yield _set("monitoring_mail", f"{part}: {mail[part]}", "an address with @")
    if mail.get("server") and not _SERVER.fullmatch(str(mail["server"])):
        yield _set("monitoring_mail", f"server: {mail['server']}", "host:port, such as mail.example.org:587")
    if bool(mail.get("user")) != bool(mail.get("password")):
        yield _set("monitoring_mail", "with only one of user and password", "both, or none")


def problems(values: Mapping[str, Any]) -> Iterator[str]:
    """Say what is wrong with the variables of the role; those that are not known yet are None."""
    for name, least in _LEAST.items():
        value = values.get(name)
        if value is not None and value < least:
            yield _set(name, value, f"{least} seconds or more")
    for name in ("monitoring_port", "monitoring_etcd_port"):
        port = values.get(name)
        if port is not None and not 1 <= port <= 65535:
            yield _set(name, port, "a number from 1 to 65535")
    size = values.get("monitoring_retention_size")
    if size is not None and not _SIZE.fullmatch(size):
        yield _set("monitoring_retention_size", repr(size), "a number with MB, GB or TB, such as 1GB")
    for name in ("monitoring_address", "monitoring_from"):
        address = values.get(name)
        if address is not None and not is_address(address):
            yield _set(name, repr(address), "an IPv4 address")
    data = values.get("monitoring_data_folder")
    if data is not None and not is_data_folder(data):
        yield _set("monitoring_data_folder", repr(data), "a folder such as /mnt/disk/monitoring")
    for name in ("monitoring_webhook", "monitoring_ntfy"):
        if values.get(name) and not is_url(values[name]):
            yield _secret(name, "a URL that begins with http:// or https://")
    if values.get("monitoring_ntfy_token") and values.get("monitoring_ntfy") == "":
        yield _set("monitoring_ntfy", "empty, and monitoring_ntfy_token is not", "the URL of a topic")
    yield from _mail(values.get("monitoring_mail") or {}) if values.get("monitoring_mail") else ()
