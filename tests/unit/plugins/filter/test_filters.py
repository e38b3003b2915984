# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.bramble.pi.plugins.filter.addresses import nth_address
from ansible_collections.bramble.pi.plugins.filter.kubernetes import cri_socket, kubernetes_runtime
from ansible_collections.bramble.pi.plugins.plugin_utils._preflight.inventory import read_options
from ansible_collections.bramble.pi.plugins.plugin_utils._preflight.names import REMOVED

ROOT = Path(__file__).resolve().parents[4]
FIXTURES = ROOT / "tests/unit/fixtures/preflight"


def test_filters_over_the_table_of_versions() -> None:
    assert kubernetes_runtime("1.23.4") == "dockershim"
    assert cri_socket("1.36") == "unix:///run/containerd/containerd.sock"
    assert cri_socket("1.36", "cri_dockerd") == "unix:///var/run/cri-dockerd.sock"
    for refuse in (kubernetes_runtime, cri_socket):
        with pytest.raises(AnsibleFilterError, match="put it in quotes"):
            refuse(1.3)


def test_the_runtime_at_a_socket_that_is_set() -> None:
    assert kubernetes_runtime("1.36", "auto", "/run/cri-dockerd.sock") == "cri_dockerd"
    assert kubernetes_runtime("1.36", "cri_dockerd", "unix:///run/containerd/containerd.sock") == "containerd"
    with pytest.raises(AnsibleFilterError, match=r"crio.sock'; expected that of one of .*set contr"):
        kubernetes_runtime("1.36", "auto", "unix:///run/crio.sock")


def test_nth_address() -> None:
    assert nth_address("10.96.0.0/12", 10) == "10.96.0.10"
    with pytest.raises(AnsibleFilterError, match="is not a network"):
        nth_address("rack", 1)


@pytest.mark.parametrize("playbook", ["preflight", "check_inventory"])
def test_the_controller_loads_the_filters_once(playbook: str, tmp_path: Path) -> None:
    """And not each of its processes anew, which took half of the time of a converge that changes nothing."""
    (tmp_path / "loaded.py").write_text(
        """
import sys
from ansible.plugins.callback import CallbackBase

class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_NAME = "loaded"

    def v2_playbook_on_play_start(self, play):
        names = [name for name in sys.modules if "bramble.pi.plugins.filter." in name]
        self._display.display(f"loaded are {len(names)} files of filters")
"""
    )
    files = len([path for path in (ROOT / "plugins/filter").glob("*.py") if path.stem != "__init__"])
    done = preflight(ROOT / "inventories/router", playbook=playbook, ANSIBLE_CALLBACK_PLUGINS=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"loaded are {files} files of filters" in done.stdout


def preflight(
    inventory: Path, *arguments: str, playbook: str = "preflight", **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the playbook as a user does; nothing listens at the hosts' addresses, and nothing has to."""
    return subprocess.run(
        ["ansible-playbook", "-i", str(inventory), f"playbooks/{playbook}.yml", *arguments],
        cwd=ROOT,
        env={
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "ANSIBLE_NOCOLOR": "true",
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("name", ["router", "nat", "netboot"])
def test_example_inventories_are_good(name: str) -> None:
    run = preflight(ROOT / "inventories" / name)
    assert run.returncode == 0, run.stdout
    assert "WARNING" not in run.stderr


@pytest.mark.parametrize("arguments", [[], ["--limit", "pi-3"]], ids=["all", "one worker"])
def test_a_bad_inventory_is_refused_with_everything_that_is_wrong(arguments: list[str]) -> None:
    run = preflight(FIXTURES / "bad", *arguments)
    assert run.returncode == 2, run.stdout
    for line in (FIXTURES / "bad.txt").read_text(encoding="utf-8").splitlines():
        assert f"\n{line}" in run.stdout
    assert "pi-1, pi-2, pi-3, pi-4 is in none" not in run.stderr


def test_a_misspelt_group_is_found_though_no_host_is_in_the_right_one(tmp_path: Path) -> None:
    (tmp_path / "hosts.yml").write_text(
        yaml.safe_dump({"all": {"children": {"controlplane": {"hosts": {"pi-1": {}}}}}}), encoding="utf-8"
    )
    run = preflight(tmp_path)
    assert run.returncode == 2, run.stdout
    assert "group 'control_plane' is missing (is it 'controlplane', misspelt?)" in run.stdout


def test_values_that_only_facts_can_tell_are_left_for_later(tmp_path: Path) -> None:
    inventory: dict[str, Any] = {
        "all": {
            "vars": {
                "control_plane_advertise_address": "{{ ansible_facts['default_ipv4']['address'] }}",
                "docker_daemon_json": {"bip": "{{ ansible_docker0.ipv4.address }}"},
                # A default of a role.
                "control_plane_service_cidr": "{{ control_plane_pod_cidr }}",
                # What is for cards alone may need a vault that only the playbook flash is given.
                "nat_headnode_wifi_psk": "{{ vault_wifi_psk }}",
                "rack_services_mac": "{{ omit }}",
                # Evaluating this one would fail: what is not checked is left alone.
                "my_secret": "{{ lookup('ansible.builtin.file', '/does/not/exist') }}",
            },
            "children": {
                "control_plane": {"hosts": {"pi-1": {"ansible_host": "192.0.2.1"}}},
                "workers": {"hosts": {"pi-2": {"ansible_host": "192.0.2.2"}}},
            },
        }
    }
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(inventory), encoding="utf-8")
    run = preflight(tmp_path)
    assert run.returncode == 0, run.stdout + run.stderr


#: One of each kind that YAML has, as it stands in a file.
KINDS = (
    "null",
    "true",
    "1",
    "1.5",
    "text",
    '""',
    "[]",
    "[1]",
    "[null]",
    "{}",
    "{a: 1}",
    "2026-01-02",
    ".inf",
)


def test_options_of_any_type_end_in_findings(tmp_path: Path) -> None:
    """Ansible has its own types for what it reads from a file; tests of the checks go through all values."""
    names = [
        name
        for role, options in read_options().items()
        for name in options
        # The arguments of the role preflight itself are validated by Ansible.
        if role not in ("virtual_rack", "preflight")
    ]
    values = [f"{name}: {KINDS[number % len(KINDS)]}" for number, name in enumerate(names)]
    others = [f"{name}: {KINDS[(number + 7) % len(KINDS)]}" for number, name in enumerate(names)]
    (tmp_path / "hosts.yml").write_text(
        "all:\n  children:\n"
        "    control_plane: {hosts: {pi-1: {ansible_host: 192.0.2.1}}}\n"
        "    workers: {hosts: {pi-2: {ansible_host: [192.0.2.2]}, pi-3: {5: a number for a name}}}\n"
        "    nat_headnode: {hosts: {pi-1: }}\n"
        "    netboot: {hosts: {pi-2: }}\n"
        "    netboot_server: {hosts: {pi-1: }}\n"
        "    node_network: {hosts: {pi-3: }}\n",
        encoding="utf-8",
    )
    for folder, name, lines in (("group_vars", "all.yml", values), ("host_vars", "pi-2.yml", others)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    run = preflight(tmp_path)
    assert run.returncode == 2, run.stdout
    assert re.search(r"\d+ problem\(s\) in the inventory", run.stdout), run.stdout
    assert "\n- pi-2: ansible_host is ['192.0.2.2']; expected a string: set ansible_host in" in run.stdout


#: Values that YAML made something else of than was written, and what preflight says of them.
CONVERTED = {
    "nat_headnode_wifi_psk: 01234567": "nat_headnode_wifi_psk is a secret that is not shown here; expected",
    "nat_headnode_wifi_ssid: 2024": "nat_headnode_wifi_ssid is 2024; expected a string in quotes: set nat_h",
    "nat_headnode_wifi_country: NO": "nat_headnode_wifi_country is false; expected a string in quotes",
    "flash_user: 1000": "flash_user is 1000; expected a string in quotes",
    "flash_timezone: no": "flash_timezone is false; expected a string in quotes",
    "node_network_resolvers: [1.1]": "entry 1 of node_network_resolvers is 1.1; expected a string in quotes",
    "os_prep_kernel_cmdline: [quiet, no]": "entry 2 of os_prep_kernel_cmdline is false; expected a string in",
    "node_network_search: lan": "node_network_search is 'lan'; expected a list of strings: set node_n",
    "flash_authorized_keys: ssh-ed25519 AAAA": "flash_authorized_keys is 'ssh-ed25519 AAAA'; expected a li",
    "flash_password_hash: 12345": "flash_password_hash is a secret that is not shown here; expected a stri",
    "node_network_gateway: 192.168": "node_network_gateway is 192.168; expected a string in quotes",
    "rack_services_mac: 12:34:56:10:20:30": "rack_services_mac is 9783973230; expected a string in quotes",
    "os_prep_hostname: 2026-01-02": "os_prep_hostname is 2026-01-02; expected a string in quotes",
    "kube_packages_repository:": "kube_packages_repository is null; expected a string: set kube_packages_r",
    "control_plane_pod_cidr: ~": "control_plane_pod_cidr is null; expected a string",
    "kube_packages_version:": "kube_packages_version is null; expected a value",
    'docker_sandbox_image: "{{ mirror }}/pause:3.10"': "docker_sandbox_image has the variable mirror",
    'docker_daemon_json: {bip: "{{ bridge.net }}"}': "docker_daemon_json has the variable bridge in it",
    "docker_packages: docker.io": "docker_packages is 'docker.io'; expected a list of strings",
}


HOST_1, HOST_2 = {"ansible_host": "192.0.2.1"}, {"ansible_host": "192.0.2.2"}


def test_values_that_yaml_has_made_something_else_are_refused(tmp_path: Path) -> None:
    nodes = {"control_plane": {"hosts": {"pi-1": HOST_1}}, "workers": {"hosts": {"pi-2": HOST_2}}}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": nodes}}), encoding="utf-8")
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars/all.yml").write_text("\n".join(CONVERTED) + "\n", encoding="utf-8")
    run = preflight(tmp_path)
    assert run.returncode == 2, run.stdout
    assert [text for text in CONVERTED.values() if f"\n- all nodes: {text}" not in run.stdout] == []
    assert f"{len(CONVERTED)} problem(s)" in run.stdout
    assert "01234567" not in run.stdout


def test_the_wifi_that_a_running_head_joins_is_more_than_a_card_s(tmp_path: Path) -> None:
    variables = {"nat_headnode_uplink": "wifi", "nat_headnode_wifi_psk": "{{ vault_wifi_psk }}"}
    nodes = {"control_plane": {"hosts": {"pi-1": HOST_1 | variables}}, "workers": {"hosts": {"pi-2": HOST_2}}}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": nodes}}), encoding="utf-8")
    run = preflight(tmp_path)
    assert run.returncode == 2, run.stdout
    assert "\n- pi-1: nat_headnode_wifi_psk has the variable vault_wifi_psk in it" in run.stdout


@pytest.mark.parametrize("playbook", ["preflight", "check_inventory"])
def test_removed_variables_end_every_playbook(tmp_path: Path, playbook: str) -> None:
    """The second is what playbooks begin with that do without preflight: flash would ignore an address."""
    variables = dict.fromkeys(REMOVED, "{{ vault_that_is_not_there }}")
    nodes = {"control_plane": {"hosts": {"pi-1": HOST_1 | variables}}, "workers": {"hosts": {"pi-2": HOST_2}}}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": nodes}}), encoding="utf-8")
    run = preflight(tmp_path, playbook=playbook)
    assert run.returncode == 2, run.stdout
    for name, stays in REMOVED.items():
        assert f"\n- pi-1: {name} is set, which no role reads any more; expected {stays}" in run.stdout
    assert f"{len(REMOVED)} problem(s)" in run.stdout


def test_a_missing_library_is_one_clear_line(tmp_path: Path) -> None:
    # The filter is asked in a Python of its own that does not find netaddr.
    code = (
        "import importlib.util, json\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name: None if name == 'netaddr' else find(name)\n"
        "from ansible_collections.bramble.pi.plugins.filter.report import preflight_problems\n"
        "print(json.dumps(preflight_problems({}, {})))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT / ".collections")},
        capture_output=True,
        text=True,
        check=True,
    )
    (line,) = json.loads(run.stdout)
    assert line.startswith("netaddr not found on the controller: run pip install -r requirements.txt")
