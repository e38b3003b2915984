# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An API server in namespaces that is told of keys; the real one is in tests/e2e/test_encryption.py."""

from __future__ import annotations

import base64
import json
import shlex
from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import encryption

from tests.unit.certificates_node import KUBERNETES, CertificatesNode

FILE = f"{KUBERNETES}/pki/encryption.json"
MANIFEST = f"{KUBERNETES}/manifests/kube-apiserver.yaml"
FLAG = f"--encryption-provider-config={FILE}"
SECRETS = {1: b"a" * encryption.KEY_BYTES, 2: b"b" * encryption.KEY_BYTES}
KEYS = {
    encryption.name_of(secret, number=number): base64.b64encode(secret).decode()
    for number, secret in SECRETS.items()
}
K1, K2 = KEYS
#: Starts static pods with the flags of their manifests, and again when these change.
KUBELET = """
import json, subprocess, threading, time
def read(program):
    return open(f"/etc/kubernetes/manifests/{program}.yaml").read()
def keep(program, port, shown):
    while True:
        manifest = read(program)
        flags = [line.strip()[2:] for line in manifest.splitlines() if line.strip().startswith("- --")]
        command = [program, "/run/program.py", program, str(port), shown, *flags]
        process = subprocess.Popen(command, executable="/usr/bin/python3")
        while process.poll() is None:
            if read(program) != manifest:
                process.terminate()
            time.sleep(0.1)
for program, _flags, port, shown in json.load(open("/run/pods.json")):
    threading.Thread(target=keep, args=(program, port, shown)).start()
"""


def text(*providers: str) -> str:
    return encryption.dumped(providers=providers, keys=KEYS)


FIRST, ROTATED = text(K1, "identity"), text(K2, K1)
SHOW = "tr '\\0' '\\n' </proc/$(pgrep -f ^kube-apiserver)/cmdline | grep encryption; true"
LEFT = f"ls {FILE} 2>&1; grep encryption {MANIFEST}; true"


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    node = CertificatesNode(tmp_path_factory.mktemp("encryption"))
    node.write("/run/kubelet.py", KUBELET)
    annotated = 'metadata:\n  annotations:\n    endpoint: "10.0.0.1:6443"\n'
    node.write(MANIFEST, annotated + node.files[MANIFEST])
    made = node.begin()

    def module(*, check: bool = False, **options: Any) -> str:
        return node.module("secrets_encryption", check=check, timeout=20, **options)

    commands = {
        "read plain": module(),
        "check a key": module(check=True, new_key=1),
        "nothing yet": LEFT,
        "a key": module(new_key=1),
        "the key's file": f"stat -c %a {FILE}; grep -c identity {FILE}; grep -o key-1- {FILE}",
        "the key's flag": SHOW,
        "check first": module(check=True, configuration=FIRST),
        "first": module(configuration=FIRST),
        "check first again": module(check=True, configuration=FIRST),
        "first again": module(configuration=FIRST),
        "read first": module(),
        # As a run leaves it that is killed before the restart.
        "written": f"printf %s {shlex.quote(ROTATED)} >{FILE}",
        "read written": module(),
        "check written": module(check=True, configuration=ROTATED),
        "apply written": module(configuration=ROTATED),
        "read rotated": module(),
        # And before the kubelet has seen the manifest; it is long enough ago that nobody waits for it.
        "marked": f"touch {FILE}",
        "apply marked": module(configuration=ROTATED),
        "starts": "grep -c apiserver /run/started",
        "check off": module(check=True, configuration=""),
        "still on": LEFT,
        "off": module(configuration=""),
        "left": LEFT,
        "off again": module(configuration=""),
        "not in its flags": SHOW,
        # As a run leaves it that is killed before it has changed the manifest.
        "file alone": f"printf %s {shlex.quote(FIRST)} >{FILE}",
        "read file alone": module(),
        "remove file alone": module(configuration=""),
        "no file": f"sed -i 's,^    - --tls-cert-file.*,&\\n    - {FLAG},' {MANIFEST}",
        "read no file": module(),
        "another": f"sed -i 's,{FILE},/etc/kubernetes/mine.yml,' {MANIFEST}",
        "read another": module(),
        "no manifest": f"rm {MANIFEST}",
        "read no manifest": module(),
        "apply no manifest": module(configuration=FIRST),
    }
    printed = node.run(*made, *commands.values())[len(made) :]
    return dict(zip(commands, printed))


def result(told: dict[str, str], name: str) -> dict[str, Any]:
    return dict(json.loads(told[name].strip().splitlines()[-1]))


def changes(told: dict[str, str], name: str) -> list[str]:
    found = result(told, name)
    assert not found.get("failed"), found
    assert found["changed"] == bool(found["changes"])
    return list(found["changes"])


def test_a_key_is_made_for_reading(told: dict[str, str]) -> None:
    expected = [f"write {FILE}", f"write {MANIFEST}", "restart kube-apiserver"]
    assert changes(told, "check a key") == expected
    assert "No such file" in told["nothing yet"]
    assert FLAG not in told["nothing yet"]
    assert changes(told, "a key") == expected
    assert told["the key's file"].split() == ["600", "1", "key-1-"]
    assert told["the key's flag"].strip() == FLAG


def test_four_steps(told: dict[str, str]) -> None:
    expected = [f"write {FILE}", f"write {MANIFEST}", "restart kube-apiserver"]
    assert changes(told, "check first") == expected
    assert changes(told, "first") == expected
    assert changes(told, "check first again") == []
    assert changes(told, "first again") == []


def test_what_is_read(told: dict[str, str]) -> None:
    plain = {"changed": False, "present": True, "configuration": "", "current": True}
    assert plain.items() <= result(told, "read plain").items()
    assert {**plain, "configuration": FIRST}.items() <= result(told, "read first").items()
    assert {**plain, "configuration": ROTATED}.items() <= result(told, "read rotated").items()
    absent = {"present": False, "configuration": "", "current": False}
    assert absent.items() <= result(told, "read no manifest").items()


def test_what_was_written_and_not_restarted_is_restarted(told: dict[str, str]) -> None:
    assert {"configuration": ROTATED, "current": False}.items() <= result(told, "read written").items()
    expected = [f"write {MANIFEST}", "restart kube-apiserver"]
    assert changes(told, "check written") == expected
    assert changes(told, "apply written") == expected
    assert changes(told, "apply marked") == ["restart kube-apiserver"]
    # At first, with a flag, with another file, with another one, and once more with that.
    assert told["starts"].strip() == "5"


def test_off(told: dict[str, str]) -> None:
    expected = [f"write {MANIFEST}", "restart kube-apiserver", f"remove {FILE}"]
    assert changes(told, "check off") == expected
    assert FLAG in told["still on"]
    assert changes(told, "off") == expected
    assert "No such file" in told["left"]
    assert FLAG not in told["left"]
    assert told["not in its flags"].strip() == ""
    assert changes(told, "off again") == []


def test_a_file_that_nobody_reads_is_removed(told: dict[str, str]) -> None:
    found = result(told, "read file alone")
    assert {"configuration": "", "current": False}.items() <= found.items()
    assert changes(told, "remove file alone") == [f"remove {FILE}"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("read no file", f"{FILE} is not there, and kube-apiserver has been told to read it; expected the"),
        ("read another", f"is /etc/kubernetes/mine.yml; expected {FILE}, or none: leave it out of"),
        ("apply no manifest", f"{MANIFEST} is not there; expected a control plane that kubeadm made: run"),
    ],
)
def test_what_is_refused(told: dict[str, str], name: str, message: str) -> None:
    found = result(told, name)
    assert found["failed"]
    assert message in found["msg"]


def test_no_key_is_shown_but_where_it_is_asked_for(told: dict[str, str]) -> None:
    for name, printed in told.items():
        if not name.startswith("read"):
            assert not any(secret in printed for secret in KEYS.values()), name
            assert '"secret": "' not in json.dumps(printed), name
