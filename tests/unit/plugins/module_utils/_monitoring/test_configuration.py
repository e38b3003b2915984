# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import urllib.parse
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._monitoring import configuration, units
from ansible_collections.bramble.pi.plugins.module_utils._monitoring.configuration import (
    Mail,
    Receivers,
    Target,
)

TARGETS = [
    Target("head", "10.0.0.1"),
    Target("pi-1", "10.0.0.11", control_plane=True),
    Target("pi-2", "10.0.0.12", worker=True),
]


def prometheus(certificate: str | None) -> dict[str, Any]:
    text = configuration.prometheus(
        targets=TARGETS, certificate=certificate, scrape_interval=5, address="127.0.0.1", etcd_port=12381
    )
    found: dict[str, Any] = json.loads(text)
    return found


def jobs(certificate: str | None) -> dict[str, dict[str, Any]]:
    return {job["job_name"]: job for job in prometheus(certificate)["scrape_configs"]}


def targets(job: dict[str, Any]) -> dict[str, str]:
    return {each["labels"]["node"]: each["targets"][0] for each in job["static_configs"]}


def test_without_a_certificate_no_cluster_is_asked() -> None:
    (job,) = jobs(None).values()
    assert targets(job) == {"head": "10.0.0.1:9100", "pi-1": "10.0.0.11:9100", "pi-2": "10.0.0.12:9100"}


def test_with_one_each_part_of_the_cluster_is_asked_where_it_is() -> None:
    found = jobs("/c.pem")
    assert targets(found["apiserver"]) == {"pi-1": "10.0.0.11:6443"}
    assert targets(found["kubelet"]) == {"pi-1": "10.0.0.11:10250", "pi-2": "10.0.0.12:10250"}
    assert targets(found["etcd"]) == {"pi-1": "10.0.0.11:12381"}
    assert found["apiserver"]["tls_config"] == {
        "cert_file": "/c.pem",
        "key_file": "/c.pem",
        "ca_file": "/etc/bramble/monitoring/cluster-ca.crt",
    }
    # etcd's own certificates have no lesser rights, and are not used.
    assert "tls_config" not in found["etcd"]


def test_a_question_ends_before_the_next_one() -> None:
    assert prometheus(None)["global"]["scrape_timeout"] == "5s"


def alertmanager(**receivers: Any) -> dict[str, Any]:
    text = configuration.alertmanager(receivers=Receivers(**receivers), after=300)
    found: dict[str, Any] = json.loads(text)["receivers"][0]
    return found


def test_who_is_told() -> None:
    assert alertmanager() == {"name": "all"}
    mail = Mail("ada@example.org", "rack@example.org", "mail.example.org:587", "rack", "secret")
    found = alertmanager(mail=mail, webhook="http://10.0.0.9/x", ntfy="https://ntfy.sh/rack", ntfy_token="t")
    assert found["email_configs"] == [
        {
            "to": "ada@example.org",
            "from": "rack@example.org",
            "smarthost": "mail.example.org:587",
            "require_tls": True,
            "send_resolved": True,
            "auth_username": "rack",
            "auth_password": "secret",
        }
    ]
    webhook, ntfy = found["webhook_configs"]
    assert webhook == {"url": "http://10.0.0.9/x", "send_resolved": True}
    assert ntfy["http_config"] == {"bearer_token": "t"}


def test_ntfy_makes_a_message_of_what_alertmanager_sends() -> None:
    url = urllib.parse.urlsplit(configuration.ntfy_url("https://ntfy.sh/rack"))
    query = urllib.parse.parse_qs(url.query)
    assert (url.path, query["tpl"]) == ("/rack", ["1"])
    assert "{{ .annotations.remedy }}" in query["m"][0]
    assert ".commonLabels.node" in query["t"][0]
    assert configuration.ntfy_url("https://x/rack?up=1").startswith("https://x/rack?up=1&tpl=1&")


def test_nothing_listens_at_all_addresses() -> None:
    assert "--web.listen-address=10.0.0.2:9100" in units.exporter(address="10.0.0.2")
    manager = units.manager(address="127.0.0.1", data="/srv/data")
    assert "--web.listen-address=127.0.0.1:9093 --cluster.listen-address= " in manager
    server = units.server(address="127.0.0.1", port=9090, data="/srv/data", size="1GB")
    assert "--web.listen-address=127.0.0.1:9090 " in server


def test_etcd_s_metrics_are_for_one_host() -> None:
    for text in (
        units.etcd_socket(address="10.0.0.11", port=12381, admitted="10.0.0.1"),
        units.etcd_service(admitted="10.0.0.1"),
    ):
        assert "IPAddressDeny=any\nIPAddressAllow=localhost 10.0.0.1\n" in text
