# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each format that the collection edits, with its secrets: S3CRET is one."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._common.secrets import (
    file_diff,
    masked,
    masked_message,
    secret_values,
)
from ansible_collections.bramble.pi.plugins.module_utils._node.apply_settings import NodeSettings

KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nS3CRET\nS3CRET\n-----END OPENSSH PRIVATE KEY-----\n"


@pytest.mark.parametrize(
    "text",
    [
        'access-points: {"home": {password: "S3CRET", mode: infrastructure}}\n',
        "auth:\n  key-management: psk\n  password: S3CRET\n",
        "auth: {key-management: eap, client-key-password: S3CRET}\n",
        'password: "S3CRET\n  S3CRET"\n',
        "password: 'S3CRET\n\n  S3CRET'\n",
        "password: >-\n  S3CRET\n  S3CRET\n",
        "password:\n  S3CRET\n",
        "password: &one S3CRET\n",
        "key: S3CRET\nmode: wireguard\n",
        "keys: {private: S3CRET}\n",
        "keys:\n  public: a\n  shared: S3CRET\n",
        "    wpa-psk S3CRET and S3CRET\n",
        "    wireless-key s:S3CRET\n",
        "    wireless-key2 S3CRET\n",
        "    wpa-private-key-passwd S3CRET\n",
        "[wifi-security]\npsk=S3CRET S3CRET\n",
        "wep-key0=S3CRET\n",
        "private-key-password=S3CRET\n",
        "[WireGuard]\nPrivateKey=S3CRET\nPresharedKey = S3CRET\n",
        "//nas/films /films cifs user=ada,password=S3CRET,uid=1 0 0\n",
        '{"http-proxy": "http://ada:S3CRET@proxy:3128", "splunk-token": "S3CRET"}\n',
        '{"auths": {"r": {"auth": "S3CRET"}}}\n',
        '[plugins."x".auth]\n  password = "S3CRET"\n  identitytoken = "S3CRET"\n',
        "deb [signed-by=/k] https://ada:S3CRET@host/debian trixie main\n",
        "deb https://S3CRET@host/debian trixie main\n",
        "client-key-data: S3CRET\ntoken: S3CRET\n",
        "passwd: $6$S3CRET$S3CRETS3CRET\n",
        "root:$y$j9T$S3CRET$S3CRETS3CRET:1:\n",
        "ed25519_private: |\n  " + KEY.replace("\n", "\n  "),
        KEY,
        KEY.partition("-----END")[0],
    ],
)
def test_secrets_of_a_file_are_hidden(text: str) -> None:
    shown = masked(text)
    assert "S3CRET" not in shown
    assert shown != text
    assert len(shown.splitlines()) == len(text.splitlines())
    assert masked(shown).replace("*", "") == shown.replace("*", ""), "hidden once is hidden"


@pytest.mark.parametrize(
    "text",
    [
        "key-management: psk\ndhcp4: true\naddresses: [10.0.0.1/24]\n",
        "auth:\n  identity: ada\n",
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\n",
        "key-mgmt=wpa-psk\npsk-flags=1\n",
        "# the password of the network\nwpa-conf /etc/wpa.conf\n",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1lq5CLZ0mP3n7m8yq0wEwTtQzZJ4h2v0r8bD0x9q1X ada@laptop\n",
        "console=tty1 root=PARTUUID=4d8097e2-02 rootwait cgroup_enable=memory\n",
        "127.0.0.1 localhost\n192.168.1.7 private\n",
        "deb [signed-by=/k] https://pkgs.k8s.io/core:/stable:/v1.36/deb/ /\n",
        '{"exec-opts": ["native.cgroupdriver=systemd"], "log-driver": "json-file"}\n',
    ],
)
def test_what_is_no_secret_is_shown(text: str) -> None:
    assert masked(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://ada:pa@ss@example.org:8/a?b failed", "https://********@example.org:8/a?b failed"),
        ("the token: set control_plane_token", "the token: set control_plane_token"),
        (
            "kubeadm join --token abcdef.0123456789abcdef --certificate-key 0a1b",
            "kubeadm join --token ******** --certificate-key ********",
        ),
        ("token abcdef.0123456789abcdef has expired", "token ******** has expired"),
        ("root=/dev/sda2 rd.iscsi.password=S3CRET ro", "root=/dev/sda2 rd.iscsi.password=******** ro"),
        ("flannel.0123456789abcdefg is not a token", "flannel.0123456789abcdefg is not a token"),
    ],
)
def test_messages(text: str, shown: str) -> None:
    assert masked_message(text) == shown
    assert str(BrambleError(text)) == shown


def test_of_a_private_file_only_the_lines_that_change_are_shown() -> None:
    before, after = "other: S3CRET\npassword: S3CRET-1\na: 1\n", "other: S3CRET\npassword: S3CRET-2\na: 2\n"
    diff = file_diff(path="/etc/x", before=before, after=after, private=True)
    assert (diff["before"], diff["after"]) == ("password: ********\na: 1\n", "password: ********\na: 2\n")


@pytest.mark.parametrize(("mode", "shown"), [(0o600, "b: 1\n"), (0o640, "b: 1\n"), (0o644, "a: 1\nb: 1\n")])
def test_changes_go_by_the_mode_of_the_file(tmp_path: Path, mode: int, shown: str) -> None:
    (tmp_path / "file").write_text("a: 1\nb: 1\n")
    (tmp_path / "file").chmod(mode)
    changes = Changes(check_mode=True, root=str(tmp_path))
    changes.write("/file", "a: 1\nb: 2\n")
    assert changes.diffs[0]["before"] == shown


def test_the_copy_of_a_private_fstab_is_private(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    fstab = tmp_path / "etc" / "fstab"
    fstab.write_text("//nas/x /x cifs password=S3CRET 0 0\n/swapfile none swap sw 0 0\n")
    fstab.chmod(0o600)
    changes = Changes(check_mode=False, root=str(tmp_path), run=lambda _command: (0, "", ""))
    NodeSettings(
        run=lambda _command: (0, "", ""), warn=lambda _text: None, changes=changes, root=str(tmp_path)
    ).switch_swap_off()
    copy = tmp_path / "etc" / "fstab.bramble-original"
    assert "S3CRET" in copy.read_text()
    assert stat.S_IMODE(os.stat(copy).st_mode) == 0o600
    assert "S3CRET" not in str(changes.result())


def test_secrets_among_options() -> None:
    options = {
        "token_ttl": "30m",
        "url": "https://ada:S3CRET@example.org/x",
        "image": {"src": "https://git@example.org/x"},
        "extra": {"bootstrapTokens": [{"token": "abcdef.0123456789abcdef"}], "certificateKey": "0" * 64},
        "short": {"password": "x"},
    }
    found = ["ada:S3CRET", "git@", "abcdef.0123456789abcdef", "0" * 64]
    assert list(secret_values(options)) == found


def test_nothing_else_makes_diffs() -> None:
    plugins = Path(__file__).resolve().parents[5] / "plugins"
    making = [path.name for path in plugins.rglob("*.py") if '"before_header"' in path.read_text()]
    assert making == ["secrets.py"]
