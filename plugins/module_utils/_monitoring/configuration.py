# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configurations of Prometheus and alertmanager, as text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

FOLDER = "/etc/bramble/monitoring"
PROMETHEUS = f"{FOLDER}/prometheus.yml"
RULES = f"{FOLDER}/rules.yml"
ALERTMANAGER = f"{FOLDER}/alertmanager.yml"
#: The authority of the cluster; the client certificate that it is asked with lies beside.
CLUSTER_CA = f"{FOLDER}/cluster-ca.crt"

NODE_PORT, ALERTMANAGER_PORT = 9100, 9093
_API_PORT, _KUBELET_PORT = 6443, 10250
#: What most of the series of the API server and the kubelets are, and no rule asks for.
_UNUSED = ".+_bucket|apiserver_request_.+|rest_client_.+|workqueue_.+|go_.+"
_REPEAT = "12h"
#: How long alerts of a node are waited for, so that they come in one message.
_GROUP_WAIT = 30

_TITLE = (
    '{{ if eq .status "resolved" }}Resolved: {{ end }}{{ .commonLabels.node }} {{ .commonLabels.alertname }}'
)
_MESSAGE = "{{ range .alerts }}{{ .annotations.summary }}\n{{ .annotations.remedy }}\n{{ end }}"


class Target(NamedTuple):
    """A host that is asked: its name in the inventory, and where the others reach it."""

    name: str
    address: str
    #: It is no node of the cluster, such as a head of its own, if neither.
    control_plane: bool = False
    worker: bool = False


class Mail(NamedTuple):
    """Where alerts are mailed to, and by which server."""

    to: str
    sender: str
    #: With its port.
    server: str
    user: str = ""
    password: str = ""
    tls: bool = True


class Receivers(NamedTuple):
    """Where alerts go; each is optional, and all that are there get all alerts."""

    mail: Mail | None = None
    webhook: str = ""
    ntfy: str = ""
    ntfy_token: str = ""


def _json(document: Mapping[str, Any]) -> str:
    # JSON is YAML, and nodes need no library for it.
    return json.dumps(document, indent=2) + "\n"


def _labelled(targets: Sequence[Target], port: int) -> list[dict[str, Any]]:
    return [{"targets": [f"{target.address}:{port}"], "labels": {"node": target.name}} for target in targets]


def _of_cluster(targets: Sequence[Target], *, certificate: str, etcd_port: int) -> list[dict[str, Any]]:
    control_planes = [target for target in targets if target.control_plane]
    nodes = [target for target in targets if target.control_plane or target.worker]
    client = {"cert_file": certificate, "key_file": certificate, "ca_file": CLUSTER_CA}
    unused = [{"source_labels": ["__name__"], "regex": _UNUSED, "action": "drop"}]
    return [
        {
            "job_name": "apiserver",
            "scheme": "https",
            "tls_config": client,
            "metric_relabel_configs": unused,
            "static_configs": _labelled(control_planes, _API_PORT),
        },
        {
            "job_name": "kubelet",
            "scheme": "https",
            # A kubelet's certificate is one that it signed itself. What the client proves by its own is not
            # disclosed to a server, and numbers are all that another one could tell.
            "tls_config": {**client, "insecure_skip_verify": True},
            "metric_relabel_configs": unused,
            "static_configs": _labelled(nodes, _KUBELET_PORT),
        },
        {"job_name": "etcd", "static_configs": _labelled(control_planes, etcd_port)},
    ]


def prometheus(
    *,
    targets: Sequence[Target],
    certificate: str | None,
    scrape_interval: int,
    address: str,
    etcd_port: int,
    folder: str = FOLDER,
) -> str:
    """Return Prometheus' configuration; without a certificate no cluster is asked.

    ``folder`` has the rules.
    """
    cluster = _of_cluster(targets, certificate=certificate, etcd_port=etcd_port) if certificate else []
    return _json(
        {
            "global": {
                "scrape_interval": f"{scrape_interval}s",
                "evaluation_interval": f"{scrape_interval}s",
                "scrape_timeout": f"{min(scrape_interval, 10)}s",
            },
            "rule_files": [f"{folder}/{RULES.rpartition('/')[2]}"],
            "alerting": {
                "alertmanagers": [{"static_configs": [{"targets": [f"{address}:{ALERTMANAGER_PORT}"]}]}]
            },
            "scrape_configs": [
                {"job_name": "node", "static_configs": _labelled(targets, NODE_PORT)},
                *cluster,
            ],
        }
    )


def _mail(mail: Mail) -> dict[str, Any]:
    login = {"auth_username": mail.user, "auth_password": mail.password} if mail.user else {}
    return {
        "to": mail.to,
        "from": mail.sender,
        "smarthost": mail.server,
        "require_tls": mail.tls,
        "send_resolved": True,
        **login,
    }


def ntfy_url(topic: str) -> str:
    """Return the URL by which ntfy, from 2.10 on, makes a message out of what alertmanager sends."""
    mark = "&" if "?" in topic else "?"
    return f"{topic}{mark}tpl=1&t={quote(_TITLE, safe='')}&m={quote(_MESSAGE, safe='')}"


def _webhooks(receivers: Receivers) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    if receivers.webhook:
        found.append({"url": receivers.webhook, "send_resolved": True})
    if receivers.ntfy:
        token = {"http_config": {"bearer_token": receivers.ntfy_token}}
        login = token if receivers.ntfy_token else {}
        found.append({"url": ntfy_url(receivers.ntfy), "send_resolved": True, **login})
    return found


def alertmanager(*, receivers: Receivers, after: int) -> str:
    """Return alertmanager's configuration, which has secrets in it.

    ``after`` is for how many seconds a fault stands before it is told.
    """
    receiver: dict[str, Any] = {"name": "all"}
    if receivers.mail:
        receiver["email_configs"] = [_mail(receivers.mail)]
    if webhooks := _webhooks(receivers):
        receiver["webhook_configs"] = webhooks
    return _json(
        {
            "route": {
                "receiver": "all",
                "group_by": ["node", "alertname"],
                "group_wait": f"{min(_GROUP_WAIT, after)}s",
                "group_interval": f"{after}s",
                "repeat_interval": _REPEAT,
            },
            # Of a node that does not answer nothing else is told. These words are known to alertmanagers
            # before 0.22 as well, such as that of Debian 11.
            "inhibit_rules": [
                {
                    "source_match": {"alertname": "BrambleUnreachable"},
                    "target_match_re": {"node": ".+"},
                    "equal": ["node"],
                }
            ],
            "receivers": [receiver],
        }
    )
