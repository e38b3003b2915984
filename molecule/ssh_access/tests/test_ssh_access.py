"""What a user and others can do after the role has run, and what becomes of the nodes when it must not go on.

Only the head reaches the other nodes; what is done on them beside the role goes through podman.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import subprocess
import time
from pathlib import Path

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._ssh import sshd
from ansible_collections.bramble.pi.plugins.module_utils._ssh.keys import fingerprint

SCENARIO = Path(__file__).resolve().parents[1]
FOLDER = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])
RACK = Path("~/.cache/bramble/racks/molecule-ssh_access").expanduser()
USER_SSH = RACK / "user_ssh"
CONFIG = USER_SSH / "config"
ENTRIES = USER_SSH / "bramble-scenario.conf"
KNOWN = USER_SSH / "known_hosts"
HEAD = "10.89.119.11"
ADDRESSES = {"pi-2": "10.89.119.12", "pi-3": "10.89.119.13"}
RACK_KEY = RACK / "id_ed25519.pub"
KEYS = "/home/pi/.ssh/authorized_keys"


def on(node: str, script: str) -> str:
    """Run a script on a node, and return what it wrote."""
    command = ["podman", "exec", f"molecule-ssh_access-{node}", "sh", "-c", script]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def ssh(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ssh as the user would, with the user's own configuration."""
    return subprocess.run(
        ["ssh", "-F", str(CONFIG), "-o", "ConnectTimeout=30", *arguments],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, **environment},
    )


def password_gets_in(node: str) -> bool:
    """Try to log in by the password that prepare.yml has given the user."""
    answer = RACK / "askpass"
    answer.write_text("#!/bin/sh\necho raspberry\n")
    answer.chmod(0o700)
    deadline = time.monotonic() + 60
    while True:
        result = ssh(
            *("-o", "PubkeyAuthentication=no", "-o", "NumberOfPasswordPrompts=1", node, "true"),
            SSH_ASKPASS=str(answer),
            SSH_ASKPASS_REQUIRE="force",
        )
        if result.returncode == 0 or f"pi@{ADDRESSES[node]}: Permission denied" in result.stderr:
            return result.returncode == 0
        # sshd is away for a moment while it reads its configuration.
        assert time.monotonic() < deadline, result.stderr
        time.sleep(0.5)


def wait_for_password(node: str, *, gets_in: bool) -> None:
    """Wait until sshd has read its configuration."""
    deadline = time.monotonic() + 60
    while password_gets_in(node) != gets_in:
        assert time.monotonic() < deadline
        time.sleep(0.5)


def take_passwords(node: str) -> None:
    """Have the node as it was before the role."""
    on(node, f"rm -f {sshd.DROP_IN}; systemctl reload ssh")
    wait_for_password(node, gets_in=True)


def converge(*arguments: str, fails: bool = False) -> str:
    """Run the scenario's playbook once more; return what it said, in one line."""
    result = subprocess.run(
        ["ansible-playbook", "-i", str(FOLDER / "inventory"), *arguments, str(SCENARIO / "converge.yml")],
        capture_output=True,
        text=True,
        check=False,
        cwd=SCENARIO.parents[1],
    )
    assert (result.returncode != 0) == fails, result.stdout
    return " ".join((result.stdout + result.stderr).split())


def test_a_node_is_reached_by_its_name_through_the_head() -> None:
    result = ssh(
        "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "pi-2", "hostname; echo $SSH_CONNECTION"
    )
    assert result.stdout.split()[:2] == ["pi-2", HEAD], result.stderr


def test_modes_are_right_and_other_lines_are_kept() -> None:
    seen = on("pi-3", f"stat -c '%a %U:%G' /home/pi/.ssh {KEYS}; cat {KEYS}").splitlines()
    assert seen[:2] == ["700 pi:pi", "600 pi:pi"]
    assert seen[3:5] == ["# whose?", "ssh-dss AAAAB3Nz bob"]
    assert seen[2].split()[1] == RACK_KEY.read_text().split()[1]
    assert seen[5].split()[1] == (USER_SSH / "id_ed25519.pub").read_text().split()[1]
    assert seen[6].startswith('from="192.0.2.0/24,!192.0.2.7",no-pty ssh-ed25519 ')
    assert len(seen) == 7
    assert (USER_SSH / "id_ed25519").stat().st_mode & 0o777 == 0o600


def test_the_user_s_own_configuration_is_kept() -> None:
    original = (USER_SSH / "dotfiles" / "config.bramble-original").read_bytes()
    assert b"M\xfcnchen\r\n" in original
    assert CONFIG.is_symlink()
    assert CONFIG.read_bytes() == f"Include {ENTRIES}\n\n".encode() + original
    assert "hostname 10.0.0.9" in ssh("-G", "old").stdout
    assert "user somebody" in ssh("-G", "www.example.org").stdout
    assert "user nobody" in ssh("-G", "www.example.net").stdout


def test_a_password_lets_in_once_more_and_then_the_new_key_alone() -> None:
    assert not password_gets_in("pi-2")
    take_passwords("pi-3")
    on("pi-3", f"cp -p {KEYS} /root/; rm -r /home/pi/.ssh")
    # As a run leaves it that was killed.
    on(
        "pi-3",
        f"printf '{sshd.TRIAL_TEXT}' > {sshd.DROP_IN}; {shlex.join(sshd.trial_command(seconds=900))}",
    )
    entries = ENTRIES.read_text()
    key = f"ansible_ssh_private_key_file={USER_SSH / 'id_ed25519'}"
    arguments = ("--limit=pi-3", "-e", "ansible_password=raspberry", "-e", key)
    try:
        assert "changed=2" in converge("--check", *arguments)
        assert on("pi-3", f"ls -d /home/pi/.ssh 2>&1; cat {sshd.DROP_IN}").endswith(sshd.TRIAL_TEXT.strip())
        converge(*arguments)
        assert on("pi-3", f"stat -c %a:%U /home/pi/.ssh {KEYS}").split() == ["700:pi", "600:pi"]
    finally:
        on("pi-3", f"cp -p /root/authorized_keys {KEYS}")
    assert not password_gets_in("pi-3")
    assert ENTRIES.read_text() == entries, "a part of the rack takes no entry away"
    assert on("pi-3", f"stat -c '%F %a' {sshd.DROP_IN}") == "regular file 644"
    assert on("pi-3", "systemctl list-timers --all --no-legend 'bramble*'") == ""


def test_passwords_stay_where_no_key_gets_in() -> None:
    take_passwords("pi-3")
    said = converge(
        *(
            "--limit=pi-3",
            "-e",
            "ansible_password=raspberry",
            "-e",
            "ansible_ssh_private_key_file=/no/such/key",
        ),
        fails=True,
    )
    assert "Password login stays on, nothing was changed" in said
    assert "Permission denied (publickey,password" in said
    assert password_gets_in("pi-3")
    assert on("pi-3", f"ls {sshd.DROP_IN} 2>&1 || true").endswith("No such file or directory")


def test_passwords_are_taken_again_where_they_could_not_be_turned_off() -> None:
    take_passwords("pi-3")
    on("pi-3", "cp /etc/ssh/sshd_config /root/; echo 'Match Address 10.89.119.11' >> /etc/ssh/sshd_config")
    on("pi-3", "echo '  PasswordAuthentication yes' >> /etc/ssh/sshd_config; systemctl reload ssh")
    try:
        said = converge("--limit=pi-3", fails=True)
    finally:
        on("pi-3", "cp /root/sshd_config /etc/ssh/; systemctl reload ssh")
    assert "Password login was off and is on again. sshd still offers password from here" in said
    assert password_gets_in("pi-3")
    assert on("pi-3", "ls /etc/ssh/sshd_config.d /run | grep -c bramble || true") == "0"


def test_a_configuration_that_does_not_read_the_folder_is_refused() -> None:
    take_passwords("pi-3")
    on(
        "pi-3",
        "cp /etc/ssh/sshd_config /root/; sed -i '/^Include/d' /etc/ssh/sshd_config; systemctl reload ssh",
    )
    try:
        said = converge("--limit=pi-3", fails=True)
    finally:
        on("pi-3", "cp /root/sshd_config /etc/ssh/; systemctl reload ssh")
    assert (
        "PasswordAuthentication stays on, and nothing was changed: /etc/ssh/sshd_config does not read" in said
    )
    assert "expected the line 'Include /etc/ssh/sshd_config.d/*.conf' at its top" in said
    assert password_gets_in("pi-3")


def test_a_node_takes_it_back_when_nobody_comes() -> None:
    take_passwords("pi-3")
    on(
        "pi-3",
        f"echo PasswordAuthentication no > {sshd.TRIAL}; printf '{sshd.TRIAL_TEXT}' > {sshd.DROP_IN}",
    )
    on("pi-3", "systemctl reload ssh")
    wait_for_password("pi-3", gets_in=False)
    # As after a power cut: /run is empty.
    on("pi-3", f"mv {sshd.TRIAL} /root/trial; sshd -t; systemctl reload ssh")
    wait_for_password("pi-3", gets_in=True)
    on("pi-3", f"mv /root/trial {sshd.TRIAL}; systemctl reload ssh")
    wait_for_password("pi-3", gets_in=False)
    on("pi-3", shlex.join(sshd.trial_command(seconds=1)))
    wait_for_password("pi-3", gets_in=True)
    assert on("pi-3", "ls /etc/ssh/sshd_config.d /run | grep -c bramble || true") == "0"


def test_a_changed_host_key_is_refused() -> None:
    text = KNOWN.read_text()
    (blob,) = re.findall(r"^pi-2 ssh-ed25519 (\S+)$", text, re.MULTILINE)
    other = base64.b64encode(base64.b64decode(blob)[:-1] + b"?").decode()
    KNOWN.write_text(text.replace(f"pi-2 ssh-ed25519 {blob}", f"pi-2 ssh-ed25519 {other}"))
    said = converge("--limit=pi-2", fails=True)
    assert f"pi-2: pi-2 is known with ssh-ed25519 {fingerprint(other)}" in said
    assert f"the node itself has ssh-ed25519 {fingerprint(blob)}" in said
    assert other in KNOWN.read_text()
    KNOWN.write_text(text)


def test_the_key_that_ansible_uses_is_not_removed() -> None:
    take_passwords("pi-3")
    before = on("pi-3", f"cp -p {KEYS} /root/; cat {KEYS}")
    said = converge("--limit=pi-3", "-e", "ssh_access_exclusive=true", fails=True)
    assert f"by the key {fingerprint(RACK_KEY.read_text().split()[1])}" in said
    assert on("pi-3", f"cat {KEYS}") == before
    # The public half is derived again meanwhile.
    public = (USER_SSH / "id_ed25519.pub").read_text()
    (USER_SSH / "id_ed25519.pub").unlink()
    only = {"ssh_access_exclusive": True, "ssh_access_authorized_keys": [RACK_KEY.read_text()]}
    converge("--limit=pi-3", "-e", json.dumps({**only, "ssh_access_password_login": "keep"}))
    assert password_gets_in("pi-3")
    assert [line.split()[1] for line in on("pi-3", f"grep -v '^#' {KEYS}").splitlines()] == [
        RACK_KEY.read_text().split()[1],
        public.split()[1],
    ]
    assert (USER_SSH / "id_ed25519.pub").read_text().split()[:2] == public.split()[:2]
    on("pi-3", f"cp -p /root/authorized_keys {KEYS}")


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("ssh_access_authorized_keys", ["hunter2"], "entry 1, is not a public key"),
        ("ssh_access_jump", "pi-9", "ssh_access_jump is 'pi-9', which is not a host"),
    ],
)
def test_what_cannot_work_is_refused_before_any_host_is_touched(
    variable: str, value: object, said: str
) -> None:
    output = converge("-e", json.dumps({variable: value}), fails=True)
    assert "no host was touched" in output
    assert said in output
