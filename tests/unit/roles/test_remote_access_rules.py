# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is let in by the rules of the role remote_access, tried on real packets in a network of its own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jinja2
import pytest
from ansible_collections.bramble.pi.plugins.plugin_utils._remote_access.ways import Ways

TEMPLATE = Path(__file__).parents[3] / "roles" / "remote_access" / "templates" / "rules.nft.j2"
DIRECT = Ways("cp", "cp", "192.168.1.2", forwards=False, proxies=False, restricts=True)
HEAD = Ways("cp", "head", "10.0.0.11", forwards=True, proxies=False, restricts=True)
#: The door has 192.0.2.1 and fd00:2::1; others are at .2 and ::2, and another network beside it.
TRY = """
set -e
ip link set lo up
unshare --net sleep 60 & other=$!
sleep 0.2
ip link add wlan0 type veth peer name there
ip link set there netns "$other"
ip address add 192.0.2.1/24 dev wlan0
ip address add fd00:2::1/64 dev wlan0 nodad
ip link set wlan0 up
nsenter -t "$other" -n sh -c '
ip address add 192.0.2.2/24 dev there
ip address add fd00:2::2/64 dev there nodad
ip link set there up'
nft --file "$1"
python3 -c '
import socket
listener = socket.create_server(("::", 6443), family=socket.AF_INET6, dualstack_ipv6=True)
listener.listen(8)
import time
time.sleep(50)' & server=$!
sleep 1
for address in 192.0.2.1 fd00:2::1; do
  nsenter -t "$other" -n python3 -c '
import socket, sys
try:
    socket.create_connection((sys.argv[1], 6443), timeout=3).close()
    print("in")
except OSError as error:
    print("out")' "$address"
done
kill "$server" "$other"
"""


def rules(ways: Ways, networks: list[str]) -> str:
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
    environment.tests["search"] = lambda text, pattern: re.search(pattern, text) is not None
    variables: dict[str, Any] = {
        "ansible_managed": "test",
        "nat_headnode_outer_interface": "wlan0",
        "__remote_access_ways": ways,
        "remote_access_networks": networks,
        "remote_access_port": 6443,
        "remote_access_proxy_port": 8080,
        "remote_access_proxy_networks": [],
    }
    return environment.from_string(TEMPLATE.read_text()).render(variables)


pytestmark = pytest.mark.skipif(
    os.getuid() != 0 or shutil.which("nft") is None or shutil.which("nsenter") is None,
    reason="needs root, nft and nsenter",
)


@pytest.mark.parametrize(
    ("networks", "let_in"),
    [
        (["192.0.2.0/24"], ["in", "out"]),
        (["198.51.100.0/24"], ["out", "out"]),
        (["192.0.2.0/24", "fd00:2::/64"], ["in", "in"]),
        (["fd00:2::/64"], ["out", "in"]),
        (["198.51.100.0/24", "fd00:9::/64"], ["out", "out"]),
    ],
)
def test_who_is_let_in(tmp_path: Path, networks: list[str], let_in: list[str]) -> None:
    path = tmp_path / "rules.nft"
    path.write_text(rules(DIRECT, networks))
    done = subprocess.run(
        ["unshare", "--net", "sh", "-c", TRY, "sh", str(path)], capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == let_in, done.stderr


@pytest.mark.parametrize(
    ("networks", "forwarded"),
    [
        ([], "fib daddr type local tcp dport 6443 dnat"),
        (["192.0.2.0/24", "fd00:2::/64"], "ip saddr { 192.0.2.0/24 } tcp dport 6443 dnat"),
        (["fd00:2::/64"], None),
    ],
)
def test_what_the_head_forwards(tmp_path: Path, networks: list[str], forwarded: str | None) -> None:
    path = tmp_path / "rules.nft"
    text = rules(HEAD, networks)
    path.write_text(text)
    subprocess.run(["unshare", "--net", "nft", "--check", "--file", str(path)], check=True)
    assert (forwarded in text) if forwarded else ("dnat" not in text)
