# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole role on a control plane in namespaces, with the real kubeadm."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path

import pytest

from tests.unit.certificates_node import CertificatesNode
from tests.unit.plays import loaded_once
from tests.unit.run_module import REPOSITORY

pytestmark = pytest.mark.long

INVENTORY = {
    "all": {
        "vars": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable},
        "children": {
            "control_plane": {"hosts": {"pi-1": {"ansible_host": "10.0.0.1"}}},
            "workers": {"hosts": {"pi-2": {"ansible_host": "10.0.0.2"}}},
        },
    }
}
FILES = (
    "/etc/systemd/system/bramble-certificates.service",
    "/etc/systemd/system/bramble-certificates.timer",
    "/etc/bramble/certificates.json",
    "/usr/local/lib/bramble/certificates.pyz",
)
PRESENT = f"ls {' '.join(FILES)} 2>/dev/null; ls /run/enabled-bramble-certificates.timer 2>/dev/null; true"
#: As site writes it: by another address than that of the node's own.
HERE = "mkdir -p /root/.kube; sed s,10.0.0.1,10.9.9.9, /etc/kubernetes/admin.conf >/root/.kube/bramble.conf"


def command(folder: Path, *arguments: str) -> str:
    play = {
        "hosts": loaded_once("control_plane:workers"),
        "gather_facts": False,
        "roles": ["bramble.pi.certificates"],
        "vars": {"control_plane_admin_user": "root", "control_plane_kubeconfig": "~/.kube/bramble.conf"},
    }
    (folder / "play.yml").write_text(json.dumps([play]))
    (folder / "inventory.yml").write_text(json.dumps(INVENTORY))
    ansible = Path(sys.executable).with_name("ansible-playbook")
    words = [ansible, "-i", folder / "inventory.yml", folder / "play.yml", *arguments]
    given = f"ANSIBLE_COLLECTIONS_PATH={REPOSITORY / '.collections'} LC_ALL=C.UTF-8"
    return f"{given} {' '.join(shlex.quote(str(word)) for word in words)} 2>&1"


def changed(output: str) -> int:
    assert set(re.findall(r"(?:failed|unreachable)=(\d+)", output)) == {"0"}, output
    return sum(map(int, re.findall(r"changed=(\d+)", output)))


def test_four_steps_and_away_again(tmp_path: Path) -> None:
    node = CertificatesNode(tmp_path)
    node.folders = ["/root/.kube", "/usr/local/lib", "/etc/systemd/system"]
    absent = ("-e", "certificates_state=absent")
    made = [*node.begin(), HERE, node.age("pki/apiserver.crt", "admin.conf", days=10)]
    steps = {
        "check": command(tmp_path, "--check", "--diff"),
        "nothing": PRESENT,
        "apply": command(tmp_path),
        "present": PRESENT,
        "copies": "cmp /etc/kubernetes/admin.conf /root/.kube/config; grep server: /root/.kube/bramble.conf;"
        " diff /etc/kubernetes/admin.conf /root/.kube/bramble.conf | grep -c '^<'",
        "check again": command(tmp_path, "--check", "--diff"),
        "apply again": command(tmp_path),
        "check absent": command(tmp_path, "--check", *absent),
        "still present": PRESENT,
        "absent": command(tmp_path, *absent),
        "gone": PRESENT,
        "absent again": command(tmp_path, *absent),
    }
    texts = dict(zip(steps, node.run(*made, *steps.values())[len(made) :]))

    assert changed(texts["check"]) > 0
    assert "would be renewed" in texts["check"]
    assert texts["nothing"] == ""
    assert changed(texts["apply"]) > 0
    assert re.search(
        r"pi-1 +/etc/kubernetes/pki/apiserver.crt +2\d{3}-\d\d-\d\d +364 +renewed", texts["apply"]
    )
    assert re.search(r"pi-2 +/etc/kubernetes/pki/ca.crt ", texts["apply"])
    assert re.search(r"this machine +~/.kube/bramble.conf +2\d{3}-\d\d-\d\d +364", texts["apply"])
    assert texts["present"].split() == [*sorted(FILES), "/run/enabled-bramble-certificates.timer"]
    # The address that it was written with stays; all else is the new one's.
    assert texts["copies"].split() == ["server:", "https://10.9.9.9:6443", "1"]
    for name in ("check again", "apply again", "absent again"):
        assert changed(texts[name]) == 0, texts[name]
    assert changed(texts["check absent"]) > 0
    assert texts["still present"] == texts["present"]
    assert changed(texts["absent"]) > 0
    assert texts["gone"] == ""
