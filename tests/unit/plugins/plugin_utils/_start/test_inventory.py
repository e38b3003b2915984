# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From answers to files: each inventory that is written is one that preflight accepts."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.bramble.pi.plugins.action.start_inventory import example_files
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._rack.scan import Found
from ansible_collections.bramble.pi.plugins.plugin_utils._preflight.check import validate
from ansible_collections.bramble.pi.plugins.plugin_utils._preflight.inventory import read_options
from ansible_collections.bramble.pi.plugins.plugin_utils._start import inventory, questions
from ansible_collections.bramble.pi.plugins.plugin_utils._start.found import Routes
from ansible_collections.bramble.pi.plugins.plugin_utils._start.questions import Answers, Known, Question
from hypothesis import example, given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[5]
HOME = IPv4Network("192.168.1.0/24")
KNOWN = Known(
    Routes((HOME,), HOME, IPv4Address("192.168.1.1"), (IPv4Address("192.168.1.102"),)),
    "Europe/Berlin",
    "DE",
    "/images/raspios.img.xz",
)
ALONE = Known(Routes(), "", "", "/images/raspios.img.xz")
BOARDS = [
    Found("dc:a6:32:01:36:c2", "192.168.1.60", "node7", "", "Raspberry Pi 4", ["neighbour"]),
    Found("dc:a6:32:01:36:d5", "192.168.1.61", "raspberrypi", "", "Raspberry Pi 4", ["neighbour"]),
]
ON_SWITCH = [
    Found("dc:a6:32:01:36:c2", "", "", "6a1b9c04", "", []),
    Found("dc:a6:32:01:36:d5", "", "", "6a1b9c1f", "", []),
]
KEY = "correct horse battery"


class Interview:
    """Answers questions, and notes which the user would have been asked."""

    def __init__(self, **given: str) -> None:
        self.given = given
        self.asked: list[Question] = []

    def __call__(self, question: Question) -> Any:
        if question.asked:
            self.asked.append(question)
        return question.read(self.given.get(question.name, question.default))

    def answers(self, known: Known = KNOWN, boards: list[Found] | None = None) -> Answers:
        place = questions.ask_place(self, known)
        return questions.ask_rest(self, place, known, boards or [])


def files_of(answers: Answers) -> dict[str, str]:
    return inventory.files(answers, name="my-rack", version="1.36", examples=example_files(answers.shape))


def load(text: str) -> Any:
    class Loader(yaml.SafeLoader):
        pass

    Loader.add_constructor("!unsafe", lambda loader, node: str(loader.construct_scalar(node)))  # type: ignore[arg-type]
    return yaml.load(text, Loader)


def plain(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what Ansible would have to evaluate."""
    return {name: value for name, value in variables.items() if "{{ (hostvars" not in str(value)}


def checked(files: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Ask preflight's checks, without Ansible."""
    tree = load(files["hosts.yml"])["all"]
    everywhere = {**tree["vars"], **load(files["group_vars/all.yml"])}
    groups: dict[str, list[str]] = {}
    hosts: dict[str, dict[str, Any]] = {}
    for name, group in tree["children"].items():
        groups[name] = list(group["hosts"] or {})
        variables = {**group.get("vars", {}), **load(files.get(f"group_vars/{name}.yml", "{}"))}
        for host, own in (group["hosts"] or {}).items():
            hosts.setdefault(host, dict(everywhere)).update({**plain(variables), **(own or {})})
    for variables in hosts.values():
        if "nat_headnode_wifi_psk" in variables:
            variables["nat_headnode_wifi_psk"] = load(files[inventory.VAULT])["vault_wifi_psk"]
    network = everywhere["preflight_node_network"]
    return validate(groups=groups, hosts=hosts, specs=SPECS, node_network=network, known_variables=[])


SPECS = read_options()
#: Every combination of what is answered; each is written, and read by Ansible.
RACKS: dict[str, tuple[dict[str, str], Known, list[Found]]] = {
    **{
        f"router, {nodes}, {len(boards)} found": ({"nodes": nodes}, KNOWN, boards)
        for nodes, boards in itertools.product(("1", "2", "3"), ([], BOARDS))
    },
    **{
        f"{shape}, {nodes}, {len(boards)} found, {wifi or 'no'} Wi-Fi": (
            {
                "shape": shape,
                "nodes": nodes,
                "wifi_ssid": "home" if wifi else "none",
                "wifi_psk": KEY if wifi == "closed" else "none",
            },
            KNOWN,
            boards,
        )
        for shape, nodes, boards, wifi in itertools.product(
            ("nat", "netboot"), ("1", "3"), ([], [*ON_SWITCH, BOARDS[1]]), ("", "open", "closed")
        )
    },
    "router without a gateway": ({"network": "192.168.7.0/24"}, ALONE, []),
    "router in the pods' network": ({"network": "10.244.9.0/24", "gateway": "10.244.9.1"}, ALONE, []),
    "router in all of 10": ({"network": "10.0.0.0/8", "gateway": "10.0.0.1"}, ALONE, []),
    "router in a small network": ({"network": "192.168.1.0/29", "nodes": "4"}, KNOWN, []),
    "a head in the services' network": ({"shape": "nat", "address": "10.100.0.9"}, ALONE, []),
    "a Wi-Fi like a template": (
        {"shape": "nat", "wifi_ssid": '{{ "x" }}\\', "wifi_psk": "{% raw %}12'\"", "wifi_country": "DE"},
        ALONE,
        [],
    ),
}


def preflight(folder: Path) -> str:
    """Run the playbook on an inventory as a user does."""
    done = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", "-i", str(folder), "playbooks/preflight.yml"],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_NOCOLOR": "true"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.some(4)
@pytest.mark.parametrize("name", RACKS)
def test_preflight_accepts_what_is_written(name: str, tmp_path: Path) -> None:
    given, known, boards = RACKS[name]
    files = files_of(Interview(**given).answers(known, boards))
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    assert "WARNING" not in preflight(tmp_path)


@pytest.mark.parametrize("name", RACKS)
def test_the_checks_of_preflight_accept_what_is_written(name: str) -> None:
    given, known, boards = RACKS[name]
    assert checked(files_of(Interview(**given).answers(known, boards))) == ([], [])


@pytest.mark.parametrize("shape", ["router", "nat", "netboot"])
def test_what_is_written_has_the_form_of_the_example(shape: str) -> None:
    files = files_of(Interview(shape=shape).answers(boards=ON_SWITCH if shape != "router" else []))
    example = ROOT / "inventories" / shape
    tree, model = (load(text)["all"] for text in (files["hosts.yml"], (example / "hosts.yml").read_text()))
    # A new head has its address from us, which the example's has already.
    ours = {name: set(group["hosts"]) for name, group in tree["children"].items() if name != "node_network"}
    assert ours == {name: set(group["hosts"]) for name, group in model["children"].items()}
    assert set(tree["vars"]) - {"node_network_gateway", "node_network_resolvers"} == set(model["vars"]) - {
        "flash_image"
    }
    for path in example.glob("group_vars/*.yml"):
        assert files[f"group_vars/{path.name}"].startswith(path.read_text())


@pytest.mark.parametrize("shape", ["router", "nat", "netboot"])
@pytest.mark.parametrize("known", [KNOWN, ALONE], ids=["known", "nothing known"])
def test_at_most_eight_questions_each_with_a_default_and_a_reason(shape: str, known: Known) -> None:
    interview = Interview(shape=shape, wifi_ssid="home", wifi_psk=KEY, network=str(HOME), wifi_country="DE")
    interview.answers(known)
    assert len(interview.asked) <= 8
    for question in interview.asked:
        assert question.text.endswith("?")
        assert question.why.endswith(".")
        # Of a country nothing can be guessed, nor of a network where no route is known.
        assert question.default or question.name in ("wifi_country", "network")
    assert [question.name for question in interview.asked if question.secret] in ([], ["wifi_psk"])


@pytest.mark.parametrize(
    ("given", "asked"), [({}, False), ({"search": "none"}, True), ({"shape": "nat"}, False)]
)
def test_the_network_is_asked_for_where_none_is_searched(given: dict[str, str], asked: bool) -> None:
    # That of a container's controller is not the Pis'.
    interview = Interview(**given)
    interview.answers()
    assert ("network" in [question.name for question in interview.asked]) == asked


@pytest.mark.parametrize(
    ("given", "boards", "number"),
    [
        ({"shape": "nat"}, [], 1),
        ({"shape": "netboot"}, [], 1),
        ({"shape": "nat", "wifi_ssid": "home"}, [], 0),
        # It was reached.
        ({"shape": "nat"}, BOARDS, 0),
        ({}, [], 0),
    ],
)
def test_a_new_head_that_joins_no_wifi_is_warned_of(
    given: dict[str, str], boards: list[Found], number: int
) -> None:
    assert len(inventory.warnings(Interview(**given).answers(boards=boards))) == number


@pytest.mark.parametrize("name", ["on", "no", "null", "true"])
def test_names_that_yaml_takes_for_something_else_stay_names(name: str) -> None:
    tree = load(files_of(Interview(shape="nat", user=name, address=name).answers())["hosts.yml"])["all"]
    assert tree["vars"]["ansible_user"] == name
    assert tree["children"]["nat_headnode"]["hosts"]["pi-1"]["ansible_host"] == name


def test_boards_that_run_keep_their_addresses_and_names() -> None:
    answers = Interview(nodes="4").answers(boards=BOARDS)
    assert [(node.name, node.address, node.runs) for node in answers.nodes] == [
        ("node7", "192.168.1.60", True),
        ("pi-1", "192.168.1.61", True),
        ("pi-2", "192.168.1.101", False),
        # 102 is the controller's own.
        ("pi-3", "192.168.1.103", False),
    ]


def test_boards_on_a_router_without_an_address_get_one() -> None:
    given = [Found("dc:a6:32:01:36:c2", "", "node7", "", "", []), BOARDS[1]]
    answers = Interview().answers(boards=given)
    assert [(node.name, node.address, node.runs) for node in answers.nodes] == [
        ("node7", "192.168.1.101", False),
        ("pi-1", "192.168.1.61", True),
        ("pi-2", "192.168.1.103", False),
    ]


def test_boards_of_the_user_s_own_are_not_left_out() -> None:
    outside = Found("dc:a6:32:01:36:c2", "10.9.8.7", "", "", "", [])
    with pytest.raises(BrambleError, match=r"start_boards has 10\.9\.8\.7, outside of 192\.168\.1\.0/24"):
        Interview().answers(boards=[outside])
    # Neighbours of another network are nobody's word.
    assert len(Interview(nodes="2").answers(boards=[outside._replace(seen=["neighbour"])]).nodes) == 2


@pytest.mark.parametrize(
    ("given", "commands"),
    [
        ({}, ["flash --ask-become-pass", "site", "verify"]),
        ({"nodes": "2", "boards": "yes"}, ["site", "verify"]),
        (
            {"nodes": "4", "boards": "yes"},
            ["flash --limit pi-2,pi-3 --ask-become-pass", "site", "verify"],
        ),
        (
            {"shape": "netboot"},
            [
                "flash --limit pi-1 --ask-become-pass",
                "network --limit pi-1",
                "scan -e scan_from=pi-1 -e scan_listen=60",
                "$EDITOR 'my rack/hosts.yml'",
                "netboot",
                "site",
                "verify",
            ],
        ),
    ],
    ids=["cards", "all run", "some run", "netboot"],
)
def test_next_commands(given: dict[str, str], commands: list[str]) -> None:
    boards = BOARDS if given.pop("boards", "") else []
    answers = Interview(**given).answers(boards=boards)
    printed = inventory.next_commands(answers, name="my rack", has_key=True)
    assert [line.removeprefix("ansible-playbook -i 'my rack' bramble.pi.") for line in printed] == commands


def test_a_wifi_key_is_in_the_vault_file_alone_and_to_be_encrypted_first() -> None:
    answers = Interview(shape="nat", wifi_ssid="home", wifi_psk=KEY).answers()
    files = files_of(answers)
    assert [path for path, text in files.items() if KEY in text] == [inventory.VAULT]
    first, *others = inventory.next_commands(answers, name="my-rack", has_key=True)
    assert first == f"ansible-vault encrypt my-rack/{inventory.VAULT}"
    assert all(command.endswith(" --ask-vault-pass") for command in others)


def test_without_a_key_for_ssh_one_is_made_first() -> None:
    commands = inventory.next_commands(Interview().answers(), name="my-rack", has_key=False)
    assert commands[0] == "ssh-keygen -t ed25519"


REFUSED = {
    "shape": ("star", "the rack's connection is 'star'; expected one of router, nat, netboot"),
    "search": ("10.0.0.0/8", "expected 1024 at the most"),
    "nodes": ("0", "the number of Pis is '0'; expected 1 to 200"),
    "address": ("192.168.2.1", "expected one that a node can have in 192.168.1.0/24"),
    "user": ("root", "the user is 'root'; expected"),
    "network": ("192.168.0.0/31", "which has a prefix that is not between /8 and /30; set one such as"),
    "network ": ("192.168.1.7/24", "which has host bits set: the network is '192.168.1.0/24'"),
    "gateway": ("192.168.2.1", "expected the router's address in 192.168.1.0/24"),
    "timezone": ("Berlin", "the time zone is 'Berlin'; expected one such as 'Europe/Berlin'"),
    "image": ("", "the OS image is ''; expected a URL or the path of a file"),
    "folder": ("", "the folder is ''; expected a path such as 'my-rack'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_answers_that_are_refused(name: str) -> None:
    text, message = REFUSED[name]
    with pytest.raises(BrambleError) as caught:
        Interview(**{name.strip(): text}).answers()
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"address": "10.0.0.7"}, "expected its name or address on the other side, outside of 10.0.0.0/24"),
        ({"address": "192.168.1.1O1"}, "the head's address is '192.168.1.1O1', which"),
        ({"wifi_ssid": "x" * 33}, "expected 1 to 32 printable characters, or none"),
        ({"wifi_ssid": "home", "wifi_country": "Germany"}, "expected two capital letters, such as 'DE'"),
        ({"wifi_ssid": "home", "wifi_psk": "sec"}, "the Wi-Fi's key has 3 characters; expected 8 to 63"),
        ({"network": "10.0.0.0/30", "nodes": "3"}, "has 1 free addresses from 10.0.0.2 on; expected 2"),
    ],
)
def test_answers_that_are_refused_behind_a_head(given: dict[str, str], message: str) -> None:
    with pytest.raises(BrambleError) as caught:
        Interview(shape="nat", **given).answers()
    assert message in str(caught.value)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
ADDRESSES = st.ip_addresses(v=4).map(str)
NETWORKS = st.builds(
    lambda address, prefix: IPv4Network((int(address), prefix), strict=False),
    st.ip_addresses(v=4, network="10.0.0.0/8")
    | st.ip_addresses(v=4, network="192.168.0.0/16")
    | st.ip_addresses(v=4),
    st.integers(4, 31),
)


@settings(max_examples=int(0.4 * settings().max_examples))
# A router that is a Pi.
@example(
    shape="router",
    nodes="1",
    network=IPv4Network("10.0.0.0/21"),
    own=IPv4Network("10.0.0.0/7"),
    address=None,
    wifi_ssid="",
    wifi_psk="none",
    image="0",
    seen=[(IPv4Address("0.0.0.0"), "")],
)
@given(
    shape=st.sampled_from(["router", "nat", "netboot"]),
    nodes=st.integers(1, 30).map(str),
    network=NETWORKS,
    own=NETWORKS,
    address=st.none() | ADDRESSES,
    wifi_ssid=TEXTS,
    wifi_psk=st.just("none")
    | st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=8, max_size=63),
    image=TEXTS,
    seen=st.lists(st.tuples(st.ip_addresses(v=4), TEXTS), max_size=4, unique_by=lambda pair: pair[0]),
)
def test_whatever_is_answered_is_refused_or_accepted_by_preflight(
    *,
    shape: str,
    nodes: str,
    network: IPv4Network,
    own: IPv4Network,
    address: str | None,
    wifi_ssid: str,
    wifi_psk: str,
    image: str,
    seen: list[tuple[IPv4Address, str]],
) -> None:
    known = Known(Routes((own,), own, own[1], ()), "", "DE", "/images/raspios.img.xz")
    hosts = [*network.hosts()][:4] if network.prefixlen > 20 else []
    boards = [
        Found(
            f"dc:a6:32:00:00:{number:02x}",
            str(hosts[number] if number < len(hosts) else ip),
            name,
            "",
            "",
            [],
        )
        for number, (ip, name) in enumerate(seen)
    ]
    given = {"shape": shape, "nodes": nodes, "network": str(network), "image": image}
    given |= {"wifi_ssid": wifi_ssid, "wifi_psk": wifi_psk} | ({"address": address} if address else {})
    try:
        files = files_of(Interview(**given).answers(known, boards))
    except BrambleError:
        return
    assert checked(files) == ([], [])
    assert load(files["group_vars/all.yml"])["flash_image"] == image
