# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a cluster that is put in and taken out leaves of a kubeconfig: every line that is not about it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from ansible_collections.bramble.pi.plugins.plugin_utils._remote_access import kubeconfig, kubeconfig_text

NAMES = kubeconfig.Names("rpi-cluster", "rpi", "rpi-ada")
FIXTURES = Path(__file__).parents[3] / "fixtures"
YAML11 = (FIXTURES / "kubeconfig" / "yaml11.yml").read_text()
COMMENTS = """\
# mine
apiVersion: v1
kind: Config
clusters:  # of the firm
- name: work
  cluster:
    # by the proxy
    server: https://work  # behind it
    proxy-url: socks5://localhost:1080
    tls-server-name: 'work'

contexts:
  - name: work
    context:
      cluster: work
      user: me
      namespace: "007"
# who I am
users:
-
  name: me
  user:
    token: 0123
    note: |
      two
      lines
current-context: work
# the end
"""
EMPTY = "apiVersion: v1\nclusters: []\ncontexts: null\nusers:\nkind: Config\ncurrent-context: ''\n"
KUBECTL = 'apiVersion: v1\nkind: Config\npreferences: {}\ncurrent-context: ""\n'
FLOW = (
    "{apiVersion: v1, kind: Config, clusters: [{name: a, cluster: {server: 'https://a'}}], "
    "contexts: [], current-context: a}\n"
)
TWICE = "clusters:\n- name: old\nclusters:\n- name: a\n  cluster: {server: https://a, server: https://b}\n"
ALIAS = (
    "clusters:\n- name: a\n  cluster: &a\n    server: https://a\n- name: b\n  cluster: *a\n"
    "current-context: a\nusers:\n- name: me\n  user: {token: yes}\n"
)
TEXTS = {
    "YAML 1.1": YAML11,
    "comments": COMMENTS,
    "as kubectl begins one": KUBECTL,
    "flow": FLOW,
    "JSON": json.dumps(yaml.load(COMMENTS, Loader=yaml.BaseLoader), indent=2) + "\n",
    "duplicate keys": TWICE,
    "documents' marks": "---\n" + COMMENTS + "...\n",
    "indented": "\n".join("  " + line for line in COMMENTS.splitlines()) + "\n",
    "no newline at its end": COMMENTS.rstrip("\n").removesuffix("\n# the end"),
}
WITH_CRLF = {f"{what}, CRLF": text.replace("\n", "\r\n") for what, text in TEXTS.items()}
ALL = {**TEXTS, **WITH_CRLF}
texts = pytest.mark.parametrize("text", ALL.values(), ids=ALL)


def with_cluster(text: str, *, server: str = "https://[fd00::1]:6443", key: str = "key") -> str:
    config = kubeconfig.merged(
        kubeconfig.load(text),
        names=NAMES,
        server=server,
        ca="authority",
        credentials=kubeconfig.Credentials("certificate", key),
    )
    return kubeconfig.changed(text, config)


def without(text: str) -> str:
    return kubeconfig.changed(text, kubeconfig.without(kubeconfig.load(text), names=NAMES))


@texts
def test_every_line_stays(text: str) -> None:
    after = with_cluster(text)
    if "{api" not in text and "[\r\n" not in text and "[\n" not in text and 'current-context: ""' not in text:
        kept = iter(after.splitlines(keepends=True))
        # In this order, with others between.
        assert all(
            any(line.rstrip("\n") in there for there in kept) for line in text.splitlines(keepends=True)
        )
    assert after.count("\r\n") == (after.count("\n") if "\r\n" in text else 0)
    expected = kubeconfig.load(after)
    assert [entry["name"] for entry in expected["clusters"]][-1] == "rpi-cluster"
    before = kubeconfig.load(text)
    for part in ("clusters", "contexts", "users"):
        assert (expected[part] or [])[:-1] == (before.get(part) or [])


@texts
def test_what_is_put_in_can_be_changed_and_taken_out(text: str) -> None:
    once = with_cluster(text)
    assert with_cluster(once) == once
    moved = with_cluster(once, server="https://rack.example.org:6443", key="another")
    assert moved != once
    assert with_cluster(moved) == once
    left = kubeconfig.load(without(once))
    before = kubeconfig.load(text)
    for part in ("clusters", "contexts", "users"):
        assert (left[part] or []) == (before.get(part) or [])
    assert without(without(once)) == without(once)


def test_taken_out_again_the_text_is_as_it_was() -> None:
    for text in (YAML11, COMMENTS, COMMENTS.replace("\n", "\r\n")):
        assert without(with_cluster(text)) == text


@pytest.mark.parametrize("text", ["", "# mine\n", "---\n", "# mine", EMPTY, EMPTY.replace("\n", "\r\n")])
def test_an_empty_one(text: str) -> None:
    after = with_cluster(text)
    config = kubeconfig.load(after)
    assert config["current-context"] == "rpi"
    assert config["clusters"][0]["cluster"]["server"] == "https://[fd00::1]:6443"
    assert text.split("\n", maxsplit=1)[0].rstrip("\r") in after
    assert kubeconfig.load(without(after))["current-context"] == ""


def test_what_was_put_into_our_entry_stays_where_it_is() -> None:
    once = with_cluster(COMMENTS).replace(
        "    certificate-authority-data", "    proxy-url: http://p  # needed\n    certificate-authority-data"
    )
    again = with_cluster(once, server="https://x:6443")
    assert "proxy-url: http://p  # needed\n" in again
    assert kubeconfig.load(again)["clusters"][-1]["cluster"]["proxy-url"] == "http://p"


def test_aliases_of_others_stay_and_ours_are_refused() -> None:
    after = with_cluster(ALIAS)
    assert "- name: b\n  cluster: *a\n- name: rpi-cluster\n" in after
    assert without(after).startswith(ALIAS)
    with pytest.raises(kubeconfig_text.KubeconfigTextError, match=r"aliases.*kubectl config view --raw"):
        with_cluster(ALIAS.replace("name: b", "name: rpi-cluster"))


@pytest.mark.parametrize("text", ["a: &a [*a]\n", "a: b\n---\nc: d\n", "\udcff: a\n", "a: [\n"])
def test_what_cannot_be_read(text: str) -> None:
    with pytest.raises(kubeconfig.RemoteKubeconfigError, match=r"it is not YAML|it contains itself"):
        kubeconfig.load(text)
