# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose a kubeconfig on a node is: one that has anything of its user is not ours to replace or remove."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
import yaml
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import block_yaml
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.ca_hash import ca_cert_hash
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.run_module import REPOSITORY, run_module

PEM, OTHER_PEM = (
    (REPOSITORY / f"tests/unit/fixtures/ca_cert/{name}.crt").read_text() for name in ("rsa", "ecdsa")
)
CA, OTHER_CA = (base64.b64encode(pem.encode()).decode() for pem in (PEM, OTHER_PEM))
ADMIN = f"""\
apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: {CA}
    server: https://10.0.0.1:6443
  name: kubernetes
contexts:
- context:
    cluster: kubernetes
    user: kubernetes-admin
  name: kubernetes-admin@kubernetes
current-context: kubernetes-admin@kubernetes
kind: Config
preferences: {{}}
users:
- name: kubernetes-admin
  user:
    client-certificate-data: bmV3
    client-key-data: bmV3
"""
OLD = ADMIN.replace("bmV3", "b2xk")


def crlf(text: str) -> str:
    return text.replace("\n", "\r\n")


def as_json(text: str) -> str:
    return json.dumps(yaml.safe_load(text), indent=2)


def flow(text: str) -> str:
    return yaml.safe_dump(yaml.safe_load(text), default_flow_style=True)


def without_ca(server: str) -> str:
    return OLD.replace("contexts:\n", f"- cluster:\n    server: {server}\n  name: home\ncontexts:\n", 1)


NAMESPACE = OLD.replace("    user: kubernetes-admin\n", "    namespace: web\n    user: kubernetes-admin\n")
CONTEXT = OLD.replace("current", "- context: {cluster: kubernetes, user: me}\n  name: mine\ncurrent", 1)
USER = OLD + "- name: me\n  user:\n    token: secret\n"
PROXY = OLD.replace("    server:", "    proxy-url: socks5://localhost:1080\n    server:")
THEIRS = {
    "namespace": NAMESPACE,
    "namespace, CRLF": crlf(NAMESPACE),
    "namespace, JSON": as_json(NAMESPACE),
    "namespace, flow": flow(NAMESPACE),
    "context": CONTEXT,
    "context, JSON": as_json(CONTEXT),
    "user": USER,
    "user, CRLF": crlf(USER),
    "user, flow": flow(USER),
    "cluster without a CA, CRLF": crlf(without_ca("http://localhost:8080")),
    "cluster with a comment behind its server": without_ca("http://localhost:8080 # at home"),
    "cluster in quotes": without_ca('"http://localhost:8080" # at home'),
    "cluster, JSON": as_json(without_ca("http://localhost:8080")),
    "proxy": PROXY,
    "preferences": OLD.replace("preferences: {}", "preferences:\n  colors: true"),
    "another way to log in": OLD.replace("    client-key-data: b2xk", "    token: secret"),
    "anchors": OLD.replace("- context:\n", "- context: &ours\n") + "extra: *ours\n",
}
OURS = {
    "as kubeadm writes it": OLD,
    "CRLF": crlf(OLD),
    "JSON": as_json(OLD),
    "comments": "# mine\n" + OLD.replace(":6443\n", ":6443  # the rack\n"),
    "as kubectl of old wrote it": yaml.safe_dump(yaml.safe_load(OLD)),
}
FOREIGN = {
    "another cluster": OLD.replace(CA, OTHER_CA),
    "another cluster, CRLF": crlf(OLD.replace(CA, OTHER_CA)),
    "another cluster, JSON": as_json(OLD.replace(CA, OTHER_CA)),
    "another cluster, flow": flow(OLD.replace(CA, OTHER_CA)),
    "no kubeconfig": "to do: buy milk\n",
}


@pytest.fixture
def dest(tmp_path: Path) -> Path:
    (tmp_path / "admin.conf").write_text(ADMIN)
    return tmp_path / "config"


@pytest.mark.parametrize("text", THEIRS.values(), ids=THEIRS)
def test_what_has_something_of_its_user_stays(dest: Path, text: str) -> None:
    dest.write_bytes(text.encode())
    done = run_module("kubeconfig", dest=str(dest), src=str(dest.with_name("admin.conf")))
    assert done["changed"] is False, done
    gone = run_module("kubeconfig", dest=str(dest), state="absent", ca_cert_hash=ca_cert_hash(PEM))
    assert gone["changed"] is False, gone
    assert dest.read_bytes() == text.encode()


@pytest.mark.parametrize("text", [*OURS.values(), *FOREIGN.values()], ids=[*OURS, *FOREIGN])
def test_what_is_replaced_has_a_backup(dest: Path, text: str) -> None:
    dest.write_bytes(text.encode())
    done = run_module("kubeconfig", dest=str(dest), src=str(dest.with_name("admin.conf")))
    assert done["changed"] is True, done
    assert dest.read_text() == ADMIN
    assert Path(done["backup_file"]).read_bytes() == text.encode()


@pytest.mark.parametrize(
    ("text", "removed"),
    [*((text, True) for text in OURS.values()), *((text, False) for text in FOREIGN.values())],
    ids=[*OURS, *FOREIGN],
)
def test_removal(dest: Path, text: str, removed: bool) -> None:
    dest.write_bytes(text.encode())
    gone = run_module("kubeconfig", dest=str(dest), state="absent", ca_cert_hash=ca_cert_hash(PEM))
    assert gone["changed"] is removed
    assert dest.exists() is not removed


_TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12)
_NAME = st.from_regex(r"[A-Za-z][A-Za-z-]{0,8}", fullmatch=True)
_VALUES = st.recursive(
    _TEXT, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAME, inner, max_size=3), max_leaves=8
)


@given(st.dictionaries(_NAME, _VALUES, min_size=1, max_size=4))
def test_what_is_understood_is_what_a_library_of_yaml_reads(value: object) -> None:
    text = yaml.safe_dump(value, width=10_000)
    try:
        found = block_yaml.load(text)
    except block_yaml.UnclearError:
        return
    assert found == yaml.load(text, Loader=yaml.BaseLoader)


@given(st.text(st.sampled_from("ab:-# \n\"'{}[]&*|"), max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = block_yaml.load(text)
        expected = yaml.load(text, Loader=yaml.BaseLoader)
    except (block_yaml.UnclearError, yaml.YAMLError):
        return
    if isinstance(found, dict):
        assert _texts(found) == _texts(expected)


def _texts(value: object) -> object:
    """Return it with nothing as the empty text, as that loader has it."""
    if isinstance(value, dict):
        return {name: _texts(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_texts(inner) for inner in value]
    return "" if value is None else value
