# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a runtime is installed, edited, restarted and refused; molecule/docker has real runtimes."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._common import download as common_download
from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._containers import origin, provision, toml
from ansible_collections.bramble.pi.plugins.module_utils._containers.base import (
    Host,
    RuntimeStateError,
    Wishes,
)
from ansible_collections.bramble.pi.plugins.module_utils._containers.runtime import RUNTIMES

FIXTURES = Path(__file__).parents[3] / "fixtures" / "containerd"
SYSTEMD = {"exec-opts": ["native.cgroupdriver=systemd"]}


class Node:
    """A node with dpkg, apt, systemd, containerd and Docker, as far as they are seen."""

    def __init__(self, folder: Path, *, packages: list[str], active: bool = True) -> None:
        self.packages = packages
        self.active = active
        self.starts = True
        #: Whether the release has Docker's command in a package of its own.
        self.has_cli_package = False
        #: What containerd makes of a configuration, of whichever text.
        self.dumps = [(FIXTURES / "default-1.6.20.toml").read_text()]
        #: Whether it reads the file, as containerd does: over its defaults.
        self.merges = False
        self.cri = ["ok"]
        self.daemon_json = folder / "etc/docker/daemon.json"
        self.docker_info: dict[str, str | None] = {}
        self.containerd_config = folder / "etc/containerd/config.toml"
        self.log: list[str] = []

    def __call__(self, command: list[str]) -> tuple[int, str, str]:
        program, verb = command[0], command[1]
        if program == "dpkg-query":
            return 1, "".join(f"{name}\tii \t1\n" for name in self.packages), ""
        if (program, verb) == ("systemctl", "show"):
            return 0, "\n".join(self.unit(name) for name in command[4:]), ""
        if program == "ctr":
            return 0, f"io.containerd.grpc.v1 cri linux/amd64 {self.next_of(self.cri)}\n", ""
        if program == "containerd":
            dump = self.next_of(self.dumps)
            return 0, self.merged(dump, Path(command[2])) if self.merges and verb == "--config" else dump, ""
        if program == "docker":
            settings = json.loads(self.daemon_json.read_text())
            driver = dict(option.split("=") for option in settings.get("exec-opts", [])).get(
                "native.cgroupdriver"
            )
            told = {
                "CgroupDriver": driver,
                "Warnings": ["WARNING: No swap limit support"],
                **self.docker_info,
            }
            return 0, json.dumps(told), ""
        if program == "apt-cache":
            return (
                (0, "Package: docker-cli\n", "")
                if self.has_cli_package
                else (100, "", "E: No packages found\n")
            )
        if program == "journalctl":
            return 0, 'msg="failed to load plugin cri" error="too many open files"\n', ""
        if (program, verb) == ("systemctl", "start") and not self.starts:
            return 1, "", "Job for the service failed.\n"
        if program == "systemctl" and verb in ("start", "restart"):
            self.active = True
        if "install" in command:
            self.packages += command[command.index("install") + 4 :]
        self.log.append(" ".join(word for word in command if not word.startswith(("-", "DPkg", "Dpkg"))))
        return 0, "", ""

    @staticmethod
    def merged(dump: str, file: Path) -> str:
        for path, value in toml.parse(text=file.read_text()).values().items():
            dump = toml.set_value(text=dump, path=path, value=value)
        return dump

    @staticmethod
    def next_of(answers: list[str]) -> str:
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def unit(self, name: str) -> str:
        installed = bool(self.packages)
        return (
            f"Id={name}\nLoadState={'loaded' if installed else 'not-found'}\n"
            f"ActiveState={'active' if installed and self.active else 'inactive'}\n"
            f"UnitFileState={'enabled' if installed else ''}\n"
            # The boot is as long ago as it takes for files of this test to be newer, or older.
            f"ActiveEnterTimestampMonotonic={int((time.monotonic() - 60) * 1_000_000)}\n"
        )


ARCHIVES = {
    name: {"url": f"http://x/{name}", "sha256": sha} for name, sha in (("containerd", "ab"), ("runc", "cd"))
}
Ensure = Callable[..., dict[str, Any]]


@pytest.fixture
def ensure(tmp_path: Path) -> Ensure:
    """Provision a node whose files are below a folder."""

    def run(
        node: Node, *, check_mode: bool = False, runtime: str = "dockershim", **wishes: Any
    ) -> dict[str, Any]:
        root = str(tmp_path)
        host = Host(
            node,
            lambda program: bool(node.packages),
            Changes(check_mode=check_mode, run=node, root=root),
            root,
        )
        asked = {"daemon_json": SYSTEMD, "accepted_warnings": ["No swap limit support"], **wishes}
        return provision.provision(runtime=RUNTIMES[runtime], host=host, wishes=Wishes(**asked))

    return run


def configured(tmp_path: Path) -> Node:
    node = Node(tmp_path, packages=["docker.io"])
    node.daemon_json.parent.mkdir(parents=True)
    node.containerd_config.parent.mkdir()
    node.daemon_json.write_text(json.dumps(SYSTEMD))
    long_ago = time.time() - 3600
    os.utime(node.daemon_json, (long_ago, long_ago))
    return node


@pytest.mark.parametrize("runtime", ["containerd", "dockershim"])
def test_announces_all_on_a_fresh_node(ensure: Ensure, tmp_path: Path, runtime: str) -> None:
    node = Node(tmp_path, packages=[])
    result = ensure(node, check_mode=True, runtime=runtime)
    assert result["changes"] == [
        "Write /etc/docker/daemon.json",
        "Install docker.io",
        *(["Write /etc/containerd/config.toml"] if runtime == "containerd" else []),
        "Enable and start containerd.service",
        "Enable and start docker.service",
    ]
    assert "docker_info" not in result
    assert node.log == []
    assert not list(tmp_path.iterdir())


def test_announces_the_command_where_the_release_has_it_apart(ensure: Ensure, tmp_path: Path) -> None:
    node = Node(tmp_path, packages=[])
    node.has_cli_package = True
    announced = ensure(node, check_mode=True)["changes"]
    assert announced[1:3] == ["Install docker.io", "Install docker-cli"]
    assert "Install docker-cli" not in ensure(node, check_mode=True, packages=["docker-ce"])["changes"]
    assert ensure(node, check_mode=True, packages=["docker.io", "docker-cli"])["changes"][1:3] == [
        "Install docker.io docker-cli",
        "Enable and start containerd.service",
    ]


def test_changes_nothing_where_all_is_well(ensure: Ensure, tmp_path: Path) -> None:
    node = configured(tmp_path)
    for check_mode in (True, False):
        result = ensure(node, check_mode=check_mode)
        assert (result["changes"], result["diff"]) == ([], [])
        assert result["docker_info"]["cgroup_driver"] == "systemd"
    assert node.log == []


def test_keeps_docker_from_elsewhere(ensure: Ensure, tmp_path: Path) -> None:
    node = configured(tmp_path)
    node.packages = ["docker-ce"]
    assert not ensure(node)["changed"]


def test_restarts_docker_for_new_settings(ensure: Ensure, tmp_path: Path) -> None:
    node = configured(tmp_path)
    announced = ensure(node, check_mode=True, daemon_json={**SYSTEMD, "debug": True})
    assert node.log == []
    result = ensure(node, daemon_json={**SYSTEMD, "debug": True})
    assert node.log == ["systemctl restart docker.service"]
    assert result["changes"] == announced["changes"]


def test_restarts_docker_if_a_run_was_cut_short_before(ensure: Ensure, tmp_path: Path) -> None:
    node = configured(tmp_path)
    os.utime(node.daemon_json)
    assert ensure(node)["changes"] == ["Restart docker.service"]


def test_does_not_restart_docker_in_each_run_while_the_clock_is_behind(
    ensure: Ensure, tmp_path: Path
) -> None:
    node = configured(tmp_path)
    os.utime(node.daemon_json, (time.time() + 3600,) * 2)
    assert not ensure(node)["changed"]


def test_a_proxy_comes_and_goes_with_a_restart_of_both(ensure: Ensure, tmp_path: Path) -> None:
    node = configured(tmp_path)
    proxies = {"http_proxy": "http://proxy:3128", "no_proxy": "pi-1"}
    restarts = ["Restart containerd.service", "Restart docker.service"]
    files = [f"etc/systemd/system/{unit}.service.d/bramble-proxy.conf" for unit in ("containerd", "docker")]
    for wish in (proxies, {}):
        expected = [*(f"Write /{file}" for file in files), *restarts]
        assert ensure(node, check_mode=True, proxy_environment=wish)["changes"] == expected
        node.log.clear()
        assert ensure(node, proxy_environment=wish)["changes"] == expected
        assert node.log[0] == "systemctl daemon-reload"
        # As a run that was killed here would leave it.
        assert ensure(node, proxy_environment=wish)["changes"] == restarts
        for file in files:
            os.utime(tmp_path / file, (time.time() - 3600,) * 2)
        assert ensure(node, proxy_environment=wish)["changes"] == []
    assert "Environment" not in (tmp_path / files[0]).read_text()


@pytest.mark.parametrize(
    ("runtime", "file", "felt"),
    [
        ("containerd", "etc/docker/daemon.json", False),
        ("dockershim", "etc/docker/daemon.json", True),
        ("containerd", "etc/containerd/config.toml", True),
        ("containerd", "usr/local/lib/bramble-containerd/receipt.json", True),
    ],
)
def test_tells_whether_pods_feel_a_restart(
    ensure: Ensure, tmp_path: Path, runtime: str, file: str, felt: bool
) -> None:
    node = configured(tmp_path)
    node.dumps = [node.dumps[0].replace("SystemdCgroup = false", "SystemdCgroup = true")]
    assert not ensure(node, runtime=runtime)["felt_by_pods"]
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).touch()
    wishes = {"archives": ARCHIVES, "containerd_source": "archive"} if "receipt" in file else {}
    if wishes:
        (tmp_path / file).write_text(json.dumps({"containerd": "ab", "runc": "cd"}))
        drop_in = tmp_path / "etc/systemd/system/containerd.service.d/bramble.conf"
        drop_in.parent.mkdir(parents=True)
        drop_in.write_text(origin._DROP_IN_TEXT)
    result = ensure(node, check_mode=True, runtime=runtime, **wishes)
    assert (result["felt_by_pods"], len(result["changes"])) == (felt, 1)


def test_starts_what_is_stopped(ensure: Ensure, tmp_path: Path) -> None:
    node = configured(tmp_path)
    node.active = False
    assert ensure(node)["changes"] == ["Start containerd.service", "Start docker.service"]


def test_gives_the_log_of_what_does_not_start(ensure: Ensure, tmp_path: Path) -> None:
    node = configured(tmp_path)
    node.active = False
    node.starts = False
    with pytest.raises(
        RuntimeStateError, match=r"'systemctl start containerd.service' ended with 1: .*\n.*\n.*too many"
    ):
        ensure(node)


def test_edits_the_configuration_of_containerd(ensure: Ensure, tmp_path: Path) -> None:
    node = configured(tmp_path)
    before = node.dumps[0]
    node.dumps = [before, before.replace("SystemdCgroup = false", "SystemdCgroup = true")]
    result = ensure(node, runtime="containerd")
    assert node.log == ["systemctl restart containerd.service"]
    assert result["diff"][0]["after"] == node.containerd_config.read_text()
    assert "SystemdCgroup = true" in node.containerd_config.read_text()
    assert result["cri_socket"] == "unix:///run/containerd/containerd.sock"


def test_leaves_a_configuration_that_would_have_no_effect(ensure: Ensure, tmp_path: Path) -> None:
    node = configured(tmp_path)
    text = 'version = 2\nimports = ["/etc/containerd/conf.d/*.toml"]\n'
    node.containerd_config.write_text(text)
    with pytest.raises(RuntimeStateError, match=r"would not have effect: SystemdCgroup is false"):
        ensure(node, runtime="containerd")
    assert node.containerd_config.read_text() == text
    assert node.log == []


@pytest.mark.parametrize(
    ("answers", "loads"), [(["error", "ok"], True), (["error"], False)], ids=["cause-is-gone", "cause-stays"]
)
def test_gives_the_cri_plugin_another_try(
    ensure: Ensure, tmp_path: Path, answers: list[str], loads: bool
) -> None:
    node = configured(tmp_path)
    node.dumps = [node.dumps[0].replace("SystemdCgroup = false", "SystemdCgroup = true")]
    node.cri = answers
    if loads:
        assert ensure(node, runtime="containerd")["changes"] == ["Restart containerd.service"]
        return
    with pytest.raises(RuntimeStateError, match="did not load: too many open files"):
        ensure(node, runtime="containerd")


def test_refuses_what_docker_could_not_read(ensure: Ensure, tmp_path: Path) -> None:
    node = configured(tmp_path)
    node.daemon_json.write_text('{"debug": true,}')
    with pytest.raises(RuntimeStateError, match=r"daemon\.json is not valid JSON: .* line 1"):
        ensure(node)
    assert node.daemon_json.read_text() == '{"debug": true,}'


def test_refuses_limits_that_docker_cannot_set(ensure: Ensure, tmp_path: Path) -> None:
    with pytest.raises(RuntimeStateError, match=r"'WARNING: No swap limit support'.*accept"):
        ensure(configured(tmp_path), accepted_warnings=[])


def test_installs_cri_dockerd(ensure: Ensure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    downloads: list[str] = []

    def download(*, url: str, path: str, sha256: str, variable: str, checksum_variable: str) -> None:
        assert (variable, checksum_variable) == ("docker_cri_dockerd_url", "docker_cri_dockerd_sha256")
        downloads.append(f"{url} {sha256} {Path(path).name}")

    monkeypatch.setattr(common_download, "download", download)
    node = configured(tmp_path)
    source = {"url": "http://x/cri-dockerd_0.3.20.deb", "sha256": "abc"}
    result = ensure(node, runtime="cri_dockerd", cri_dockerd=source)
    assert downloads == ["http://x/cri-dockerd_0.3.20.deb abc cri-dockerd.deb"]
    assert result["changes"] == ["Install http://x/cri-dockerd_0.3.20.deb"]
    assert node.log[0].startswith("apt-get install /")


def test_reads_units() -> None:
    text = """\
Id=docker.service
LoadState=loaded
ActiveState=active
UnitFileState=enabled
ActiveEnterTimestampMonotonic=5250000

Id=cri-docker.socket
LoadState=not-found
ActiveState=inactive
UnitFileState=
ActiveEnterTimestampMonotonic=0
"""
    assert provision.read_units(text=text) == {
        "docker.service": provision.Unit(loaded=True, enabled=True, active=True, active_since=5.25),
        "cri-docker.socket": provision.Unit(loaded=False, enabled=False, active=False, active_since=0),
    }


CRI = '[plugins."io.containerd.grpc.v1.cri"'
V3 = "[plugins.'io.containerd.cri.v1.runtime'"
NVIDIA = f"""version = 2
{CRI}.containerd]
  default_runtime_name = "nvidia"
{CRI}.containerd.runtimes.nvidia]
  runtime_type = "io.containerd.runc.v2"
{CRI}.containerd.runtimes.nvidia.options]
  BinaryName = "/usr/bin/nvidia-container-runtime"
"""
OLD_SWITCH = f"""version = 2
{CRI}]
  systemd_cgroup = true
{CRI}.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
{CRI}.containerd.runtimes.runc.options]
  SystemdCgroup = false
"""
SANE = f"{CRI}.containerd.runtimes.runc.options]\n  SystemdCgroup = true\n"


@pytest.mark.parametrize(
    ("version", "text", "changes"),
    [
        pytest.param(
            "1.7.24",
            NVIDIA,
            {("containerd", "runtimes", "nvidia", "options", "SystemdCgroup"): True},
            id="the default runtime is another than runc",
        ),
        pytest.param(
            "1.6.20",
            f"version = 2\n{CRI}.containerd.default_runtime]\n  runtime_type = 'io.containerd.runc.v2'\n",
            {("containerd", "default_runtime", "options", "SystemdCgroup"): True},
            id="the default runtime in its old form",
        ),
        pytest.param(
            "1.6.20",
            OLD_SWITCH,
            {
                ("systemd_cgroup",): False,
                ("containerd", "runtimes", "runc", "options", "SystemdCgroup"): True,
            },
            id="the old switch",
        ),
        pytest.param(
            "2.1.9",
            f"version = 3\n{V3}.cni]\n  bin_dir = '/usr/lib/cni'\n",
            {
                ("cni", "bin_dir"): "/opt/cni/bin",
                ("containerd", "runtimes", "runc", "options", "SystemdCgroup"): True,
                ("containerd", "runtimes", "runc", "runtime_type"): "io.containerd.runc.v2",
            },
            id="a folder of its own beside the default list",
        ),
        pytest.param(
            "2.1.9",
            f"version = 3\n{V3}.cni]\n  bin_dir = '/usr/lib/cni'\n  bin_dirs = ['/usr/lib/cni']\n",
            {
                ("cni", "bin_dir"): "",
                ("cni", "bin_dirs"): ["/opt/cni/bin", "/usr/lib/cni"],
                ("containerd", "runtimes", "runc", "options", "SystemdCgroup"): True,
                ("containerd", "runtimes", "runc", "runtime_type"): "io.containerd.runc.v2",
            },
            id="both, which containerd refuses",
        ),
    ],
)
def test_sets_what_counts_in_containerd(
    ensure: Ensure, tmp_path: Path, version: str, text: str, changes: dict[tuple[str, ...], Any]
) -> None:
    node = configured(tmp_path)
    node.dumps, node.merges = [(FIXTURES / f"default-{version}.toml").read_text()], True
    node.containerd_config.write_text(text)
    before = toml.parse(text=text).values()
    ensure(node, runtime="containerd")
    after = toml.parse(text=node.containerd_config.read_text()).values()
    ours = {path[2:]: value for path, value in after.items() if before.get(path) != value}
    cni: dict[tuple[str, ...], Any] = {} if version != "1.7.24" else {("cni", "bin_dir"): "/opt/cni/bin"}
    assert ours == {**changes, **cni}
    assert before.keys() <= after.keys()
    # The restart aside, which the older file of this test brings: all is as asked.
    assert "Write /etc/containerd/config.toml" not in ensure(node, runtime="containerd")["changes"]


def test_leaves_a_runtime_alone_that_is_not_runc(ensure: Ensure, tmp_path: Path) -> None:
    node = configured(tmp_path)
    node.merges = True
    node.containerd_config.write_text(
        NVIDIA.replace("nvidia", "kata").replace("io.containerd.runc.v2", "io.containerd.kata.v2")
    )
    before = node.containerd_config.read_text()
    ensure(node, runtime="containerd")
    assert node.containerd_config.read_text() == before


def test_refuses_a_default_runtime_that_is_not_there(ensure: Ensure, tmp_path: Path) -> None:
    node = configured(tmp_path)
    node.merges = True
    text = f"version = 2\n{CRI}.containerd]\n  default_runtime_name = 'nvida'\n"
    node.containerd_config.write_text(text)
    with pytest.raises(RuntimeStateError, match=r"config\.toml has default_runtime_name 'nvida' and no such"):
        ensure(node, runtime="containerd")
    assert node.containerd_config.read_text() == text


def test_names_what_an_imported_file_sets_for_the_old_switch(ensure: Ensure, tmp_path: Path) -> None:
    node = configured(tmp_path)
    node.dumps = [
        node.dumps[0]
        .replace("SystemdCgroup = false", "SystemdCgroup = true")
        .replace("systemd_cgroup = false", "systemd_cgroup = true")
    ]
    node.containerd_config.write_text("version = 2\n")
    message = r"would not have effect: systemd_cgroup in \[plugins.\"io.containerd.grpc.v1.cri\"\] is true"
    with pytest.raises(RuntimeStateError, match=message):
        ensure(node, runtime="containerd")


DRIVERS = {"exec-opts": ["native.cgroupdriver=systemd"]}


@pytest.mark.parametrize(
    ("present", "desired", "expected"),
    [
        pytest.param(
            {"log-driver": "syslog", "log-opts": {"syslog-address": "udp://10.0.0.9:514"}},
            {"log-driver": "json-file", "log-opts": {"max-size": "100m"}},
            {"log-driver": "json-file", "log-opts": {"max-size": "100m"}},
            id="another log driver before",
        ),
        pytest.param(
            {"log-opts": {"max-size": "1g", "max-file": "3"}},
            {"log-driver": "journald"},
            {"log-driver": "journald"},
            id="options of the default log driver",
        ),
        pytest.param(
            {"log-opts": {"max-file": "3"}},
            {"log-driver": "json-file", "log-opts": {"max-size": "100m"}},
            {"log-driver": "json-file", "log-opts": {"max-file": "3", "max-size": "100m"}},
            id="the same log driver, which is the default",
        ),
        pytest.param(
            {"storage-driver": "btrfs", "storage-opts": ["btrfs.min_space=1G"]},
            {"storage-driver": "overlay2"},
            {"storage-driver": "overlay2"},
            id="another storage driver before",
        ),
        pytest.param(
            {"storage-opts": ["overlay2.size=1G"]},
            {"storage-driver": "overlay2"},
            {"storage-opts": ["overlay2.size=1G"], "storage-driver": "overlay2"},
            id="Docker's own choice, which is the same",
        ),
        pytest.param(
            {"storage-opts": ["dm.basesize=20G"]},
            {"storage-driver": "overlay2", "storage-opts": ["overlay2.size=1G"]},
            {"storage-driver": "overlay2", "storage-opts": ["overlay2.size=1G"]},
            id="options of another storage driver",
        ),
        pytest.param(
            {"log-driver": "journald", "log-opts": {"tag": "x"}, "debug": True},
            {"log-driver": "journald"},
            {"log-driver": "journald", "log-opts": {"tag": "x"}, "debug": True},
            id="nothing changes",
        ),
    ],
)
def test_a_driver_takes_its_options_with_it(
    ensure: Ensure, tmp_path: Path, present: dict[str, Any], desired: dict[str, Any], expected: dict[str, Any]
) -> None:
    node = configured(tmp_path)
    node.daemon_json.write_text(json.dumps({**DRIVERS, **present}))
    node.docker_info = {"LoggingDriver": desired.get("log-driver"), "Driver": desired.get("storage-driver")}
    ensure(node, daemon_json={**DRIVERS, **desired})
    assert json.loads(node.daemon_json.read_text()) == {**DRIVERS, **expected}
    assert not ensure(node, daemon_json={**DRIVERS, **desired})["diff"]
