# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""On real files."""

from __future__ import annotations

import base64
import getpass
import stat
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import kubeconfig_file
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.ca_hash import ca_cert_hash
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.kubeconfig import KubeconfigError

CERTIFICATES = Path(__file__).parents[3] / "fixtures" / "ca_cert"


def cluster(name: str) -> str:
    data = base64.b64encode((CERTIFICATES / f"{name}.crt").read_bytes()).decode()
    return (
        f"- cluster:\n    certificate-authority-data: {data}\n"
        f"    server: https://{name}:6443\n  name: {name}\n"
    )


OURS = "clusters:\n" + cluster("rsa")
THEIRS = "clusters:\n" + cluster("ecdsa")
HASH = ca_cert_hash((CERTIFICATES / "rsa.crt").read_text())


def install(tmp_path: Path, **options: Any) -> dict[str, Any]:
    defaults = {
        "dest": str(tmp_path / ".kube" / "config"),
        "src": str(tmp_path / "admin.conf"),
        "content": None,
        "server": None,
        "owner": None,
        "check_mode": False,
    }
    return kubeconfig_file.install(**{**defaults, **options})


def remove(dest: Path, *, check_mode: bool = False) -> dict[str, Any]:
    return kubeconfig_file.remove(dest=str(dest), ca_hash=HASH, check_mode=check_mode)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "admin.conf").write_text(OURS)
    return tmp_path / ".kube" / "config"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("owner", [None, getpass.getuser()])
def test_is_written_once(tmp_path: Path, config: Path, owner: str | None) -> None:
    first = install(tmp_path, owner=owner)
    assert (first["changed"], config.read_text()) == (True, OURS)
    assert (mode(config), mode(config.parent)) == (0o600, 0o700)
    assert install(tmp_path, owner=owner)["changed"] is False


def test_server_is_put_in(tmp_path: Path, config: Path) -> None:
    given = {"content": OURS, "server": "https://rack:6443"}
    assert "content" not in install(tmp_path, **given)
    assert "server: https://rack:6443" in config.read_text()
    assert install(tmp_path, **given)["changed"] is False


def test_check_mode_writes_nothing(tmp_path: Path, config: Path) -> None:
    assert install(tmp_path, check_mode=True)["changed"] is True
    assert not config.parent.exists()


def test_without_a_cluster(tmp_path: Path) -> None:
    done = install(tmp_path, check_mode=True)
    assert (done["changed"], done["why"]) == (True, "there is no cluster yet whose kubeconfig it could be")
    with pytest.raises(KubeconfigError, match=r"admin.conf is not there: bring the control plane up first"):
        install(tmp_path)


def test_modes_are_put_right(tmp_path: Path, config: Path) -> None:
    config.parent.mkdir(mode=0o755)
    config.write_text(OURS)
    config.chmod(0o644)
    assert install(tmp_path, owner=getpass.getuser())["why"] == "its owner or mode was wrong"
    assert (mode(config), mode(config.parent)) == (0o600, 0o700)


def test_folder_of_somebody_keeps_its_mode(tmp_path: Path, config: Path) -> None:
    config.parent.mkdir()
    config.parent.chmod(0o755)
    install(tmp_path)
    assert mode(config.parent) == 0o755


def test_another_clusters_is_kept_each_time(tmp_path: Path, config: Path) -> None:
    config.parent.mkdir()
    for number in (1, 2):
        config.write_text(THEIRS)
        backup = config.with_name(f"config.before-bramble.{number}")
        assert install(tmp_path)["backup_file"] == str(backup)
        assert (config.read_text(), backup.read_text()) == (OURS, THEIRS)


def test_one_that_is_out_of_date_is_replaced(tmp_path: Path, config: Path) -> None:
    config.parent.mkdir()
    config.write_text(OURS + "# an older client certificate\n")
    done = install(tmp_path)
    assert Path(done["backup_file"]).read_text() == OURS + "# an older client certificate\n"
    assert config.read_text() == OURS


@pytest.mark.parametrize("check_mode", [False, True])
def test_one_with_several_clusters_is_left_alone(tmp_path: Path, config: Path, check_mode: bool) -> None:
    config.parent.mkdir()
    config.write_text(THEIRS + cluster("rsa"))
    assert install(tmp_path, check_mode=check_mode)["changed"] is False
    assert remove(config, check_mode=check_mode)["changed"] is False
    assert config.read_text() == THEIRS + cluster("rsa")


@pytest.mark.parametrize(("text", "removed"), [(OURS, True), (THEIRS, False)])
def test_removal(tmp_path: Path, config: Path, text: str, removed: bool) -> None:
    config.parent.mkdir()
    config.write_text(text)
    assert remove(config, check_mode=True)["changed"] is removed
    assert config.exists()
    assert remove(config)["changed"] is removed
    assert config.exists() is not removed
    assert remove(config.parent / "none")["changed"] is False


def test_user_who_is_not_there(tmp_path: Path, config: Path) -> None:
    with pytest.raises(
        KubeconfigError, match="no user nobody-here on this host: set control_plane_admin_user"
    ):
        install(tmp_path, owner="nobody-here")
