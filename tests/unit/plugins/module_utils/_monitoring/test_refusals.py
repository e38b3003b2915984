# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._monitoring import refusals

GOOD: dict[str, Any] = {
    "monitoring_address": "127.0.0.1",
    "monitoring_from": "10.0.0.1",
    "monitoring_port": 9090,
    "monitoring_etcd_port": 12381,
    "monitoring_data_folder": "/var/lib/bramble-monitoring",
    "monitoring_retention_size": "1GB",
    "monitoring_scrape_interval": 30,
    "monitoring_examine_interval": 300,
    "monitoring_alert_after": 300,
    "monitoring_mail": {},
    "monitoring_webhook": "",
    "monitoring_ntfy": "",
    "monitoring_ntfy_token": "",
}
MAIL = {"to": "ada@example.org", "from": "rack@example.org", "server": "mail.example.org:587"}


@pytest.mark.parametrize(
    "values",
    [
        {},
        dict.fromkeys(GOOD),
        {"monitoring_mail": MAIL},
        {"monitoring_mail": {**MAIL, "user": "rack", "password": "secret"}},
        {"monitoring_data_folder": "/mnt/disk/monitoring", "monitoring_retention_size": "500MB"},
        {"monitoring_ntfy": "https://ntfy.sh/rack", "monitoring_ntfy_token": "secret"},
    ],
)
def test_what_can_be(values: dict[str, Any]) -> None:
    assert list(refusals.problems({**GOOD, **values})) == []


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("monitoring_address", "rack.local", "'rack.local'; expected an IPv4 address"),
        ("monitoring_from", "", "''; expected an IPv4 address"),
        ("monitoring_port", 0, "0; expected a number from 1 to 65535"),
        ("monitoring_etcd_port", 70000, "70000; expected a number from 1 to 65535"),
        ("monitoring_retention_size", "much", "'much'; expected a number with MB, GB or TB"),
        ("monitoring_retention_size", "0GB", "'0GB'; expected a number with MB, GB or TB"),
        ("monitoring_scrape_interval", 1, "1; expected 5 seconds or more"),
        ("monitoring_examine_interval", 5, "5; expected 10 seconds or more"),
        ("monitoring_alert_after", 0, "0; expected 1 seconds or more"),
        ("monitoring_data_folder", "/home/pi/data", "'/home/pi/data'; expected a folder such as"),
        ("monitoring_data_folder", "/tmp/../run/x", "'/tmp/../run/x'; expected a folder such as"),
        ("monitoring_data_folder", "data", "'data'; expected a folder such as"),
        ("monitoring_data_folder", "/", "'/'; expected a folder such as"),
        ("monitoring_data_folder", "/srv/my data", "'/srv/my data'; expected a folder such as"),
        ("monitoring_webhook", "10.0.0.9/x", "a secret that is not shown here; expected a URL"),
        ("monitoring_ntfy", "my-topic", "a secret that is not shown here; expected a URL"),
        (
            "monitoring_mail",
            {"to": "ada@example.org", "from": "x@y"},
            "without server; expected server, host:port",
        ),
        ("monitoring_mail", {**MAIL, "to": "ada"}, "to: ada; expected an address with @"),
        ("monitoring_mail", {**MAIL, "server": "mail"}, "server: mail; expected host:port"),
        ("monitoring_mail", {**MAIL, "user": "rack"}, "with only one of user and password; expected both"),
    ],
)
def test_what_cannot_be_is_told_with_its_variable(name: str, value: Any, expected: str) -> None:
    (problem,) = refusals.problems({**GOOD, name: value})
    assert problem.startswith(f"{name} is {expected}")
    assert problem.endswith(f": set {name} in group_vars/all.yml")


def test_a_token_without_a_topic() -> None:
    (problem,) = refusals.problems({**GOOD, "monitoring_ntfy_token": "secret"})
    assert problem.startswith("monitoring_ntfy is empty")
    assert "secret" not in problem
