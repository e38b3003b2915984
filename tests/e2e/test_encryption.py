# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets are encrypted in etcd, by another key, and no more, on two control planes; killed on the way.

A text is looked for in all of etcd's files. What was written before stays in its log, which etcd alone
shortens; of that the database is looked at, after what a user has to do to be rid of it.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence

import pytest

from tests.e2e.conftest import Rack, Run, wait_for
from tests.e2e.test_upgrade import bring_up

pytestmark = pytest.mark.long

GROUPS: dict[str, dict[str, str]] = {
    "control_plane": {"pi-1": "containerd", "pi-2": "containerd"},
    "workers": {},
}
NODES = tuple(GROUPS["control_plane"])
PLAYBOOK = "playbooks/encryption.yml"
ON = ("-e", "control_plane_encrypt_secrets=true")
ROTATE = (*ON, "-e", "encryption_rotate=true")
FILE = "/etc/kubernetes/pki/encryption.json"
KUBECTL = "kubectl --kubeconfig /etc/kubernetes/admin.conf"
MANIFEST = "/etc/kubernetes/manifests/kube-apiserver.yaml"
ETCDCTL = (
    f"{KUBECTL} -n kube-system exec etcd-pi-1 -- etcdctl --cacert=/etc/kubernetes/pki/etcd/ca.crt"
    " --cert=/etc/kubernetes/pki/etcd/server.crt --key=/etc/kubernetes/pki/etcd/server.key"
)
#: How each secret is stored: what stands before its value.
STORED = f"""
for key in $({ETCDCTL} get /registry/secrets/ --prefix --keys-only); do
    {ETCDCTL} get "$key" --print-value-only | head -c 35 | tr -c '[:alnum:]:-' '.'; echo
done
"""


def text(name: str) -> str:
    return f"PLANTED-{name}-text"


def create(rack: Rack, name: str) -> None:
    rack.shell("pi-1", f"{KUBECTL} create secret generic {name} --from-literal=password={text(name)}")


def found(rack: Rack, name: str, *, where: str = "") -> bool:
    """Tell whether a secret's text is in the files of etcd on any node."""
    grep = f"sync; grep --recursive --text --count --fixed-strings {text(name)} /var/lib/etcd/member{where}"
    counts = [rack.shell(node, f"{grep} || test $? = 1") for node in NODES]
    return any(line.rpartition(":")[2] != "0" for each in counts for line in each.split())


def stored(rack: Rack) -> list[str]:
    return rack.shell("pi-1", STORED).split()


def defragment(rack: Rack) -> None:
    """Remove former revisions from the database, as docs/encryption.md says."""
    rack.shell(
        "pi-1",
        f"""revision=$({ETCDCTL} endpoint status --write-out=json | grep -o '"revision":[0-9]*' | cut -d: -f2)
        {ETCDCTL} compact "$revision" && {ETCDCTL} defrag --cluster""",
    )


def read_by_all(rack: Rack, *names: str) -> None:
    """Fail unless each API server reads each secret."""
    for node in NODES:
        server = "--server=https://$(hostname -I | cut -d' ' -f1):6443"
        for name in names:
            password = f"{KUBECTL} {server} get secret {name} -o jsonpath={{.data.password}} | base64 -d"
            # One that was being restarted when a run was killed comes back by itself.
            wait_for(functools.partial(reads, rack, node, password, text(name)), 120, f"{node} reads {name}")


def reads(rack: Rack, node: str, command: str, expected: str) -> bool:
    return rack.shell(node, command) == expected


def files(rack: Rack) -> list[str]:
    return [rack.shell(node, f"cat {FILE} 2>/dev/null || true") for node in NODES]


def changed(done: Run) -> int:
    return sum(counts["changed"] for counts in done.recap().values())


def four_steps(rack: Rack, *arguments: str) -> None:
    """Check mode changes nothing and tells of a change; once applied, nothing is left to do."""
    before = files(rack)
    assert changed(rack.playbook(PLAYBOOK, "--check", "--diff", *arguments)) > 0
    assert files(rack) == before
    applied = rack.playbook(PLAYBOOK, "--diff", *arguments)
    assert changed(applied) > 0
    after = files(rack)
    assert after != before
    assert not [line for line in "".join(after).splitlines() if '"secret"' in line and line in applied.output]
    assert changed(rack.playbook(PLAYBOOK, "--check", "--diff", *arguments)) == 0
    assert changed(rack.playbook(PLAYBOOK, *arguments)) == 0
    assert files(rack) == after


def killed_when(rack: Rack, node: str, condition: str, arguments: Sequence[str]) -> None:
    """Kill a run as soon as something is so on a node."""
    with rack.beside(*rack.playbook_command(PLAYBOOK, *arguments)) as run:
        until = time.monotonic() + 600
        while rack.shell(node, f"{{ {condition}; }} >/dev/null 2>&1 && echo so || true") != "so\n":
            assert run.poll() is None, f"the run has ended before: {condition}"
            assert time.monotonic() < until
        run.kill()


@pytest.fixture(scope="module")
def plain(rack: Rack, tmp_path_factory: pytest.TempPathFactory) -> Rack:
    """Give a cluster with a secret whose text is in etcd's files."""
    bring_up(rack, GROUPS, tmp_path_factory.mktemp("encryption"))
    create(rack, "before")
    assert found(rack, "before")
    return rack


def test_on_in_four_steps(plain: Rack) -> None:
    four_steps(plain, *ON)
    one, two = files(plain)
    assert one == two
    assert plain.shell("pi-2", f"stat -c %a {FILE}") == "600\n"
    create(plain, "after")
    assert not found(plain, "after")
    assert {each.rpartition("-")[0] for each in stored(plain)} == {"k8s:enc:secretbox:v1:key-1"}
    defragment(plain)
    assert not found(plain, "before", where="/snap/db")
    read_by_all(plain, "before", "after")


def test_a_rotation_that_is_killed_is_finished(plain: Rack) -> None:
    killed_when(plain, "pi-2", f"grep -q key-2- {FILE}", ROTATE)
    read_by_all(plain, "before", "after")
    killed_when(plain, "pi-1", f"! grep -q key-1- {FILE}", ON)
    read_by_all(plain, "before", "after")
    done = plain.playbook(PLAYBOOK, *ON)
    assert changed(done) > 0
    one, two = files(plain)
    assert one == two
    assert "key-1-" not in one
    assert {each.rpartition("-")[0] for each in stored(plain)} == {"k8s:enc:secretbox:v1:key-2"}
    assert changed(plain.playbook(PLAYBOOK, *ON)) == 0
    create(plain, "rotated")
    assert not found(plain, "rotated")
    read_by_all(plain, "before", "after", "rotated")


def test_a_control_plane_that_is_reset_has_no_key_and_joins_with_it(plain: Rack) -> None:
    plain.playbook("playbooks/reset.yml", "--limit", "pi-2", "-e", "reset_confirm=yes")
    one, two = files(plain)
    assert one
    assert two == ""
    plain.playbook("site.yml", *ON)
    assert files(plain) == [one, one]
    assert f"--encryption-provider-config={FILE}" in plain.shell("pi-2", f"cat {MANIFEST}")
    read_by_all(plain, "before", "after", "rotated")
    assert changed(plain.playbook(PLAYBOOK, *ON)) == 0


def test_off_again_after_a_kill(plain: Rack) -> None:
    killed_when(plain, "pi-2", f"grep -q identity {FILE}", ())
    four_steps(plain)
    assert files(plain) == ["", ""]
    for node in NODES:
        assert "encryption" not in plain.shell(node, f"cat {MANIFEST}")
    config = plain.kubectl("-n", "kube-system", "get", "configmap", "kubeadm-config")["data"]
    assert "encryption" not in config["ClusterConfiguration"]
    assert not [each for each in stored(plain) if each.startswith("k8s:enc:")]
    wait_for(lambda: found(plain, "after"), 30, "its text is stored")
    read_by_all(plain, "before", "after", "rotated")
