# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file of keys, and the steps from any to any other, killed anywhere."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Iterator
from dataclasses import replace

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import encryption
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.encryption import (
    IDENTITY,
    EncryptionError,
    Node,
    Step,
)
from hypothesis import given
from hypothesis import strategies as st

SECRETS = {number: bytes([number]) * encryption.KEY_BYTES for number in (1, 2, 3)}
NAMES = {number: encryption.name_of(secret, number=number) for number, secret in SECRETS.items()}
KEYS = {NAMES[number]: base64.b64encode(secret).decode() for number, secret in SECRETS.items()}
K1, K2, K3 = NAMES.values()


def node(*providers: str, current: bool = True) -> Node:
    keys = {name: KEYS[name] for name in providers if name != IDENTITY}
    return Node(providers or (IDENTITY,), keys, current=current)


PLAIN = node()


# What to do


STEPS: dict[str, tuple[list[Node], dict[str, bool], Step]] = {
    "no control plane": ([], {"encrypt": True}, Step(done=True)),
    "plain, and meant to be": ([PLAIN, PLAIN], {"encrypt": False}, Step(done=True)),
    "encrypted, and meant to be": ([node(K1), node(K1)], {"encrypt": True}, Step(done=True)),
    "on: a key is made": ([PLAIN, PLAIN], {"encrypt": True}, Step(new_key=1)),
    "on: the others get it": (
        [node(IDENTITY, K1), PLAIN],
        {"encrypt": True},
        Step(providers={"pi-2": (IDENTITY, K1)}),
    ),
    "on: it is the first": (
        [node(IDENTITY, K1), node(IDENTITY, K1)],
        {"encrypt": True},
        Step(remember=True, providers={"pi-1": (K1, IDENTITY), "pi-2": (K1, IDENTITY)}),
    ),
    "on: killed between the two": (
        [node(K1, IDENTITY), node(IDENTITY, K1)],
        {"encrypt": True},
        Step(remember=True, providers={"pi-2": (K1, IDENTITY)}),
    ),
    "on: killed before a restart": (
        [node(K1, IDENTITY), replace(node(K1, IDENTITY), current=False)],
        {"encrypt": True},
        Step(providers={"pi-2": (K1, IDENTITY)}),
    ),
    "on: rewritten, then alone": (
        [node(K1, IDENTITY), node(K1, IDENTITY)],
        {"encrypt": True},
        Step(rewrite=True, remember=True, providers={"pi-1": (K1,), "pi-2": (K1,)}),
    ),
    "rotation: a key is made": ([node(K1), node(K1)], {"encrypt": True, "rotate": True}, Step(new_key=2)),
    "rotation: one that was begun is finished": (
        [node(K1, K2), node(K1)],
        {"encrypt": True, "rotate": True},
        Step(providers={"pi-2": (K1, K2)}),
    ),
    "rotation: begun, and no rotation asked for any more": (
        [node(K1, K2), node(K1)],
        {"encrypt": True},
        Step(providers={"pi-2": (K1, K2)}),
    ),
    "rotation: the new one is the first": (
        [node(K1, K2), node(K1, K2)],
        {"encrypt": True},
        Step(remember=True, providers={"pi-1": (K2, K1), "pi-2": (K2, K1)}),
    ),
    "rotation: killed while the old one goes": (
        [node(K2), node(K2, K1)],
        {"encrypt": True},
        Step(rewrite=True, remember=True, providers={"pi-2": (K2,)}),
    ),
    "off: plain text is read": (
        [node(K1), node(K1)],
        {"encrypt": False},
        Step(providers={"pi-1": (K1, IDENTITY), "pi-2": (K1, IDENTITY)}),
    ),
    "off: plain text is the first": (
        [node(K1, IDENTITY), node(K1, IDENTITY)],
        {"encrypt": False},
        Step(providers={"pi-1": (IDENTITY, K1), "pi-2": (IDENTITY, K1)}),
    ),
    "off: rewritten, then without a key": (
        [node(IDENTITY, K1), PLAIN],
        {"encrypt": False},
        Step(rewrite=True, remember=False, providers={"pi-1": (IDENTITY,)}),
    ),
    "off in a rotation": (
        [node(K2), node(K2, K1)],
        {"encrypt": False},
        Step(providers={"pi-1": (K2, IDENTITY), "pi-2": (K2, K1, IDENTITY)}),
    ),
    "other keys on each, as two clusters had": (
        [node(K1), node(K2)],
        {"encrypt": True},
        Step(providers={"pi-1": (K1, K2), "pi-2": (K2, K1)}),
    ),
}


@pytest.mark.parametrize("case", STEPS)
def test_the_next_step(case: str) -> None:
    nodes, wish, expected = STEPS[case]
    found = encryption.next_step({f"pi-{i}": each for i, each in enumerate(nodes, 1)}, **wish)
    assert found == expected


class Cluster:
    """API servers with what they run by, files that may be newer, and how each secret is stored."""

    def __init__(self, size: int, chance: random.Random) -> None:
        self.chance = chance
        self.files = {f"pi-{number}": PLAIN for number in range(1, size + 1)}
        self.runs: dict[str, tuple[str, ...]] = dict.fromkeys(self.files, (IDENTITY,))
        self.secrets = [IDENTITY] * 4
        self.told = False
        self.made = 0

    def check(self) -> None:
        """Whatever is stored or can be written now, all read, and so does who joins now."""
        # It is told of keys by what kubeadm remembers, and gets the file of the first.
        joined = self.files["pi-1"].providers if self.told else (IDENTITY,)
        assert not (self.told and joined == (IDENTITY,)), "it is told of a file that is not there"
        servers = {**self.runs, "joined": joined}
        written = {providers[0] for providers in servers.values()} | set(self.secrets)
        for host, providers in servers.items():
            assert written <= set(providers), f"{host} reads by {providers}, of {written}"

    def writes(self) -> None:
        """Somebody writes a secret, by any API server."""
        host = self.chance.choice(sorted(self.runs))
        self.secrets[self.chance.randrange(len(self.secrets))] = self.runs[host][0]
        self.check()

    def read(self) -> dict[str, Node]:
        return {
            host: replace(file, current=file.providers == self.runs[host])
            for host, file in self.files.items()
        }

    def step(self, step: Step) -> Iterator[None]:
        """Do a step; at each yield the run may be killed."""
        if step.new_key:
            self.made += 1
            secret = bytes([self.made]) * encryption.KEY_BYTES
            yield from self.configure(
                "pi-1", encryption.with_key(self.files["pi-1"], number=step.new_key, secret=secret)
            )
        if step.rewrite:
            for index in range(len(self.secrets)):
                host = self.chance.choice(sorted(self.runs))
                self.secrets[index] = self.runs[host][0]
                yield
        if step.remember is not None:
            self.told = step.remember
            yield
        keys = encryption.rack_keys(self.files)
        for host, providers in step.providers.items():
            yield from self.configure(
                host, Node(providers, {name: keys[name] for name in providers if name != IDENTITY})
            )

    def configure(self, host: str, node: Node) -> Iterator[None]:
        # As a node reads its own file.
        text = encryption.dumped(providers=node.providers, keys=node.keys)
        self.files[host] = encryption.parse(text) if text else PLAIN
        yield
        self.runs[host] = self.files[host].providers
        yield


WISHES = st.fixed_dictionaries({"encrypt": st.booleans(), "rotate": st.booleans()})


@given(
    size=st.integers(1, 3),
    runs=st.lists(st.tuples(WISHES, st.integers(0, 40)), max_size=5),
    last=WISHES,
    seed=st.integers(0, 2**32),
)
def test_killed_anywhere_everything_is_readable_and_the_last_wish_comes_true(
    size: int, runs: list[tuple[dict[str, bool], int]], last: dict[str, bool], seed: int
) -> None:
    cluster = Cluster(size, random.Random(seed))

    def run(wish: dict[str, bool], moments: int) -> bool:
        rotate = wish["rotate"]
        for _number in range(12):
            step = encryption.next_step(cluster.read(), encrypt=wish["encrypt"], rotate=rotate)
            rotate = False
            if step.done:
                return True
            for _moment in cluster.step(step):
                cluster.check()
                cluster.writes()
                moments -= 1
                if moments < 0:
                    return False
        raise AssertionError("it does not come to its end")

    for wish, moments in runs:
        run(wish, moments)
    assert run(last, 10000)
    (providers,) = set(cluster.runs.values())
    assert len(providers) == 1
    assert (providers != (IDENTITY,)) == last["encrypt"] == cluster.told
    assert set(cluster.secrets) == set(providers)


# The file


@pytest.mark.parametrize(
    "providers",
    [(K1,), (K1, IDENTITY), (IDENTITY, K1), (K2, K1), (K2, K1, IDENTITY), (IDENTITY, K1, K2)],
)
def test_what_is_written_is_read(providers: tuple[str, ...]) -> None:
    found = encryption.parse(encryption.dumped(providers=providers, keys=KEYS))
    assert found == node(*providers)
    assert not any(secret in repr(found) for secret in KEYS.values())


def test_plain_text_has_no_file() -> None:
    assert encryption.dumped(providers=(IDENTITY,), keys=KEYS) == ""


def document(**changes: object) -> str:
    read = json.loads(encryption.dumped(providers=(K1,), keys=KEYS))
    read["resources"][0].update(changes)
    return json.dumps(read)


WRONG = {
    "empty": ("", "cannot be read (JSONDecodeError)"),
    "another form": ("[]", "cannot be read (TypeError)"),
    "another kind": ("{}", "cannot be read (KeyError)"),
    "more resources": (document(resources=["secrets", "configmaps"]), "is for other resources"),
    "another provider": (document(providers=[{"aescbc": {"keys": []}}]), "cannot be read (KeyError)"),
    "a short key": (
        document(providers=[{"secretbox": {"keys": [{"name": "mine", "secret": "PLANTED="}]}}]),
        "mine in /etc/kubernetes/pki/encryption.json is not 32 bytes",
    ),
    "no base64": (
        document(providers=[{"secretbox": {"keys": [{"name": "mine", "secret": "PLANTED!"}]}}]),
        "is not 32 bytes as base64",
    ),
    "another key under this name": (
        document(providers=[{"secretbox": {"keys": [{"name": K1, "secret": KEYS[K2]}]}}]),
        f"{K1} in /etc/kubernetes/pki/encryption.json is another key than its name says",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_another_file_is_refused_and_not_shown(case: str) -> None:
    text, message = WRONG[case]
    with pytest.raises(EncryptionError) as caught:
        encryption.parse(text)
    assert message in str(caught.value)
    assert "expected" in str(caught.value)
    assert "PLANTED" not in str(caught.value)
    assert not any(secret in str(caught.value) for secret in KEYS.values())


MANIFEST = """\
metadata:
  annotations:
    kubeadm.kubernetes.io/kube-apiserver.advertise-address.endpoint: 10.0.0.1:6443
  labels:
    component: kube-apiserver
spec:
  containers: []
"""


def test_a_manifest_changes_with_its_file() -> None:
    one, two = (encryption.with_mark(MANIFEST, text=text) for text in ("one", "two"))
    assert [line for line in one.splitlines() if line not in MANIFEST] == [
        '    bramble.pi/encryption: "7692c3ad3540bb80"'
    ]
    assert one != two
    assert encryption.with_mark(one, text="two") == two
    assert encryption.with_mark(two, text="two") == two
    assert encryption.with_mark(two, text="") == MANIFEST


def test_a_manifest_without_annotations_stays_as_it_is() -> None:
    assert encryption.with_mark("spec: {}\n", text="one") == "spec: {}\n"


def test_nodes_with_another_key_of_the_same_name_are_refused() -> None:
    nodes = {"pi-1": Node(("mine",), {"mine": KEYS[K1]}), "pi-2": Node(("mine",), {"mine": KEYS[K2]})}
    with pytest.raises(EncryptionError, match="pi-2 has another key mine"):
        encryption.rack_keys(nodes)


@pytest.mark.parametrize(
    ("document", "encrypted", "expected"),
    [
        (
            {"apiVersion": "kubeadm.k8s.io/v1beta2"},
            True,
            {"extraArgs": {"encryption-provider-config": "/etc/kubernetes/pki/encryption.json"}},
        ),
        (
            {"apiVersion": "kubeadm.k8s.io/v1beta4", "apiServer": {"certSANs": ["pi-1"]}},
            True,
            {
                "certSANs": ["pi-1"],
                "extraArgs": [
                    {"name": "encryption-provider-config", "value": "/etc/kubernetes/pki/encryption.json"}
                ],
            },
        ),
        (
            {
                "apiVersion": "kubeadm.k8s.io/v1beta3",
                "apiServer": {"extraArgs": {"encryption-provider-config": "x", "v": "2"}},
            },
            False,
            {"extraArgs": {"v": "2"}},
        ),
        ({"apiVersion": "kubeadm.k8s.io/v1beta4"}, False, None),
    ],
)
def test_what_kubeadm_remembers(document: dict[str, object], encrypted: bool, expected: object) -> None:
    found = encryption.in_cluster_configuration(document, encrypted=encrypted)
    assert found.get("apiServer") == expected
