# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import types
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import renewal
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.renewal import Certificate, Wishes

NOW = datetime(2026, 10, 1, 12, 0, 0, tzinfo=timezone.utc)
YEAR = 365


def made(left: float, *, life: float = YEAR, path: str = "/etc/kubernetes/pki/x.crt") -> Certificate:
    """Return a certificate that has so many days left of its life."""
    expires = NOW + timedelta(days=left)
    return Certificate(path, expires - timedelta(days=life), expires)


@pytest.mark.parametrize(
    ("certificate", "authority", "days", "due"),
    [
        (made(364), made(3650), 60, False),
        (made(60), made(3650), 60, False),
        (made(59.9), made(3650), 60, True),
        (made(-1), made(3650), 60, True),
        # A new one is never due.
        (made(YEAR), made(3650), renewal.MOST_DAYS, False),
        # Made to live for a month: in its last third, and not each night.
        (made(30, life=30), made(3650), 60, False),
        (made(10.1, life=30), made(3650), 60, False),
        (made(9.9, life=30), made(3650), 60, True),
        # It would not live longer: kubeadm ends it with its authority.
        (made(20), made(20, life=3650), 60, False),
        (made(19), made(20, life=3650), 60, True),
        (made(10), None, 60, True),
        (Certificate("x", error="there is no certificate"), made(3650), 60, False),
    ],
)
def test_what_is_due(certificate: Certificate, authority: Certificate | None, days: int, due: bool) -> None:
    assert renewal.is_due(certificate, authority=authority, now=NOW, days=days) is due


@pytest.mark.parametrize("value", [0, -1, 121, 365, "soon", None])
def test_days_that_do_not_work(value: Any) -> None:
    with pytest.raises(
        renewal.RenewalError, match=f"certificates_renew_before is {value}; expected 1 to 120"
    ):
        renewal.check_renew_before(value)


@pytest.mark.parametrize("value", [1, 60, "60", 120])
def test_days_that_work(value: Any) -> None:
    assert renewal.check_renew_before(value) == int(value)


KEYS = dict.fromkeys(renewal.AUTHORITIES, True)
CA = made(3000, life=3650, path="/etc/kubernetes/pki/ca.crt")
BY_NAME = {each.name: each for each in renewal.SIGNED}


def refused(
    *due: str,
    keys: Mapping[str, bool] = types.MappingProxyType(KEYS),
    found: Certificate = CA,
    now: datetime = NOW,
) -> list[str]:
    return renewal.refusals(
        due=[BY_NAME[name] for name in due], keys=keys, found={found.path: found}, now=now
    )


def test_nothing_speaks_against_it() -> None:
    assert refused("apiserver", "etcd-peer", "front-proxy-client") == []


def test_a_key_that_is_elsewhere_stops_what_it_would_sign_alone() -> None:
    keys = {**KEYS, "pki/etcd/ca": False}
    assert refused("apiserver", keys=keys) == []
    (problem,) = refused("apiserver", "etcd-peer", "etcd-server", keys=keys)
    assert "/etc/kubernetes/pki/etcd/ca.key is not there, so that etcd-peer, etcd-server cannot" in problem


def test_a_clock_that_stands_before_the_authority_began() -> None:
    (problem,) = refused("apiserver", now=NOW - timedelta(days=3000))
    assert "the clock of this node stands at 2018-07-15 12:00 UTC, and /etc/kubernetes/pki/ca.crt" in problem


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/etc/kubernetes/pki/etcd/peer.crt", "certs"), ("/etc/kubernetes/admin.conf", "kubeconfig")],
)
def test_what_cannot_be_read(path: str, kind: str) -> None:
    (problem,) = refused(found=Certificate(path, error="there is no block"))
    assert problem.startswith(f"{path}: there is no block; expected a certificate that can be read")
    assert f"kubeadm init phase {kind} --help" in problem


def test_what_of_others_cannot_be_read_is_theirs() -> None:
    assert refused(found=Certificate("/etc/kubernetes/pki/own.crt", error="there is no block")) == []


def test_an_authority_that_ends_is_told() -> None:
    (note,) = renewal.authority_notes(
        [CA, made(100, life=3650, path="/etc/kubernetes/pki/e/ca.crt")], now=NOW
    )
    assert note.startswith(
        "/etc/kubernetes/pki/e/ca.crt ends at 2027-01-09, in 100 days; expected 365 or more"
    )


def test_files_of_a_renewal_that_was_interrupted() -> None:
    files = {"/etc/kubernetes/pki/apiserver.crt": "PEM\n", "/etc/kubernetes/pki/apiserver.key": "KEY\n"}
    text = renewal.dumped_renewal(name="apiserver", files=files)
    assert renewal.parse_renewal(text) == files
    for broken in (None, "", "[]", "{}", '{"files": 3}', text[:20]):
        assert renewal.parse_renewal(broken) == {}


def test_settings_of_the_timer_are_those_of_the_module() -> None:
    parameters: dict[str, Any] = {
        "renew": "all",
        "renew_before": 30,
        "timeout": 100,
        "node_name": "pi-1",
        "others": True,
        "kubeconfigs": [{"dest": "~pi/.kube/config", "owner": "pi"}],
    }
    wishes = Wishes.of(parameters)
    assert wishes.everything
    again = Wishes.of(json.loads(wishes.settings()))
    # A timer never renews what is not due.
    assert not again.everything
    assert again.settings() == wishes.settings()


def test_programs_are_restarted_in_the_order_in_which_they_ask_each_other() -> None:
    programs = [each.program for each in renewal.SIGNED]
    assert list(dict.fromkeys(programs)) == [
        "etcd",
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        None,
    ]
