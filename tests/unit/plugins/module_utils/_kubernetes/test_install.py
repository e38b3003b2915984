# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which commands are run; molecule/kube_packages tries it on real nodes."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._common import apt_repository
from ansible_collections.bramble.pi.plugins.module_utils._common.apt import AptError
from ansible_collections.bramble.pi.plugins.module_utils._common.apt_sources import AptSourceError
from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import install
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.packages import KubePackagesError

KEY = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQEN\n-----END PGP PUBLIC KEY BLOCK-----\n"
MADISON = "\n".join(
    f"{name} | {version} | https://pkgs.k8s.io/core:/stable:/v1.36/deb  Packages"
    for name, version in [
        *((name, f"1.36.{patch}-1.1") for name in ("kubelet", "kubeadm", "kubectl") for patch in (2, 1)),
        ("kubernetes-cni", "1.9.1-1.1"),
        ("kubernetes-cni", "1.8.0-1.1"),
    ]
)


class Node:
    """A node with dpkg, apt and systemd, as far as the module sees them."""

    def __init__(self, *, status: str = "", packages: dict[str, str] | None = None) -> None:
        self.packages = {name: (status, version) for name, version in (packages or {}).items()}
        self.kubelet = "enabled" if packages else "disabled"
        self.log: list[str] = []
        #: What reads the sources.
        self.apt: Callable[[list[str]], tuple[int, str, str]] = lambda command: (0, "", "")

    def __call__(self, command: list[str]) -> tuple[int, str, str]:
        words = [word for word in command if not word.startswith("-") and "=" not in word[:20]]
        program, *rest = words
        if program == "dpkg-query":
            rows = [f"{name}\t{status}\t{version}\n" for name, (status, version) in self.packages.items()]
            return 1, "".join(rows), "dpkg-query: no packages found matching cri-tools\n"
        if "indextargets" in command:
            return self.apt(command)
        if program == "apt-cache":
            return 0, MADISON, ""
        if command[:2] == ["systemctl", "is-enabled"]:
            return 1, f"{self.kubelet}\n", ""
        if command[:2] == ["systemctl", "show"]:
            return 0, "ActiveState=inactive\n", ""
        pairs = [word.partition("=") for word in command if word.startswith("kube")]
        if "install" in command:
            self.packages.update({name: ("ii ", version) for name, _equals, version in pairs if version})
        elif program == "apt-mark":
            letter = "h" if "hold" in command else "i"
            for name in rest[1:]:
                self.packages[name] = (f"{letter}i ", self.packages[name][1])
        self.log.append(
            " ".join(word for word in command if not word.startswith(("-o", "DPkg", "Dpkg", "Dir::")))
        )
        return 0, "", ""


Ensure = Callable[..., dict[str, Any]]


@pytest.fixture
def ensure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ensure:
    """Install, with files below a folder and the key at hand."""

    def download(*, url: str, path: str, variable: str) -> None:
        assert variable == "kube_packages_key or kube_packages_repository"
        assert url in ("https://pkgs.k8s.io/core:/stable:/v1.36/deb/Release.key", "http://mirror/release.asc")
        Path(path).write_text(KEY)

    monkeypatch.setattr(install, "_SOURCE", str(tmp_path / "sources.list.d" / "kubernetes.sources"))
    monkeypatch.setattr(install, "_KEYRING", str(tmp_path / "keyrings" / "kubernetes.asc"))
    monkeypatch.setattr(
        apt_repository, "_OTHER_SOURCES", (str(tmp_path / "*.list"), str(tmp_path / "sources.list.d" / "*"))
    )
    monkeypatch.setattr(apt_repository, "download", download)

    def run(node: Node, *, check_mode: bool = False, **parameters: Any) -> dict[str, Any]:
        order = install.Order(
            **{
                "version": "1.36",
                "repository": "https://pkgs.k8s.io/core:/stable:/v{minor}/deb/",
                "key": None,
                "packages": ["kubelet", "kubeadm", "kubectl"],
                "hold": True,
                "allow_downgrade": False,
                **parameters,
            }
        )
        warnings: list[str] = []
        changes = Changes(check_mode=check_mode, run=node)
        work = install.KubePackages(order=order, run=node, warn=warnings.append, changes=changes)
        return {**work.ensure(), "warnings": warnings}

    return run


def test_a_node_of_a_cluster_stays_as_it_is_and_says_what_is_newer(ensure: Ensure) -> None:
    node = Node(status="hi ", packages=dict.fromkeys(("kubelet", "kubeadm", "kubectl"), "1.36.1-1.1"))
    assert ensure(node, member=True, report_newer=True)["newer"] == "1.36.2"
    assert ensure(node, member=True)["newer"] is None
    with pytest.raises(KubePackagesError, match="which is an upgrade, node by node"):
        ensure(node, member=True, version="1.36.2")
    assert node.log == []


def test_a_node_that_joins_gets_what_the_cluster_runs(ensure: Ensure) -> None:
    node = Node(status="ii ", packages={"kubelet": "1.36.2-1.1"})
    ensure(node, cluster_version="1.36.1")
    assert {node.packages[name][1] for name in ("kubelet", "kubeadm", "kubectl")} == {"1.36.1-1.1"}
    assert any("--allow-downgrades" in line for line in node.log)
    with pytest.raises(KubePackagesError, match=r"the cluster runs 1\.36\.1, and kube_packages_version is 1"):
        ensure(Node(), cluster_version="1.36.1", version="1.37")


def test_says_that_nobody_vouches_for_a_key_that_comes_over_http(ensure: Ensure) -> None:
    (warning,) = ensure(Node(), key="http://mirror/release.asc")["warnings"]
    assert warning.startswith("http://mirror/release.asc came over http and was not checked")
    assert "kube_packages_key" in warning


def test_installs_on_a_fresh_node(ensure: Ensure, tmp_path: Path) -> None:
    node = Node()
    announced = ensure(node, check_mode=True)
    assert not node.log
    assert [change.partition(" ")[0] for change in announced["changes"]] == [
        "write",
        "write",
        "install",
        "hold",
    ]
    assert "kubelet, kubeadm, kubectl 1.36" in announced["changes"][2]
    assert not list(tmp_path.iterdir())

    result = ensure(node)
    assert node.log == [
        "apt-get update APT::Get::List-Cleanup=false APT::Update::Error-Mode=any",
        "apt-get install --yes --no-install-recommends --allow-change-held-packages "
        "kubelet=1.36.2-1.1 kubeadm=1.36.2-1.1 kubectl=1.36.2-1.1 kubernetes-cni=1.9.1-1.1",
        "apt-mark hold kubelet kubeadm kubectl kubernetes-cni",
        "systemctl enable kubelet.service",
    ]
    assert result["changed"]
    assert result["previous"] == {}
    assert result["installed"]["kubelet"] == "1.36.2-1.1"
    assert result["held"] == ["kubeadm", "kubectl", "kubelet", "kubernetes-cni"]
    source = (tmp_path / "sources.list.d" / "kubernetes.sources").read_text()
    assert "URIs: https://pkgs.k8s.io/core:/stable:/v1.36/deb/\n" in source
    assert [diff["after"] for diff in result["diff"]] == [KEY, source]

    node.log.clear()
    node.kubelet = "enabled"
    assert not ensure(node)["changed"]
    assert not ensure(node, check_mode=True)["changed"]
    assert node.log == []


def installed(**others: str) -> Node:
    return Node(
        status="hi ", packages=dict.fromkeys(("kubelet", "kubeadm", "kubectl"), "1.36.1-1.1") | others
    )


def test_keeps_an_installed_patch(ensure: Ensure) -> None:
    node = installed()
    assert [change.partition(" ")[0] for change in ensure(node)["changes"]] == ["write", "write"]
    assert node.log == []


def test_changes_the_patch_and_restarts_kubelet(ensure: Ensure) -> None:
    node = installed(**{"kubernetes-cni": "1.8.0-1.1"})
    result = ensure(node, version="1.36.2")
    assert node.log[1:] == [
        "apt-get install --yes --no-install-recommends --allow-change-held-packages "
        "kubelet=1.36.2-1.1 kubeadm=1.36.2-1.1 kubectl=1.36.2-1.1",
        "apt-mark hold kubelet kubeadm kubectl",
        "systemctl daemon-reload",
        "systemctl try-restart kubelet.service",
    ]
    assert result["previous"]["kubelet"] == "1.36.1-1.1"
    assert result["installed"]["kubernetes-cni"] == "1.8.0-1.1"


def test_an_upgrade_renews_what_kubeadm_needs_and_apt_keeps_as_it_is_held(ensure: Ensure) -> None:
    """From https://github.com/kubernetes/release/issues/3574: kubeadm 1.30 with cri-tools (>= 1.30.0)."""
    node = Node(
        status="hi ",
        packages={
            **dict.fromkeys(("kubelet", "kubeadm", "kubectl"), "1.35.4-1.1"),
            "kubernetes-cni": "1.8.0-1.1",
        },
    )
    ensure(node, version="1.36.2", upgrade=True, packages=["kubeadm"])
    assert node.log[1] == (
        "apt-get install --yes --no-install-recommends --allow-change-held-packages "
        "kubeadm=1.36.2-1.1 kubernetes-cni"
    )


def test_lets_go_of_packages(ensure: Ensure) -> None:
    node = installed()
    assert ensure(node, hold=False)["held"] == []
    assert node.log == ["apt-mark unhold kubelet kubeadm kubectl"]


def test_refuses_another_minor_before_it_changes_anything(ensure: Ensure, tmp_path: Path) -> None:
    node = installed()
    with pytest.raises(KubePackagesError, match="another minor is an upgrade"):
        ensure(node, version="1.37")
    assert node.log == []
    assert not list(tmp_path.iterdir())


def test_warns_of_old_sources(ensure: Ensure, tmp_path: Path) -> None:
    (tmp_path / "old.list").write_text("deb https://apt.kubernetes.io/ kubernetes-xenial main\n")
    assert "old.list names apt.kubernetes.io" in ensure(installed())["warnings"][0]


URL = "https://pkgs.k8s.io/core:/stable:/v1.36/deb"
GUIDE = "/etc/apt/keyrings/kubernetes-apt-keyring.gpg"


@pytest.fixture
def real_apt(tmp_path: Path) -> Callable[[list[str]], tuple[int, str, str]]:
    """Have a real apt read sources, with nothing of this machine."""
    if shutil.which("apt-get") is None:
        pytest.skip("there is no apt here")
    (tmp_path / "sources.list.d").mkdir()
    root = tmp_path / "root"
    for folder in ("etc/apt", "var/lib/apt/lists/partial", "var/cache/apt/archives/partial", "var/lib/dpkg"):
        (root / folder).mkdir(parents=True)
    (root / "var/lib/dpkg/status").touch()
    configuration = tmp_path / "apt.conf"
    configuration.write_text(f'Dir "{root}/"; Dir::State::status "{root}/var/lib/dpkg/status";\n')

    def run(command: list[str]) -> tuple[int, str, str]:
        environment = {**os.environ, "APT_CONFIG": str(configuration), "LC_ALL": "C"}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        return done.returncode, done.stdout, done.stderr

    return run


class Source(NamedTuple):
    name: str
    text: str
    #: What apt says; None where it works.
    seen: str | None


@pytest.mark.parametrize("check_mode", [True, False])
@pytest.mark.parametrize(
    "case",
    [
        Source("kubernetes.list", f"deb [signed-by={GUIDE}] {URL}/ /\n", "option Signed-By"),
        Source(
            "k8s.sources", f"Types: deb\nURIs: {URL}\nSuites: /\nSigned-By: {GUIDE}\n", "option Signed-By"
        ),
        Source("kubernetes.list", f"deb [trusted=yes] {URL}/ /\n", "option Trusted"),
        Source("kubernetes.list", f"deb-src [arch=arm64 signed-by={GUIDE}] {URL} /\n", "option Signed-By"),
        # What apt bears.
        Source("kubernetes.list", f"# deb [signed-by={GUIDE}] {URL}/ /\n", None),
        Source("kubernetes.list", f"deb [signed-by={GUIDE}] {URL.replace('36', '35')}/ /\n", None),
        Source("kubernetes.save", f"deb [signed-by={GUIDE}] {URL}/ /\n", None),
        Source(
            "k8s.sources",
            f"Enabled: no\nTypes: deb\nURIs: {URL}\nSuites: /\nSigned-By: {GUIDE}\n",
            None,
        ),
        # What it does not bear in any case.
        Source("other.list", "deb http://mirror.example.org/debian\n", "Malformed entry 1 in list file"),
    ],
)
def test_refuses_a_source_beside_which_apt_would_fail(
    ensure: Ensure,
    tmp_path: Path,
    real_apt: Callable[[list[str]], tuple[int, str, str]],
    case: Source,
    check_mode: bool,
) -> None:
    node = Node()
    node.apt = real_apt
    folder = tmp_path / "sources.list.d"
    (folder / case.name).write_text(case.text)
    if case.seen is None:
        ensure(node, check_mode=check_mode)
        return
    with pytest.raises(AptSourceError, match=case.seen) as error:
        ensure(node, check_mode=check_mode)
    assert str(folder / case.name) in str(error.value)
    assert [path.name for path in folder.iterdir()] == [case.name]
    assert not (tmp_path / "keyrings").exists()
    assert node.log == []
    # Where it was written before, it is told of all the same.
    (folder / "kubernetes.sources").write_text("Types: deb\nURIs: http://old/\nSuites: /\n")
    with pytest.raises(AptSourceError, match=case.seen):
        ensure(node, check_mode=check_mode)


OLD = "URIs: https://pkgs.k8s.io/core:/stable:/v1.35/deb/\n"


@pytest.mark.parametrize("before", [None, OLD])
def test_a_repository_that_apt_cannot_read_is_taken_back(
    ensure: Ensure, tmp_path: Path, before: str | None
) -> None:
    """Plain apt-get update would fail with it, for whoever calls that."""
    source, keyring = tmp_path / "sources.list.d/kubernetes.sources", tmp_path / "keyrings/kubernetes.asc"
    source.parent.mkdir()
    if before:
        source.write_text(before)
    broken, node = True, Node()

    class Broken(Node):
        def __call__(self, command: list[str]) -> tuple[int, str, str]:
            if "update" in command and broken:
                return 100, "", "E: The repository 'https://x / Release' does not have a Release file."
            return node(command)

    with pytest.raises(AptError, match=r"does not have a Release file(?s:.*)Undone, as apt-get update"):
        ensure(Broken())
    assert (source.read_text() if source.exists() else None) == before
    assert not keyring.exists()
    broken = False
    ensure(Broken())
    assert keyring.exists()
    # What has been proved once stays while the repository is away.
    broken, node = True, Node()
    with pytest.raises(AptError, match=r"does not have a Release file[.]$"):
        ensure(Broken())
    assert source.exists()
    assert keyring.exists()
