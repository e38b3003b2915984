# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Newer etcds than the rack's, Debian's own: their tools say and do what a backup and its restore rely on.

What stands in for a container is a chroot; the programs, the certificates and the data are real.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._backup import etcd as etcd_of_cluster
from ansible_collections.bramble.pi.plugins.module_utils._backup import etcd_output
from ansible_collections.bramble.pi.plugins.module_utils._backup.etcd import Etcd, Restored

from tests import debian

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        os.geteuid() != 0 or not shutil.which("mmdebstrap"), reason="needs root and mmdebstrap"
    ),
]
RELEASES = ("trixie", "sid")
#: The last two for the links of its root, and timeout.
PACKAGES = ["etcd-server", "etcd-client", "base-files", "coreutils"]
KEYS = 60
REMOVED = 10


class Containers:
    """Runs what docker would run of an image, in the system that has etcd's programs."""

    def __init__(self, root: Path, pki: Path) -> None:
        self._root = root
        self._pki = pki
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self.log = pki.parent / "etcd.log"

    def command(self, words: list[str]) -> list[str]:
        """Return the command for an etcd of the image, from the words of docker run."""
        mounts = [(str(self._pki), etcd_of_cluster.PKI)]
        mounts += [(part.split(":")[0],) * 2 for word in words if (part := word.partition("--volume=")[2])]
        mounts = [mount for mount in mounts if mount[0] != etcd_of_cluster.PKI]
        script = "set -e\n"
        for source, target in mounts:
            script += f"mkdir -p {self._root}{target}\nmount --rbind {source} {self._root}{target}\n"
        program = next(word.partition("=")[2] for word in words if word.startswith("--entrypoint="))
        arguments = words[words.index("image") + 1 :]
        return [
            *("unshare", "--mount", "sh", "-c", f'{script}exec chroot {self._root} "$@"', "sh"),
            *(program, *arguments),
        ]

    def run(self, words: list[str]) -> tuple[int, str, str]:
        """Stand in for module.run_command."""
        assert words[0] == "docker"
        if words[1] == "rm":
            self.stop(words[-1])
            return 0, "", ""
        name = next(word.partition("=")[2] for word in words if word.startswith("--name="))
        if "--detach" in words:
            self.start(name, self.command(words))
            return 0, "", ""
        done = subprocess.run(self.command(words), capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    def start(self, name: str, command: list[str]) -> None:
        """Start what goes on running."""
        with self.log.open("ab") as log:
            self._running[name] = subprocess.Popen(command, stdout=log, stderr=log)

    def stop(self, name: str) -> None:
        """End it, if it runs."""
        if process := self._running.pop(name, None):
            process.kill()
            process.wait()

    def stop_all(self) -> None:
        """End all."""
        for name in list(self._running):
            self.stop(name)


def make_pki(folder: Path) -> None:
    """Make a CA and a certificate for the loopback address, as kubeadm has them for etcd."""
    folder.mkdir(parents=True)
    (folder / "extensions").write_text(
        "subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth,clientAuth\n"
    )
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    for command in (
        ["req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=etcd-ca", "-days", "2"],
        ["req", *key, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=pi-1"],
        [
            *("x509", "-req", "-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial"),
            *("-days", "2", "-extfile", "extensions", "-out", "server.crt"),
        ],
    ):
        subprocess.run(["openssl", *command], cwd=folder, check=True, capture_output=True)


@pytest.fixture(params=RELEASES)
def containers(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Containers]:
    root = debian.root(request.param, variant="extract", packages=PACKAGES)
    make_pki(tmp_path / "pki")
    made = Containers(root, tmp_path / "pki")
    subprocess.run(["chroot", root, "etcd", "--version"], check=True)
    try:
        yield made
    finally:
        made.stop_all()
        print(made.log.read_text()[-3000:] if made.log.exists() else "")


def start_etcd(containers: Containers, folder: Path, data: str) -> None:
    """Start a member that is the only one, at the port of a cluster's etcd."""
    ca, certificate, key = (
        f"{etcd_of_cluster.PKI}/{name}" for name in ("ca.crt", "server.crt", "server.key")
    )
    url = f"https://127.0.0.1:{etcd_of_cluster.LIVE_PORT}"
    words = [
        *("docker", "run", "--detach", "--name=live", f"--volume={folder}:{folder}", "--entrypoint=etcd"),
        *("image", "--name=pi-1", f"--data-dir={data}", f"--listen-client-urls={url}"),
        *(f"--advertise-client-urls={url}", "--listen-peer-urls=https://127.0.0.1:2380"),
        *("--initial-advertise-peer-urls=https://127.0.0.1:2380", "--client-cert-auth"),
        *("--initial-cluster=pi-1=https://127.0.0.1:2380", f"--trusted-ca-file={ca}"),
        *(f"--cert-file={certificate}", f"--key-file={key}", f"--peer-trusted-ca-file={ca}"),
        *(f"--peer-cert-file={certificate}", f"--peer-key-file={key}", "--peer-client-cert-auth"),
    ]
    assert containers.run(words)[0] == 0
    deadline = time.monotonic() + 60
    while not etcd_of_cluster.listens(etcd_of_cluster.LIVE_PORT):
        assert time.monotonic() < deadline, "etcd does not answer"
        time.sleep(0.2)


def test_a_backup_is_proved_and_a_restored_store_goes_on_above_what_watchers_saw(
    containers: Containers, tmp_path: Path
) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    start_etcd(containers, folder, f"{folder}/live")
    etcd = Etcd(run=containers.run, image="image", client="docker", folder=str(folder))
    assert etcd.members() == ("pi-1",)
    assert etcd.version().startswith("3.5.")
    for number in range(KEYS):
        etcd._ask(
            "https://127.0.0.1:2379", "put", f"/registry/pods/{number % (KEYS - REMOVED)}", f"value {number}"
        )
    revision = etcd.snapshot(f"{folder}/snapshot.db")
    live = etcd.live_contents(revision)
    assert live.keys == KEYS - REMOVED
    found = etcd.restored_contents(
        f"{folder}/snapshot.db", revision=revision, compacted=live.compact_revision
    )
    assert found == live
    etcd.remove_copy()

    # A cluster that went on after the backup: its watchers have seen these revisions.
    for number in range(5):
        etcd._ask("https://127.0.0.1:2379", "put", "/registry/pods/after", str(number))
    seen = etcd_output.snapshot_revision(
        output=etcd._tool("snapshot", "status", _saved(etcd, f"{folder}/later.db"), "--write-out=json")
    )
    assert seen > revision
    containers.stop("live")
    options = etcd_output.restore_options(help_text=etcd.restore_help())
    assert options == ["--bump-revision=1000000000", "--mark-compacted"]
    etcd.restore(
        f"{folder}/snapshot.db",
        Restored(f"{folder}/restored", "pi-1", "https://127.0.0.1:2380"),
        *options,
    )
    start_etcd(containers, folder, f"{folder}/restored")
    keys = etcd._ask("https://127.0.0.1:2379", "get", "/registry/pods/", "--prefix", "--keys-only")
    assert etcd_output.count(output=keys) == KEYS - REMOVED
    etcd._ask("https://127.0.0.1:2379", "put", "/registry/pods/new", "1")
    again = etcd_output.snapshot_revision(
        output=etcd._tool("snapshot", "status", _saved(etcd, f"{folder}/again.db"), "--write-out=json")
    )
    assert again > revision + 1_000_000_000 > seen
    # Who asks for what happened since then is told that it is gone, and reads everything anew.
    code, output, errors = containers.run(
        _watch(folder, ["watch", "/registry/pods/", "--prefix", f"--rev={seen}"])
    )
    assert "compacted" in output + errors, (code, output, errors)


def _saved(etcd: Etcd, path: str) -> str:
    etcd._ask("https://127.0.0.1:2379", "snapshot", "save", path)
    return path


def _watch(folder: Path, words: list[str]) -> list[str]:
    access = [
        f"--{name}={etcd_of_cluster.PKI}/{file}"
        for name, file in (("cacert", "ca.crt"), ("cert", "server.crt"), ("key", "server.key"))
    ]
    return [
        *("docker", "run", "--rm", "--name=watch", f"--volume={folder}:{folder}", "--entrypoint=timeout"),
        *("image", "20", "etcdctl", "--endpoints=https://127.0.0.1:2379", *access, *words),
    ]
