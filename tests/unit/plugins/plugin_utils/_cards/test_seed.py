# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Seeds are built as data, checked, and applied to the boot partitions of real systems."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.bramble.pi.plugins.module_utils._boot.folder import FolderBoot
from ansible_collections.bramble.pi.plugins.module_utils._boot.init_format import detect_init_format
from ansible_collections.bramble.pi.plugins.module_utils._boot.partition import apply_seed, parse_seed
from ansible_collections.bramble.pi.plugins.plugin_utils._cards import seed as cards_seed
from ansible_collections.bramble.pi.plugins.plugin_utils._cards.cloudinit import merge
from ansible_collections.bramble.pi.plugins.plugin_utils._cards.node import (
    CardNode,
    HostKey,
    card_node,
    problems,
)
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.boot_card import read_tree, system_files, write_tree

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1lq5CLZ0mP3n7m8yq0wEwTtQzZJ4h2v0r8bD0x9q1X you@laptop"
HASH = "$6$rounds=5000$salt$4zYb1xq0t7y9cM1m0J8Qp0"
HOST_KEY = HostKey(
    "-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0\n-----END OPENSSH PRIVATE KEY-----\n",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFfP root@pi-1\n",
)
PLAIN = CardNode(name="pi-1", hostname="pi-1", user="pi", authorized_keys=(KEY,), image="/srv/pi.img")
FULL = replace(
    PLAIN,
    password_hash=HASH,
    timezone="Europe/Berlin",
    address="10.0.0.5/24",
    gateway="10.0.0.1",
    resolvers=("10.0.0.1", "8.8.8.8"),
    search=("lan",),
    wifi_ssid='Joe\'s "Net"',
    wifi_psk="it's $ecret\\`",
    wifi_country="DE",
    wifi_hidden=True,
    cmdline_present=("cgroup_enable=memory",),
    config_txt=({"setting": "dtparam", "value": "audio=off"},),
    files={"notes.txt": "second shelf\n"},
)
FORMATS = ["cloudinit", "cloudinit-rpi", "cloudinit-legacy", "systemd"]


def seed(
    node: CardNode = PLAIN, init_format: str = "cloudinit", host_key: HostKey = HOST_KEY
) -> dict[str, Any]:
    return cards_seed.seed(node=node, init_format=init_format, host_key=host_key)


def document(name: str, *arguments: Any) -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load(seed(*arguments)["files"][name])
    return data


SYSTEMS = {
    "raspios-bullseye": ["firstrun.sh", "ssh", "userconf.txt"],
    "raspios-bookworm": ["firstrun.sh", "ssh", "userconf.txt"],
    "raspios-trixie-first": ["firstrun.sh", "ssh", "userconf.txt"],
    "raspios-trixie": ["meta-data", "network-config", "user-data"],
    "ubuntu-22.04": ["meta-data", "network-config", "user-data"],
    "ubuntu-24.04": ["meta-data", "network-config", "user-data"],
    "ubuntu-25.10": ["meta-data", "network-config", "user-data"],
    "hypriotos": ["meta-data", "network-config", "user-data"],
}


@pytest.mark.parametrize(("system", "written"), SYSTEMS.items())
def test_seeds_fit_the_boot_partitions_of_real_systems(
    system: str, written: list[str], tmp_path: Path
) -> None:
    before = system_files(system)
    boot = FolderBoot(path=str(write_tree(tmp_path, before)))
    made = seed(FULL, detect_init_format(boot=boot).init_format)
    result = apply_seed(boot=boot, seed=parse_seed(data=json.loads(json.dumps(made))), dry_run=False)
    after = read_tree(tmp_path)
    assert result.cmdline_path is not None
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed == {*written, "notes.txt", "config.txt", result.cmdline_path}
    tokens = after[result.cmdline_path].decode().split()
    assert tokens.count("cgroup_enable=memory") == 1
    assert tokens.count("cfg80211.ieee80211_regdom=DE") == 1
    assert any(token.startswith("systemd.run=") for token in tokens) == ("firstrun.sh" in written)
    assert b"dtparam=audio=off" in after["config.txt"]


@pytest.mark.parametrize("init_format", FORMATS[:3])
def test_user_data(init_format: str) -> None:
    text = seed(FULL, init_format)["files"]["user-data"]
    assert text.startswith("#cloud-config\n")
    data = yaml.safe_load(text)
    (user,) = data["users"]
    assert user["name"] == "pi"
    assert user["ssh_authorized_keys"] == [KEY]
    assert user["sudo"] == "ALL=(ALL) NOPASSWD:ALL"
    assert user["lock_passwd"] is False
    # cloud-init 0.7.9 knows only the first.
    assert user["passwd" if init_format == "cloudinit-legacy" else "hashed_passwd"] == HASH
    assert data["hostname"] == "pi-1"
    assert data["ssh_pwauth"] is False
    assert data["ssh_keys"] == {"ed25519_private": HOST_KEY.private, "ed25519_public": HOST_KEY.public}
    assert data["timezone"] == "Europe/Berlin"
    assert data.get("enable_ssh", False) == (init_format == "cloudinit-rpi")


@pytest.mark.parametrize("init_format", FORMATS[:3])
def test_login_by_key_only_has_a_locked_password(init_format: str) -> None:
    (user,) = document("user-data", PLAIN, init_format)["users"]
    assert user["lock_passwd"] is True
    assert "passwd" not in user
    assert "hashed_passwd" not in user


def test_network_config() -> None:
    assert document("network-config", FULL) == {
        "version": 2,
        "ethernets": {
            "eth0": {
                "dhcp4": False,
                "addresses": ["10.0.0.5/24"],
                "routes": [{"to": "0.0.0.0/0", "via": "10.0.0.1"}],
                "nameservers": {"addresses": ["10.0.0.1", "8.8.8.8"], "search": ["lan"]},
                "optional": True,
            }
        },
        "wifis": {
            "wlan0": {
                "dhcp4": True,
                "access-points": {'Joe\'s "Net"': {"password": "it's $ecret\\`", "hidden": True}},
            }
        },
    }
    assert document("network-config", FULL, "cloudinit-rpi")["wifis"]["wlan0"]["regulatory-domain"] == "DE"
    assert document("network-config", PLAIN) == {"version": 2, "ethernets": {"eth0": {"dhcp4": True}}}


def test_an_address_on_wifi() -> None:
    config = document("network-config", replace(FULL, interface="wlan0"))
    assert "ethernets" not in config
    assert config["wifis"]["wlan0"]["addresses"] == ["10.0.0.5/24"]


def test_network_of_hypriotos_is_in_files_of_ifupdown() -> None:
    files = {file["path"]: file for file in document("user-data", FULL, "cloudinit-legacy")["write_files"]}
    assert files["/etc/network/interfaces.d/eth0"]["content"] == (
        "allow-hotplug eth0\niface eth0 inet static\n    address 10.0.0.5\n    network 10.0.0.0\n"
        "    netmask 255.255.255.0\n    broadcast 10.0.0.255\n    gateway 10.0.0.1\n"
    )
    resolvers = "search lan\nnameserver 10.0.0.1\nnameserver 8.8.8.8\n"
    assert files["/etc/resolv.conf"]["content"] == resolvers
    assert files["/etc/resolv.conf.head"]["content"] == resolvers
    assert files["/etc/wpa_supplicant/wpa_supplicant.conf"]["permissions"] == "0600"
    assert 'psk="it\'s $ecret\\`"' in files["/etc/wpa_supplicant/wpa_supplicant.conf"]["content"]
    assert "iface wlan0 inet dhcp" in files["/etc/network/interfaces.d/wlan0"]["content"]
    assert document("network-config", FULL, "cloudinit-legacy") == {"config": "disabled"}


def test_the_instance_id_follows_the_content_and_tells_no_secret() -> None:
    made = seed(FULL)
    assert document("meta-data", FULL)["instance-id"] == made["id"]
    assert seed(FULL)["id"] == made["id"]
    others = [
        seed(replace(FULL, wifi_psk="12345678")),
        seed(replace(FULL, cmdline_present=())),
        seed(FULL, "cloudinit-rpi"),
        # The same content with another key: the name cannot be found by trying passwords.
        seed(FULL, "cloudinit", HostKey(HOST_KEY.private.replace("c2Vj", "b3Ro"), HOST_KEY.public)),
    ]
    assert len({made["id"], *(other["id"] for other in others)}) == 5
    assert all(other["id"].startswith("pi-1-") for other in others)


def test_the_user_s_own_data_is_merged() -> None:
    own = {
        "packages": ["htop"],
        "runcmd": ["echo mine"],
        "bootcmd": ["echo early"],
        "users": [{"name": "guest"}],
        "ssh_pwauth": True,
    }
    data = document("user-data", replace(PLAIN, user_data=own))
    assert data["packages"] == ["htop"]
    assert data["ssh_pwauth"] is True
    assert [user["name"] for user in data["users"]] == ["pi", "guest"]
    # Whatever the user runs is between the two parts that make a first boot survive a power cut.
    assert "first-boot" in data["bootcmd"][0]
    assert data["bootcmd"][-1] == "echo early"
    assert data["runcmd"][0] == "echo mine"
    assert "first-boot/done" in data["runcmd"][-1] or "$state/done" in data["runcmd"][-1]


# Few keys, so that both sides have some of them.
KEYS = st.sampled_from("abc") | st.text(max_size=3)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)
DOCUMENTS = st.dictionaries(KEYS, JSON, max_size=4)


@given(ours=DOCUMENTS, theirs=DOCUMENTS)
def test_merging_loses_no_key_and_no_item(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    merged = merge(ours, theirs)
    assert merged.keys() == ours.keys() | theirs.keys()
    for key, value in merged.items():
        if isinstance(ours.get(key), list) and isinstance(theirs.get(key), list):
            assert value == ours[key] + theirs[key]
        elif key not in theirs:
            assert value == ours[key]
        elif not isinstance(value, dict) or not isinstance(ours.get(key), dict):
            assert value == theirs[key]


FILES = [
    ("#cloud-config\nhostname: mine\n", None),
    ("hostname: mine\n", "begins with 'hostname: mine'; expected '#cloud-config' as its first line"),
    ("\n#cloud-config\n", "begins with ''"),
    ("#cloud-config\nusers: [\n", "is not YAML at line 3, column 1"),
    ("#cloud-config\n- a\n", "holds no mapping"),
]


@pytest.mark.parametrize(("text", "problem"), FILES)
def test_a_file_of_the_user_is_taken_whole_or_refused(text: str, problem: str | None, tmp_path: Path) -> None:
    (tmp_path / "user-data").write_text(text)
    node = replace(PLAIN, user_data_file=str(tmp_path / "user-data"))
    found = cards_seed.problems(node=node, init_format="cloudinit", host_key=HOST_KEY)
    if problem is None:
        assert found == []
        assert seed(node)["files"]["user-data"] == text
    else:
        assert len(found) == 1
        assert problem in found[0]


needs_cloud_init = pytest.mark.skipif(
    shutil.which("cloud-init") is None, reason="cloud-init is not installed: apt install cloud-init"
)


@needs_cloud_init
@pytest.mark.parametrize("init_format", FORMATS[:3])
def test_cloud_init_s_own_schema_agrees(init_format: str) -> None:
    for node in (PLAIN, FULL):
        own = replace(node, user_data={"packages": ["htop"]})
        assert cards_seed.problems(node=own, init_format=init_format, host_key=HOST_KEY) == []


@needs_cloud_init
def test_cloud_init_s_own_schema_is_asked_about_the_user_s_data() -> None:
    node = replace(FULL, user_data={"packages": "htop"})
    (problem,) = cards_seed.problems(node=node, init_format="cloudinit", host_key=HOST_KEY)
    assert problem.startswith("pi-1: cloud-init refuses flash_user_data: ")
    assert "packages" in problem
    assert HASH not in problem


def test_what_does_not_go_with_the_image() -> None:
    for node, init_format, text in [
        (replace(PLAIN, user_data={"packages": ["htop"]}), "systemd", "are for images with cloud-init"),
        (PLAIN, "ignition", "expected one of cloudinit, cloudinit-rpi, cloudinit-legacy, systemd"),
        (replace(PLAIN, files={"User-Data": "x"}), "cloudinit", "flash_files has 'User-Data'"),
        (replace(PLAIN, files={"CMDLINE.TXT": "x"}), "cloudinit", "flash_files has 'CMDLINE.TXT'"),
        (replace(PLAIN, files={"firstrun.sh": "x"}), "systemd", "flash_files has 'firstrun.sh'"),
        (replace(PLAIN, files={"user-data/x": "x"}), "cloudinit", "and user-data is a file of every card"),
        (replace(PLAIN, files={"Config.txt/a/b": "x"}), "systemd", "and config.txt is a file of every card"),
        (replace(PLAIN, files={"bramble-receipt.json/b": "x"}), "systemd", "receipt.json is a file of every"),
        # What is found wrong with the inputs alone comes before; nothing passes that sd_card refuses.
        (replace(PLAIN, files={"nul": "x"}), "cloudinit", "has the part 'nul'"),
    ]:
        (problem,) = cards_seed.problems(node=node, init_format=init_format, host_key=HOST_KEY)
        assert text in problem


def test_firstrun_is_a_script_that_shells_understand() -> None:
    for node in (PLAIN, FULL, replace(FULL, interface="wlan0")):
        script = seed(node, "systemd")["files"]["firstrun.sh"]
        subprocess.run(["sh", "-n"], input=script, text=True, check=True)
        if shutil.which("shellcheck"):
            done = subprocess.run(
                ["shellcheck", "--exclude=SC2016", "-"],
                input=script,
                text=True,
                check=False,
                stdout=subprocess.PIPE,
            )
            assert done.returncode == 0, done.stdout


def test_userconf_without_password() -> None:
    assert seed(PLAIN, "systemd")["files"]["userconf.txt"] == "pi:*\n"
    assert seed(FULL, "systemd")["files"]["userconf.txt"] == f"pi:{HASH}\n"


PROBLEMS: list[tuple[dict[str, Any], str | None]] = [
    ({}, None),
    ({"image": ""}, "flash_image is not set"),
    ({"hostname": "Pi_1"}, "os_prep_hostname is 'Pi_1'"),
    ({"user": ""}, "flash_user is not set, nor is ansible_user"),
    ({"user": "root"}, "flash_user is 'root'"),
    ({"user": "Pi"}, "flash_user is 'Pi'"),
    ({"authorized_keys": ()}, "nobody could log in"),
    ({"authorized_keys": (), "password_hash": HASH}, None),
    ({"authorized_keys": (KEY, "ssh-ed25519 AAAA")}, "flash_authorized_keys, entry 2, is not a whole"),
    (
        {"authorized_keys": (KEY.replace("9q1X ", " "),)},
        "flash_authorized_keys, entry 1, is not a whole public key",
    ),
    (
        {"authorized_keys": (f"pi-1 {KEY}",)},
        "entry 1, has something before the key that is no option of sshd",
    ),
    ({"authorized_keys": ("hunter2",)}, "entry 1, is not a public key"),
    ({"authorized_keys": (HOST_KEY.private,)}, "entry 1, is a private key"),
    ({"authorized_keys": (f'from="10.0.0.0/8" {KEY}',)}, None),
    ({"password_hash": "raspberry"}, "is not the hash of a password"),
    ({"password_hash": "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$X3DX6M94c7o.9agCG9G317fhZg9SqC.5i5rd.RhAtQ7"}, None),
    ({"timezone": "Berlin"}, "flash_timezone is 'Berlin', which is not a time zone"),
    ({"timezone": "Europe/Berlin"}, None),
    ({"interface": "eth 0"}, "node_network_interface is 'eth 0'"),
    ({"interface": "wlan0"}, "nat_headnode_wifi_ssid is not set"),
    ({"address": "10.0.0.5"}, "node_network_address is '10.0.0.5'; expected an address with the length"),
    ({"address": "10.0.0.0/24"}, "which no node can have in 10.0.0.0/24"),
    ({"address": "10.0.0.5/24", "gateway": "10.0.1.1"}, "which is not in 10.0.0.0/24"),
    ({"address": "10.0.0.5/24", "gateway": "10.0.0.5"}, "which is the node's own address"),
    ({"gateway": "10.0.0.1"}, "and there is no node_network_address"),
    ({"gateway": "router"}, "node_network_gateway is 'router', which is not an IPv4 address"),
    ({"resolvers": ("8.8.8",)}, "node_network_resolvers has '8.8.8'"),
    ({"search": ("l an",)}, "node_network_search has 'l an'"),
    ({"wifi_psk": "12345678"}, "nat_headnode_wifi_psk is set, and nat_headnode_wifi_ssid is not"),
    (
        {"wifi_ssid": "n" * 33, "wifi_psk": "12345678", "wifi_country": "DE"},
        "33 bytes; expected 1 to 32: set nat_headnode_wifi_ssid",
    ),
    (
        {"wifi_ssid": "net", "wifi_psk": "1234567", "wifi_country": "DE"},
        "key has 7 characters; expected 8 to 63",
    ),
    ({"wifi_ssid": "net", "wifi_psk": "g" * 64, "wifi_country": "DE"}, "key has 64 characters"),
    ({"wifi_ssid": "net", "wifi_psk": "a" * 64, "wifi_country": "DE"}, None),
    (
        {"wifi_ssid": "net", "wifi_psk": "12345678", "wifi_country": "de"},
        "radio stays off: set nat_headnode_wifi_country",
    ),
    ({"user_data": {"a": 1}, "user_data_file": "x"}, "are both set"),
    ({"user_data_file": "/no/such/file"}, "which cannot be read: No such file or directory"),
    ({"cmdline_present": ("a b",)}, "os_prep_kernel_cmdline: 'present' has 'a b'"),
    ({"files": {"../x": ""}}, "flash_files: the file name '../x' has"),
    ({"files": {"COM1.txt": ""}}, "flash_files: the file name 'COM1.txt' has the part 'COM1.txt', which FAT"),
    ({"files": {"f\u00fcr.txt": ""}}, "flash_files: the file name 'f\u00fcr.txt' has"),
    ({"files": {"a": "", "A/b": ""}}, "flash_files: 'a' is a file and, for 'A/b', a folder"),
    ({"files": {"overlays/my.dtbo": ""}}, None),
    ({"config_txt": ({"setting": "dtparam=audio", "value": "off"},)}, "flash_config_txt: "),
]


@pytest.mark.parametrize(("changed", "text"), PROBLEMS)
def test_problems(changed: dict[str, Any], text: str | None) -> None:
    found = problems([replace(PLAIN, **changed)])
    if text is None:
        assert found == []
    else:
        assert [problem for problem in found if text in problem]
        assert all(problem.startswith("pi-1: ") for problem in found)
        # What may be a secret is not shown.
        shown = " ".join(found)
        assert not [secret for secret in ("raspberry", "hunter2", "1234567", "c2VjcmV0") if secret in shown]


def test_nodes_have_cards_and_names_of_their_own() -> None:
    nodes = [replace(PLAIN, name=name, device="/dev/sdb") for name in ("pi-1", "pi-2")]
    assert problems(nodes) == [
        "pi-1, pi-2: flash_device is '/dev/sdb' for each; give each its own",
        "pi-1, pi-2: os_prep_hostname is 'pi-1' for each; give each its own",
    ]


def test_keys_of_the_user_are_taken_if_none_are_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    values = {"name": "pi-1", "hostname": "pi-1", "user": "pi", "authorized_keys": []}
    assert card_node(values).authorized_keys == ()
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "id_ed25519.pub").write_text(f"{KEY}\n")
    assert card_node(values).authorized_keys == (KEY,)
    assert card_node({**values, "authorized_keys": ["another"]}).authorized_keys == ("another",)
