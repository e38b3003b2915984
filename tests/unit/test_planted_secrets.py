# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets are planted in what modules are given and in files, and looked for in what is shown.

Everything runs in namespaces of its own: a network without an uplink, and a copy of /etc.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.run_module import REPOSITORY

PLANTED = re.compile(r"PLANTED[\w-]*")
MODULES = sorted(
    path.stem
    for path in (REPOSITORY / "plugins" / "modules").glob("*.py")
    # What an action does runs on the controller; those that have a module as well are tried as modules.
    if "AnsibleModule(" in path.read_text()
)
#: Look around for as long as they are told, or need what no test machine has.
OTHERS = {"rack_scan", "virtual_rack_nodes", "failover_timeline", "dhcp_renew"}

ENTER = """
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work"
mount -t overlay -o "lowerdir=/etc,upperdir=$1/upper,workdir=$1/work" overlay /etc
ip link set lo up
ip link add eth0 type veth peer name other
ip address add 192.168.50.10/24 dev eth0
ip link set eth0 up
ip link set other up
if test -d "$2"; then cp -a "$2/." /etc/; fi
shift 2
exec "$@"
"""

#: As they are on nodes; each value that is a secret has a name that tells where it was found.
FILES = {
    "netplan/50-mine.yaml": (
        0o600,
        """
network:
  version: 2
  ethernets:
    eth0:
      dhcp4: true
      auth: {key-management: 802.1x, password: PLANTED-8021x, identity: ada}
  wifis:
    wlan0:
      access-points:
        "home": {password: "PLANTED-wifi"}
        "work":
          auth:
            key-management: eap
            client-key-password: PLANTED-eap
  tunnels:
    wg0:
      mode: wireguard
      addresses: [10.9.0.1/24]
      key: PLANTED-wireguard
      peers:
        - keys: {public: cHVibGlj, shared: PLANTED-shared}
""",
    ),
    "network/interfaces": (
        0o644,
        """auto lo eth0
iface lo inet loopback
iface eth0 inet dhcp
    wireless-essid home
    wireless-key s:PLANTED-wep
    wpa-psk "PLANTED psk"
""",
    ),
    "fstab": (
        0o600,
        """//nas/films /films cifs username=ada,password=PLANTED-cifs 0 0
/swapfile none swap sw 0 0
""",
    ),
    "docker/daemon.json": (
        0o600,
        json.dumps(
            {"proxies": {"http-proxy": "http://ada:PLANTED-proxy@proxy:3128"}, "exec-opts": []}, indent=1
        ),
    ),
    "containerd/config.toml": (
        0o600,
        """version = 2
[plugins."io.containerd.grpc.v1.cri".registry.configs."r.example".auth]
  username = "ada"
  password = "PLANTED-registry"
  identitytoken = "PLANTED-identity"
""",
    ),
    "kubernetes/admin.conf": (
        0o600,
        """apiVersion: v1
kind: Config
users:
  - name: kubernetes-admin
    user: {client-key-data: PLANTEDclientkey, token: PLANTED-token}
""",
    ),
    "bramble-test/user-data": (
        0o644,
        """#cloud-config
password: PLANTED-password
users:
  - name: pi
    passwd: $6$PLANTEDsalt$PLANTEDhash0123456789
ssh_keys:
  ed25519_private: |
    -----BEGIN OPENSSH PRIVATE KEY-----
    PLANTEDhostkey
    -----END OPENSSH PRIVATE KEY-----
""",
    ),
    "bramble-test/config.txt": (0o644, "arm_64bit=1\n"),
    "bramble-test/cmdline.txt": (0o644, "console=tty1 rd.iscsi.password=PLANTED-iscsi root=/dev/sda2\n"),
}

URL = "https://ada:PLANTED-url@127.0.0.1:9/x"
TASKS: list[dict[str, dict[str, Any]]] = [
    {"kubeconfig": {"dest": "/etc/bramble-test/kube/config"}},
    {"kubeconfig": {"dest": "/etc/bramble-test/kube/other", "content": "token: PLANTED-content\n"}},
    {"node_network": {"interface": "eth0", "address": "192.168.50.10/24", "manager": "netplan"}},
    {"node_network": {"interface": "eth0", "address": "192.168.50.10/24", "manager": "ifupdown"}},
    {"node_settings": {"swap": "off", "hostname": "pi-1"}},
    {"container_runtime": {"runtime": "containerd", "daemon_json": {"exec-opts": ["x=y"]}}},
    {"container_runtime": {"runtime": "cri_dockerd", "cri_dockerd": {"url": URL, "sha256": "0" * 64}}},
    {"kube_packages": {"version": "1.36", "repository": URL, "key": URL}},
    {"os_image": {"src": URL, "checksum": URL, "image_list": URL, "cache_dir": "/etc/bramble-test/cache"}},
    {
        "boot_files": {
            "path": "/etc/bramble-test",
            "files": [{"path": "user-data", "content": "#cloud-config\npassword: PLANTED-new\n"}],
            "cmdline": {"present": ["quiet"]},
        }
    },
    {"kernel_cmdline": {"path": "/etc/bramble-test/cmdline.txt", "present": ["quiet"]}},
    {
        "uplink": {
            "interface": "eth0",
            "ssid": "home",
            "psk": "PLANTED-uplink",
            "country": "DE",
            "manager": "netplan",
        }
    },
    {"kubeadm_join": {"endpoint": "127.0.0.1:9", "token": "PLANTED-join", "ca_cert_hash": "sha256:0"}},
    {
        "kubeadm_init": {
            "token": "PLANTED-init",
            "init_configuration": {
                "certificateKey": "PLANTED-certificate-key",
                "bootstrapTokens": [{"token": "PLANTED-bootstrap"}],
            },
        }
    },
]


def entered(folder: Path, etc: Path, command: Sequence[str]) -> list[str]:
    folder.mkdir(exist_ok=True)
    return ["unshare", "--mount", "--net", "sh", "-c", ENTER, "sh", str(folder), str(etc), *command]


def can_enter() -> bool:
    if os.getuid() != 0:
        return False
    script = (
        "mount -t tmpfs tmpfs /mnt && mkdir /mnt/u /mnt/w && "
        "mount -t overlay -o lowerdir=/etc,upperdir=/mnt/u,workdir=/mnt/w overlay /etc && "
        "ip link add eth0 type veth peer name other"
    )
    command = ["unshare", "--mount", "--net", "sh", "-c", script]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


pytestmark = pytest.mark.skipif(
    not can_enter(), reason="needs root with namespaces of its own and overlay mounts"
)


#: Values without which a module does not come to what it does with the others.
VALID: dict[str, dict[str, Any]] = {
    "rack_services": {"network": "192.168.50.0/24", "address": "192.168.50.10"},
    "container_images_fetch": {"nodes": {}},
}


def planted(option: dict[str, Any]) -> Any:
    """Return a value of the option's type with a secret in it, in one of the forms that are known."""
    if option.get("choices"):
        return option.get("default", option["choices"][0])
    kind = option.get("type", "str")
    if "suboptions" in option:
        value: Any = {name: planted(part) for name, part in option["suboptions"].items()}
        return [value] if kind == "list" else value
    if kind == "list":
        return [planted({"type": option.get("elements", "str")})]
    return {
        "str": URL,
        "path": "/etc/bramble-test/none",
        "raw": URL,
        "dict": {"password": "PLANTED-dictionary", "url": URL, "list": [{"token": "PLANTED-list"}]},
        "int": 1,
        "float": 1.0,
        "bool": False,
    }[kind]


def documentation(module: str) -> dict[str, Any]:
    text = (REPOSITORY / "plugins" / "modules" / f"{module}.py").read_text()
    document = re.search(r'DOCUMENTATION = r"""\n(.*?)"""', text, re.DOTALL)
    assert document is not None
    result: dict[str, Any] = yaml.safe_load(document[1])
    return result


@pytest.mark.parametrize("module", [module for module in MODULES if module not in OTHERS])
def test_nothing_that_a_module_is_given_is_shown(tmp_path: Path, module: str) -> None:
    options = {name: planted(option) for name, option in documentation(module).get("options", {}).items()}
    options.update(VALID.get(module, {}))
    own = {"_ansible_check_mode": True, "_ansible_diff": True, "_ansible_verbosity": 3}
    done = subprocess.run(
        entered(
            tmp_path / "etc",
            tmp_path / "none",
            [sys.executable, "-m", f"ansible_collections.bramble.pi.plugins.modules.{module}"],
        ),
        input=json.dumps({"ANSIBLE_MODULE_ARGS": {**options, **own}}),
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY / ".collections")},
    )
    assert done.stdout, done.stderr
    assert "module_args" in done.stdout
    assert PLANTED.findall(done.stdout + done.stderr) == []


class Arguments(threading.Thread):
    """Look at the command lines of all processes, as anybody on the machine can."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.found: set[str] = set()
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.2):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    self.found.update(PLANTED.findall(path.read_bytes().decode(errors="replace")))
                except OSError:
                    continue


@pytest.fixture
def arguments() -> Iterator[Arguments]:
    watching = Arguments()
    watching.start()
    yield watching
    watching.over.set()
    watching.join()


def test_a_playbook_shows_no_secret_at_vvv_with_diff(tmp_path: Path, arguments: Arguments) -> None:
    etc = tmp_path / "planted"
    for name, (mode, text) in FILES.items():
        path = etc / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "tasks": [
            {
                "name": f"Number {number}",
                **{f"bramble.pi.{name}": options for name, options in task.items()},
                "ignore_errors": True,
                # These write what they are given; the rest would change the machine.
                "check_mode": not {"kubeconfig", "boot_files"} & set(task),
            }
            for number, task in enumerate(TASKS)
        ],
    }
    playbook = tmp_path / "playbook.yml"
    playbook.write_text(json.dumps([play]))
    done = subprocess.run(
        entered(
            tmp_path / "etc",
            etc,
            [
                str(Path(sys.executable).parent / "ansible-playbook"),
                "-i",
                "localhost,",
                "-c",
                "local",
                "-vvv",
                "--diff",
                str(playbook),
            ],
        ),
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
        env={
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(REPOSITORY / ".collections"),
            "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
            "ANSIBLE_NOCOLOR": "1",
        },
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    assert len(re.findall(r"^TASK ", output, re.MULTILINE)) == len(TASKS)
    assert "Traceback" not in output
    assert output.count('"module_args": {') >= len(TASKS), "each module came to its end"
    assert PLANTED.findall(output) == []
    assert arguments.found == set()
