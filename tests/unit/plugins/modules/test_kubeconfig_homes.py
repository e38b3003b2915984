# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A home whose user has put links and FIFOs where root reads and writes."""

from __future__ import annotations

import base64
import os
import pwd
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import node_files, reset, state
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.node import Node
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.ca_hash import ca_cert_hash

from tests.unit.run_module import REPOSITORY, run_module

CERTIFICATE = (REPOSITORY / "tests/unit/fixtures/ca_cert/rsa.crt").read_text()
CA_HASH = ca_cert_hash(CERTIFICATE)
CONFIG = (
    "clusters:\n- cluster:\n    certificate-authority-data: "
    f"{base64.b64encode(CERTIFICATE.encode()).decode()}\n    server: https://10.0.0.1:6443\n  name: rack\n"
)
USER = pwd.getpwnam("nobody")

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to somebody")


def own(path: Path) -> None:
    os.chown(path, USER.pw_uid, USER.pw_gid, follow_symlinks=False)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a user's home, beside a folder of root's that links lead to."""
    home = tmp_path / "home"
    home.mkdir()
    own(home)
    roots = tmp_path / "roots"
    roots.mkdir()
    roots.chmod(0o755)
    (roots / "config").write_text(CONFIG)
    (roots / "config").chmod(0o644)
    return home


def folder_is_a_link(home: Path, roots: Path) -> None:
    (home / ".kube").symlink_to(roots)


def folder_is_a_link_of_links(home: Path, roots: Path) -> None:
    (home / "there").symlink_to(roots)
    (home / ".kube").symlink_to("there")


def file_is_a_link(home: Path, roots: Path) -> None:
    (home / ".kube").mkdir()
    own(home / ".kube")
    (home / ".kube" / "config").symlink_to(roots / "config")


def file_is_a_second_name(home: Path, roots: Path) -> None:
    (home / ".kube").mkdir()
    own(home / ".kube")
    os.link(roots / "config", home / ".kube" / "config")


def file_is_a_fifo(home: Path, _roots: Path) -> None:
    (home / ".kube").mkdir()
    own(home / ".kube")
    os.mkfifo(home / ".kube" / "config")


def folder_is_a_fifo(home: Path, _roots: Path) -> None:
    os.mkfifo(home / ".kube")


def file_has_no_end(home: Path, _roots: Path) -> None:
    (home / ".kube").mkdir()
    own(home / ".kube")
    (home / ".kube" / "config").touch()
    os.truncate(home / ".kube" / "config", 1 << 40)


HOSTILE = [
    (folder_is_a_link, "is a link to"),
    (folder_is_a_link_of_links, "is a link to"),
    (file_is_a_link, "is a link to"),
    (file_is_a_second_name, "has another name as well"),
    (file_is_a_fifo, "is not a regular file"),
    (folder_is_a_fifo, "Not a directory"),
    (file_has_no_end, "has 1099511627776 bytes"),
]
hostile = pytest.mark.parametrize(
    ("plant", "words"), HOSTILE, ids=[plant.__name__ for plant, _words in HOSTILE]
)
Plant = Callable[[Path, Path], None]


def others(home: Path) -> list[tuple[Any, ...]]:
    roots = home.parent / "roots"
    return [
        (path.name, stat.S_IMODE(path.stat().st_mode), path.stat().st_uid, path.is_dir() or path.read_text())
        for path in (roots, *sorted(roots.iterdir()))
    ]


@pytest.mark.parametrize("check", [True, False])
@hostile
def test_nothing_of_somebody_else_is_written(
    home: Path, tmp_path: Path, plant: Plant, words: str, check: bool
) -> None:
    (tmp_path / "admin.conf").write_text(CONFIG + "# newer\n")
    plant(home, home.parent / "roots")
    before = others(home)
    done = run_module(
        "kubeconfig",
        dest=str(home / ".kube" / "config"),
        src=str(tmp_path / "admin.conf"),
        owner=USER.pw_name,
        check=check,
    )
    assert done.get("failed"), done
    assert words in done["msg"]
    assert str(home / ".kube") in done["msg"]
    assert others(home) == before


@hostile
def test_nothing_of_somebody_else_is_removed(home: Path, plant: Plant, words: str) -> None:
    plant(home, home.parent / "roots")
    before = others(home)
    done = run_module("kubeconfig", dest=str(home / ".kube" / "config"), state="absent", ca_cert_hash=CA_HASH)
    assert done.get("failed") or not done["changed"], words
    assert others(home) == before


@hostile
def test_reset_goes_on_and_says_what_it_left(
    home: Path, plant: Plant, words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(node_files, "present", frozenset)
    monkeypatch.setattr(node_files, "cluster_ca_hash", lambda: CA_HASH)
    monkeypatch.setattr(state, "ATTEMPT", str(tmp_path / "attempt"))
    monkeypatch.setattr(state, "CA_CERTIFICATE", str(tmp_path / "ca.crt"))
    for part in ("_files", "_packet_filter", "_links"):
        monkeypatch.setattr(reset, part, lambda **_: ())
    mine = tmp_path / "mine"
    mine.write_text(CONFIG)
    plant(home, home.parent / "roots")
    before = others(home)
    warnings: list[str] = []
    changes = Changes(check_mode=False)
    reset.reset_node(
        node=Node(run=lambda *_, **__: (0, "", "")),
        changes=changes,
        warn=warnings.append,
        cri_socket=None,
        clean_up=True,
        cni_configurations=(),
        kubeconfigs=[str(home / ".kube" / "config"), str(mine)],
    )
    assert changes.sentences == [str(mine)]
    assert not mine.exists()
    assert others(home) == before
    if words != "Not a directory":
        assert len(warnings) == 1
        assert words in warnings[0]


def test_links_of_root_are_followed(tmp_path: Path) -> None:
    """Root may have /home on another disk, and root's own kubeconfig be a link to kubeadm's."""
    roots = tmp_path / "roots"
    roots.mkdir()
    (roots / "config").write_text(CONFIG)
    (tmp_path / "home").symlink_to("disk")
    (tmp_path / "disk" / "ada").mkdir(parents=True)
    own(tmp_path / "disk" / "ada")
    dest = tmp_path / "home" / "ada" / ".kube" / "config"
    given: dict[str, Any] = {"dest": str(dest), "src": str(roots / "config"), "owner": USER.pw_name}
    assert run_module("kubeconfig", **given)["changed"]
    assert not run_module("kubeconfig", **given)["changed"]
    for path, mode in ((dest, 0o600), (dest.parent, 0o700)):
        assert (path.stat().st_uid, stat.S_IMODE(path.stat().st_mode)) == (USER.pw_uid, mode)
    link = tmp_path / "config"
    link.symlink_to(roots / "config")
    (roots / "config").chmod(0o600)
    assert not run_module("kubeconfig", dest=str(link), src=str(roots / "config"))["changed"]
    assert run_module("kubeconfig", dest=str(link), state="absent", ca_cert_hash=CA_HASH)["changed"]
    assert not link.is_symlink()
    assert (roots / "config").exists()
