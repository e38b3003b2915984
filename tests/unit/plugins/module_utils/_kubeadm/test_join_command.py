# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import re
from datetime import timedelta

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.join_command import (
    JoinCommand,
    JoinCommandError,
    is_ca_cert_hash,
    is_endpoint,
    is_token,
    lifetime,
    parse_certificate_key,
    parse_join_commands,
)
from hypothesis import given
from hypothesis import strategies as st

HASH = "sha256:7b232b343577bd5fac312996b9fffb3c88f8f8bb39f46bf865ac9f9f52982b82"
HASH_2 = "sha256:c17eaac671c571bc40d56a4a255efd3494e523861cbdd1fa1fb1f44dcfa2237e"
KEY = "11def25d624a2150b57715e21b0c393695bc6a70d932e472f75d24f747eb657e"
TOKEN = "abcdef.0123456789abcdef"
WORKER = JoinCommand("192.168.92.30:6443", TOKEN, (HASH,))
CONTROL_PLANE = JoinCommand("192.168.92.30:6443", TOKEN, (HASH,), control_plane=True, certificate_key=KEY)

ONE = {
    "1.8: the token first": (
        f"  kubeadm join --token {TOKEN} 192.168.92.30:6443 --discovery-token-ca-cert-hash {HASH}\n",
        WORKER,
    ),
    "1.13: one line": (
        f"  kubeadm join 192.168.92.30:6443 --token {TOKEN} --discovery-token-ca-cert-hash {HASH}\n",
        WORKER,
    ),
    "token create: a wide gap and a blank at the end": (
        f"kubeadm join 192.168.92.30:6443 --token {TOKEN}     --discovery-token-ca-cert-hash {HASH} \n",
        WORKER,
    ),
    "1.14: wrapped with blanks": (
        f"kubeadm join 192.168.92.30:6443 --token {TOKEN} \\\n    --discovery-token-ca-cert-hash {HASH} \n",
        WORKER,
    ),
    "1.18: wrapped with a tab": (
        f"kubeadm join 192.168.92.30:6443 --token {TOKEN} \\\n\t--discovery-token-ca-cert-hash {HASH} \n",
        WORKER,
    ),
    "no newline at the end": (
        f"kubeadm join 192.168.92.30:6443 --token {TOKEN} --discovery-token-ca-cert-hash {HASH}",
        WORKER,
    ),
    "Windows line ends": (
        f"kubeadm join 192.168.92.30:6443 --token {TOKEN} \\\r\n\t--discovery-token-ca-cert-hash {HASH} \r\n",
        WORKER,
    ),
    "a blank after the backslash": (
        f"kubeadm join 192.168.92.30:6443 --token {TOKEN} \\ \n\t--discovery-token-ca-cert-hash {HASH} \n",
        WORKER,
    ),
    "1.14: experimental control plane": (
        f"  kubeadm join 192.168.92.30:6443 --token {TOKEN} \\\n"
        f"    --discovery-token-ca-cert-hash {HASH} \\\n"
        f"    --experimental-control-plane --certificate-key {KEY}\n",
        CONTROL_PLANE,
    ),
    "1.15: control plane": (
        f"  kubeadm join 192.168.92.30:6443 --token {TOKEN} \\\n"
        f"    --discovery-token-ca-cert-hash {HASH} \\\n    --control-plane --certificate-key {KEY}\n",
        CONTROL_PLANE,
    ),
    "control plane with certificates copied by hand": (
        f"  kubeadm join 192.168.92.30:6443 --token {TOKEN} \\\n\t--discovery-token-ca-cert-hash {HASH} \\\n"
        "\t--control-plane \n",
        JoinCommand("192.168.92.30:6443", TOKEN, (HASH,), control_plane=True),
    ),
    "two CAs during a rotation": (
        f"kubeadm join pi.example:6443 --token {TOKEN} \\\n\t--discovery-token-ca-cert-hash {HASH}"
        f" --discovery-token-ca-cert-hash {HASH_2} \n",
        JoinCommand("pi.example:6443", TOKEN, (HASH, HASH_2)),
    ),
    "the same hash twice": (
        f"kubeadm join pi-1:6443 --token {TOKEN} --discovery-token-ca-cert-hash {HASH}"
        f" --discovery-token-ca-cert-hash {HASH} \n",
        JoinCommand("pi-1:6443", TOKEN, (HASH,)),
    ),
    "IPv6": (
        f"kubeadm join [fd00:10:89::11]:6443 --token {TOKEN} --discovery-token-ca-cert-hash {HASH} \n",
        JoinCommand("[fd00:10:89::11]:6443", TOKEN, (HASH,)),
    ),
    "colours": (
        f"\x1b[1;32mkubeadm join\x1b[0m 192.168.92.30:6443 --token \x1b[33m{TOKEN}\x1b[m \\\x1b[K\n"
        f"\t--discovery-token-ca-cert-hash {HASH}\x1b(B\x1b[m \n",
        WORKER,
    ),
    "quotes": (
        f'kubeadm join "192.168.92.30:6443" --token \'{TOKEN}\' --discovery-token-ca-cert-hash "{HASH}"\n',
        WORKER,
    ),
    "equals signs": (
        f"kubeadm join 192.168.92.30:6443 --token={TOKEN} --discovery-token-ca-cert-hash='{HASH}' \\\n"
        f"  --control-plane=true --certificate-key={KEY}\n",
        CONTROL_PLANE,
    ),
    "a whole name with its dot": (
        f"kubeadm join pi-1.example.:6443 --token {TOKEN} --discovery-token-ca-cert-hash {HASH}\n",
        JoinCommand("pi-1.example:6443", TOKEN, (HASH,)),
    ),
    "a warning before it": (
        "W1028 14:54:21.177865    9922 configset.go:348] WARNING: kubeadm cannot validate component configs\n"
        f"kubeadm join 192.168.92.30:6443 --token {TOKEN}     --discovery-token-ca-cert-hash {HASH} \n",
        WORKER,
    ),
}

# The end of kubeadm init --upload-certs of 1.14.
INIT_OUTPUT = f"""\
You can now join any number of the control-plane node running the following command on each as root:

  kubeadm join 192.168.92.30:6443 --token {TOKEN} \\
    --discovery-token-ca-cert-hash {HASH} \\
    --experimental-control-plane --certificate-key {KEY}

Please note that the certificate-key gives access to cluster sensitive data, keep it secret!
As a safeguard, uploaded-certs will be deleted in two hours; If necessary, you can use
"kubeadm init phase upload-certs --experimental-upload-certs" to reload certs afterward.

Then you can join any number of worker nodes by running the following on each as root:

kubeadm join 192.168.92.30:6443 --token {TOKEN} \\
    --discovery-token-ca-cert-hash {HASH}
"""


@pytest.mark.parametrize(("text", "command"), ONE.values(), ids=ONE)
def test_every_form_is_read(text: str, command: JoinCommand) -> None:
    assert parse_join_commands(text=text) == [command]


def test_several_commands_in_one_output() -> None:
    assert parse_join_commands(text=INIT_OUTPUT) == [CONTROL_PLANE, WORKER]


TAIL = f"--discovery-token-ca-cert-hash {HASH}"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no kubeadm join command"),
        (
            "error execution phase preflight: [preflight] Some fatal errors occurred:\n",
            "no kubeadm join command",
        ),
        ("see kubeadm join --help\n", "no kubeadm join command"),
        (f"kubeadm join pi:6443 --token <value withheld> {TAIL}", "withheld the token"),
        (f"kubeadm join pi:6443 --token {TOKEN} \\\n", "ends after a backslash"),
        (f"kubeadm join pi:6443 --token {TOKEN} \\\n\n{TAIL}", "ends after a backslash"),
        (f"kubeadm join --token {TOKEN} {TAIL}", "names no HOST:PORT"),
        (f"kubeadm join pi --token {TOKEN} {TAIL}", "not HOST:PORT"),
        (f"kubeadm join pi:0 --token {TOKEN} {TAIL}", "not HOST:PORT"),
        (f"kubeadm join pi:65536 --token {TOKEN} {TAIL}", "not HOST:PORT"),
        (f"kubeadm join fd00::1:6443 --token {TOKEN} {TAIL}", "not HOST:PORT"),
        (f"kubeadm join pi:6443 other:6443 --token {TOKEN} {TAIL}", "belong to no option"),
        (f"kubeadm join pi:6443 {TAIL}", "has no --token"),
        (f"kubeadm join pi:6443 --token {TOKEN}", "no --discovery-token-ca-cert-hash"),
        (f"kubeadm join pi:6443 --token {TOKEN} --token {TOKEN} {TAIL}", "'--token' stands 2 times"),
        (f"kubeadm join pi:6443 --token secret {TAIL}", "the value of '--token' does not match"),
        (f"kubeadm join pi:6443 {TAIL} --token", "the value of '--token' does not match"),
        (f"kubeadm join pi:6443 --token {TOKEN} --discovery-token-ca-cert-hash sha256:12", "does not match"),
        (f"kubeadm join pi:6443 --token=secret {TAIL}", "the value of '--token' does not match"),
        (f"kubeadm join pi:6443 --token={TOKEN} --tokens={TOKEN} {TAIL}", "unknown option '--tokens' in"),
        (f"kubeadm join pi:6443 --control-plane=secret {TAIL}", "unknown option '--control-plane' in"),
        (f"kubeadm join pi:6443 --token '{TOKEN} {TAIL}", "the quotes in the kubeadm join command are not"),
        (f"kubeadm join [::::]:6443 --token {TOKEN} {TAIL}", "not HOST:PORT"),
        (f"kubeadm join 192.168.1.300:6443 --token {TOKEN} {TAIL}", "not HOST:PORT"),
        (f"kubeadm join 192.168.1.3.:6443 --token {TOKEN} {TAIL}", "not HOST:PORT"),
        (f"kubeadm join pi..lan:6443 --token {TOKEN} {TAIL}", "not HOST:PORT"),
        (
            f"kubeadm join pi:6443 --token {TOKEN} --discovery-token-unsafe-skip-ca-verification",
            "unknown option '--discovery-token-unsafe-skip-ca-verification'",
        ),
        (f"kubeadm join pi:6443 --token {TOKEN} {TAIL} --certificate-key {KEY}", "without --control-plane"),
        (
            f"kubeadm join pi:6443 --token {TOKEN} {TAIL} --control-plane --certificate-key 12",
            "does not match",
        ),
        (f"kubeadm join pi:6443 --token {TOKEN} {TAIL} ; rm -rf /", "belong to no option"),
    ],
)
def test_anything_else_is_refused_without_its_secrets(text: str, reason: str) -> None:
    with pytest.raises(JoinCommandError, match=re.escape(reason)) as caught:
        parse_join_commands(text=text)
    assert TOKEN not in str(caught.value)
    assert "secret" not in str(caught.value)


LOWER_HEX = st.text("0123456789abcdef", min_size=64, max_size=64)
TOKENS = st.from_regex(r"[a-z0-9]{6}\.[a-z0-9]{16}", fullmatch=True)
ENDPOINTS = st.one_of(
    st.from_regex(r"[a-z]([a-z0-9-]{0,20}[a-z0-9])?(\.[a-z]{1,10}){0,2}", fullmatch=True),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(lambda address: f"[{address}]"),
).flatmap(lambda host: st.integers(1, 65535).map(lambda port: f"{host}:{port}"))


@st.composite
def commands(draw: st.DrawFn) -> JoinCommand:
    control_plane = draw(st.booleans())
    return JoinCommand(
        endpoint=draw(ENDPOINTS),
        token=draw(TOKENS),
        ca_cert_hashes=tuple(
            f"sha256:{digest}" for digest in draw(st.lists(LOWER_HEX, min_size=1, unique=True))
        ),
        control_plane=control_plane,
        certificate_key=draw(st.none() | LOWER_HEX) if control_plane else None,
    )


def printed(command: JoinCommand, *, wrap: str, flag: str) -> str:
    """Print a command as kubeadm's template does."""
    hashes = "".join(f"--discovery-token-ca-cert-hash {digest} " for digest in command.ca_cert_hashes)
    text = f"kubeadm join {command.endpoint} --token {command.token} {wrap}{hashes}"
    if command.control_plane:
        text += f"{wrap}{flag} "
        if command.certificate_key:
            text += f"--certificate-key {command.certificate_key}"
    return text + "\n"


@given(
    st.lists(commands(), min_size=1, max_size=3),
    st.sampled_from(["", "\\\n    ", "\\\n\t", "\\\r\n\t"]),
    st.sampled_from(["--control-plane", "--experimental-control-plane"]),
    st.sampled_from(["", "  ", "\t"]),
)
def test_what_is_printed_is_read(desired: list[JoinCommand], wrap: str, flag: str, indent: str) -> None:
    text = "\nThen you can join:\n\n".join(indent + printed(entry, wrap=wrap, flag=flag) for entry in desired)
    assert parse_join_commands(text=text) == desired


def test_certificate_key() -> None:
    output = (
        '[upload-certs] Storing the certificates in Secret "kubeadm-certs" in the "kube-system" Namespace\n'
        f"[upload-certs] Using certificate key:\n{KEY}\n"
    )
    assert parse_certificate_key(text=output) == KEY
    assert parse_certificate_key(text=output.replace(KEY, f"\x1b[1m{KEY}\x1b[0m")) == KEY
    for wrong in ("", f"{KEY}\n{KEY}\n", KEY[:-1]):
        with pytest.raises(JoinCommandError, match="certificate keys where one is expected"):
            parse_certificate_key(text=wrong)


@pytest.mark.parametrize(
    ("text", "seconds"), [("30m", 1800), ("2h", 7200), ("1h30m", 5400), ("90s", 90), ("1h1m1s", 3661)]
)
def test_lifetime(text: str, seconds: int) -> None:
    assert lifetime(text=text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "0", "0s", "30", "m", "1d", "-5m", "30m ", "\u0663h"])
def test_no_lifetime(text: str) -> None:
    with pytest.raises(JoinCommandError, match="token_ttl is"):
        lifetime(text=text)


@pytest.mark.parametrize(
    "text", ["9" * 9 + "h", "9" * 20 + "h", "9" * 5000 + "s", "2562047h1s", "1h153722820m"]
)
def test_a_lifetime_that_nothing_holds(text: str) -> None:
    with pytest.raises(JoinCommandError, match=r"token_ttl is .* 2562047h: set workers_token_ttl") as caught:
        lifetime(text=text)
    assert len(str(caught.value)) < 200


def test_forms() -> None:
    assert is_token(TOKEN)
    assert not is_token(TOKEN.upper())
    assert is_ca_cert_hash(HASH)
    assert not is_ca_cert_hash(HASH[7:])
    assert is_endpoint("192.168.1.10:6443")
    assert not is_endpoint("https://192.168.1.10:6443")
    for host in ("pi-1", "Pi.Example", "[fd00::1]", "[::ffff:192.0.2.1]", "10.0.0.1", "1pi", "a" * 63):
        assert is_endpoint(f"{host}:6443"), host
    for host in ("", "[]", "[::::]", "[10.0.0.1]", "10.0.0.300", "10.0.0", "1", "a..b", "-a", "a-.b", "a."):
        assert not is_endpoint(f"{host}:6443"), host
    assert not is_endpoint(f"{'a' * 64}:6443")
    assert not is_endpoint(f"{'a.' * 127}:6443")
