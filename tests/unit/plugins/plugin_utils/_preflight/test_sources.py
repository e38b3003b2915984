# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Inventories that Ansible does not read, or not all of, by what their files hold."""

from __future__ import annotations

import configparser
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ansible import constants
from ansible_collections.bramble.pi.plugins.plugin_utils._preflight import sources

ROOT = Path(__file__).resolve().parents[5]
GOOD = (
    "all:\n  vars: {wifi: !vault x}\n  children:\n"
    "    control_plane: {hosts: {pi-1: {ansible_host: 192.0.2.1}}}\n"
    "    workers: {hosts: {pi-2: {ansible_host: 192.0.2.2}}}\n"
)
INI = "[control_plane]\npi-1 ansible_host=192.0.2.1\n[workers]\npi-2\n"


def group(text: str) -> str:
    return f"all:\n  children:\n    control_plane: {{hosts: {{pi-1: }}}}\n    workers: {text}\n"


#: What makes Ansible lose hosts, and what is said of it.
BROKEN = {
    "number": (
        group("{hosts: {5: }}"),
        "a host's name in group workers is a number, 5; expected a text: put it",
    ),
    "boolean": (group("{hosts: {no: }}"), "a host's name in group workers is a boolean, false; expected"),
    "null": (group("{hosts: {~: }}"), "a host's name in group workers is null; expected a text: put it in"),
    "group's name": (group("\n    7: {hosts: {pi-3: }}"), "a group's name is a number, 7; expected a text"),
    "tab": (
        "all:\n  children:\n\tworkers:\n",
        "line 3, column 1: found character '\\t' that cannot start any",
    ),
    "list of hosts": (
        group("{hosts: [pi-2]}"),
        "hosts of group workers is a list; expected a mapping of hosts, e",
    ),
    "list of groups": (
        "all: {children: [workers]}",
        "children of group all is a list; expected a mapping of",
    ),
    "group is a list": (
        group("[pi-2]"),
        "group workers is a list; expected a mapping with hosts, children or",
    ),
    "group is a text": (
        group("pi-2"),
        "group workers is a text; expected a mapping with hosts, children or vars",
    ),
    "vars": (group("{vars: a=1}"), "vars of group workers is a text; expected a mapping of variables"),
    "misspelt section": (
        group("{host: {pi-2: }}"),
        "group workers has the key 'host'; expected one of hosts, c",
    ),
    "host is a text": (
        group("{hosts: {pi-2: s3cret}}"),
        "host pi-2 in group workers is a text; expected a map",
    ),
    "cut off": (
        group("{hosts: {pi-2: "),
        "line 5, column 1: expected the node content, but found '<stream end>'",
    ),
    "duplicate": (
        group("{hosts: {pi-2: }}\n    workers: {hosts: {pi-3: }}"),
        "line 5: workers is a duplicate",
    ),
    "groups as lists": (
        "workers: [pi-2]",
        "group workers is a list; expected a mapping with hosts, children or",
    ),
    "list": ("- pi-1\n- pi-2\n", "it is a list; expected a mapping of groups, such as 'all:'"),
    "control character": ("all: \x07\n", "special characters are not allowed"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_lost_is_named(name: str, tmp_path: Path) -> None:
    text, message = BROKEN[name]
    path = tmp_path / "hosts.yml"
    path.write_text(text, encoding="utf-8")
    for source in (tmp_path, path):
        (problem,) = sources.problems([str(source)], groups=[], optional=False)
        assert problem.startswith(f"the inventory {path}: {message}") or message in problem
        assert "s3cret" not in problem


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("hosts.yml", GOOD),
        ("hosts.json", '{"all": {\n\t"hosts": {"pi-1": null}}}'),
        ("hosts", GOOD),
        ("hosts", INI),
        ("hosts.ini", INI),
        ("hosts.yml", INI),
        ("hosts.yml", "plugin: some.cloud.hosts\nregions: [a]\n"),
        ("hosts.yml", "$ANSIBLE_VAULT;1.1;AES256\n6638\n"),
        ("hosts.yml", "all: {hosts: pi-1, children: workers}"),
        ("hosts.yml", "x: &x {hosts: {pi-1: }}\nall:\n  children: {workers: {<<: *x}}\n"),
        ("hosts.yml", "# soon\n"),
        ("hosts.toml", '[workers.hosts]\npi-2 = {ansible_host = "192.0.2.2"}\n'),
    ],
)
def test_what_ansible_reads_is_no_problem(name: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    assert sources.problems([str(tmp_path), str(path), "pi-1,pi-2"], groups=[], optional=False) == []


KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk=\n-----END OPENSSH PRIVATE KEY-----\n"
#: What people keep beside hosts.yml; our ansible.cfg knows the names.
BESIDE = {
    "bootptab": (ROOT / "tests/unit/fixtures/bootptab/guide.txt").read_text(encoding="utf-8"),
    "README": "The rack.\n",
    "README.md": "# The rack\n\n[workers]: x\n",
    "id_ed25519": KEY,
    "id_ed25519.pub": "ssh-ed25519 AAAAC3Nza me@laptop\n",
    "rack_rsa": KEY,
    ".vault_pass": "word\n",
    "vault-password": "one more word\n",
    "known_hosts": "pi-1 ssh-ed25519 AAAAC3Nza\n",
    "kubeconfig": "apiVersion: v1\nclusters: []\n",
    "secrets.yml": "wifi_key: of the rack\n",
    "files/anything": "one more word\n",
}
#: Names that no ansible.cfg can know: Ansible tries to read them, in vain.
UNKNOWN_NAMES = {"deploy": KEY, "picture": "\0\udcff", "notes on Sunday": "All is well.\n"}


def write_good_folder(folder: Path, others: dict[str, str]) -> None:
    for name, text in {"hosts.yml": GOOD.replace("!vault x", "x"), **others}.items():
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).write_text(text, encoding="utf-8", errors="surrogateescape")


def test_other_files_beside_it_are_no_problem(tmp_path: Path) -> None:
    write_good_folder(tmp_path, {**BESIDE, **UNKNOWN_NAMES})
    assert sources.problems([str(tmp_path)], groups=[], optional=False) == []


def test_a_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    (problem,) = sources.problems([str(tmp_path / "my-rak")], groups=[], optional=True)
    assert problem.startswith(
        f"the inventory {tmp_path}/my-rak does not exist; expected a folder or file: run "
    )
    (problem,) = sources.problems([str(tmp_path)], groups=[], optional=True)
    assert problem.startswith(f"the inventory {tmp_path} is a folder without files; expected hosts.yml in it")
    path = tmp_path / "hosts.yml"
    path.symlink_to("nowhere")
    (problem,) = sources.problems([str(tmp_path)], groups=[], optional=True)
    assert "cannot be read (No such file or directory)" in problem


def test_a_group_that_is_needed_and_not_there_is_named() -> None:
    assert sources.needed_problems(["/a"], {"workers": ["pi-2"]}, ["control_plane", "workers"]) == []
    assert sources.needed_problems(["/a"], {}, []) == []
    (problem,) = sources.needed_problems(["/a"], {"control_plane": []}, ["control_plane"])
    assert problem.startswith(
        "the inventory /a has no host in the group control_plane; expected one at least: "
    )


def play(playbook: str, inventory: Path, *arguments: str, ours: bool = False) -> tuple[int, str]:
    """Run a playbook, with the ansible.cfg of the checkout or as after ansible-galaxy collection install."""
    without = inventory.parent / "without.cfg"
    without.touch()
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "ANSIBLE_NOCOLOR": "true",
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg") if ours else str(without),
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections"),
    }
    run = subprocess.run(
        ["ansible-playbook", "-i", str(inventory), f"playbooks/{playbook}.yml", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return run.returncode, run.stdout + run.stderr


def test_site_ends_at_a_host_that_is_a_number_before_another_is_touched(tmp_path: Path) -> None:
    (tmp_path / "hosts.yml").write_text(BROKEN["number"][0], encoding="utf-8")
    code, said = play("site", tmp_path)
    assert code == 2, said
    assert f"{tmp_path}/hosts.yml: a host's name in group workers is a number, 5" in said
    assert "os_prep" not in said


@pytest.mark.parametrize(("playbook", "broken"), [("flash", "list of hosts"), ("doctor", "group is a list")])
def test_playbooks_end_at_what_is_not_read(playbook: str, broken: str, tmp_path: Path) -> None:
    (tmp_path / "hosts.yml").write_text(BROKEN[broken][0], encoding="utf-8")
    code, said = play(playbook, tmp_path)
    assert code == 2, said
    assert f"{tmp_path}/hosts.yml: " in said


@pytest.mark.parametrize("name", ["tab", "cut off"])
def test_our_ansible_cfg_ends_at_a_source_that_is_not_read(name: str, tmp_path: Path) -> None:
    (tmp_path / "hosts.yml").write_text(BROKEN[name][0], encoding="utf-8")
    code, said = play("flash", tmp_path, ours=True)
    assert code == 1, said
    assert f"Completely failed to parse inventory source {tmp_path}/hosts.yml" in said


@pytest.mark.parametrize(("ours", "expected"), [(True, 1), (False, 2)])
def test_a_wrong_path_is_named(ours: bool, expected: int, tmp_path: Path) -> None:
    code, said = play("report", tmp_path / "my-rak", ours=ours)
    assert code == expected, said
    assert f"{tmp_path}/my-rak" in said.replace("Unable to parse", "").split("ERROR", 1)[-1]


def test_a_good_folder_with_other_files_goes_on_working(tmp_path: Path) -> None:
    write_good_folder(tmp_path, BESIDE)
    code, said = play("preflight", tmp_path, ours=True)
    assert code == 0, said
    warnings = re.findall(r"WARNING\]: (.*)", said)
    assert warnings == ["Skipping 'wifi_key' as this is not a valid group definition"]
    write_good_folder(tmp_path, {**BESIDE, **UNKNOWN_NAMES})
    code, said = play("preflight", tmp_path)
    assert code == 0, said


def test_our_ansible_cfg_ignores_what_ansible_ignores_and_no_inventory() -> None:
    settings = configparser.ConfigParser(interpolation=None)
    settings.read(ROOT / "ansible.cfg")
    extensions = re.split(r"[,\s]+", settings["inventory"]["ignore_extensions"])
    assert {*constants.REJECT_EXTS, ".orig", ".cfg", ".retry"} <= set(extensions)
    patterns = re.split(r",\s*", settings["inventory"]["ignore_patterns"])
    inventories = [
        "hosts",
        "hosts.yml",
        "inventory",
        "rack.json",
        "my-rack.ini",
        "keys.yml",
        "production",
        "a.toml",
    ]
    ignored = re.compile("|".join([*patterns, *(f"{re.escape(name)}$" for name in extensions)]))
    assert [name for name in inventories if ignored.search(name)] == []


#: What the others begin with, and the one that writes the first inventory.
WITHOUT = {"check_inventory", "preflight", "start"}
PLAYBOOKS = {
    path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in ROOT.glob("playbooks/*.yml")
}
#: What is done on a cluster that there is; preflight asks for its control plane itself.
CLUSTER = {"verify", "failover", "live_view", "reset"}


@pytest.mark.parametrize("name", sorted(PLAYBOOKS.keys() - WITHOUT))
def test_every_playbook_begins_with_a_check_that_the_inventory_was_read(name: str) -> None:
    first = PLAYBOOKS[name][0]
    imported = first["ansible.builtin.import_playbook"]
    while imported not in ("preflight.yml", "check_inventory.yml"):
        imported = PLAYBOOKS[imported.removesuffix(".yml")][0]["ansible.builtin.import_playbook"]
    if name in CLUSTER:
        assert first["vars"] == {"preflight_groups": ["control_plane"]}


def test_a_playbook_for_a_cluster_ends_without_a_control_plane(tmp_path: Path) -> None:
    (tmp_path / "hosts.yml").write_text("workers: {hosts: {pi-2: }}\n", encoding="utf-8")
    code, said = play("failover", tmp_path, "--tags", "failover", ours=True)
    assert code == 2, said
    assert f"the inventory {tmp_path} has no host in the group control_plane" in said
