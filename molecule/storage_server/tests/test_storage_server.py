"""What a server shares is for the nodes alone, and still there when it is not shared any more."""

import json
import os
import re
import subprocess
import time
from pathlib import Path

testinfra_hosts = ["local://"]

INVENTORY = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "inventory"
SCENARIO = Path(__file__).resolve().parents[1]
NODES = ("server", "node")
SHARE = "/var/lib/containerd/cluster"
#: The node's address while it is none that the inventory knows.
FOREIGN = "10.89.126.99"
#: What purging Debian's packages leaves: their users, and copies of what ucf knew before.
LEFT_BY_DEBIAN = re.compile(r"^> (statd|_rpc|/var/lib/ucf/hashfile\.\d)$")
PATIENCE = 60


def on(node, script, check=True):
    """Run a script on a node."""
    command = ["podman", "exec", f"molecule-storage_server-{node}", "sh", "-c", script]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not check or result.returncode == 0, result.stdout + result.stderr
    return (result.stdout + ("" if check else result.stderr)).strip()


def address(node):
    return on(node, "hostname -I").split()[0]


def url(path):
    return f"nfs://{address('server')}{SHARE}/{path}?version=4"


def read(path):
    return on("node", f"nfs-cat '{url(path)}'", check=False)


def play(*arguments, fails=False):
    """Run the scenario's playbook, and return what it printed."""
    result = subprocess.run(
        ["ansible-playbook", "-i", str(INVENTORY), *arguments, str(SCENARIO / "converge.yml")],
        env={**os.environ, "ANSIBLE_FORCE_COLOR": "false"},  # molecule sets it
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode != 0) is fails, result.stdout + result.stderr
    return result.stdout


def changed(output):
    """Tell whether a run changed anything."""
    found = re.findall(r"changed=(\d+)", output)
    assert len(found) == len(NODES), output
    return any(int(number) for number in found)


def given(**variables):
    return "-e", json.dumps(variables)


def wait_for(what):
    """Wait until something is true of the rack."""
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline, what
        time.sleep(1)


def test_a_node_writes_and_reads():
    on("node", "echo of the node >/tmp/note")
    on("node", f"nfs-cp /tmp/note '{url('photos/note')}'")
    assert on("server", f"cat {SHARE}/photos/note") == "of the node"
    assert read("photos/note") == "of the node"
    assert "photos" in on("node", f"nfs-ls '{url('')}'")


def test_pods_of_any_user_can_write_into_a_volume():
    for volume in ("photos", "music"):
        assert on("server", f"stat -c '%a %U' {SHARE}/{volume}") == "1777 root"


def test_an_address_that_is_no_node_s_is_refused():
    own = on("node", "ip -4 -o address show dev eth0").split()[3]
    move = "ip address add {}/24 dev eth0; ip route replace 10.89.126.0/24 dev eth0 src {}"
    on("node", move.format(FOREIGN, FOREIGN))
    try:
        seen = on("node", f"ip route get {address('server')}")
        assert f"src {FOREIGN}" in seen, seen
        for path in ("photos/note", "photos", ""):
            assert "of the node" not in read(path)
            assert "photos" not in on("node", f"nfs-ls '{url(path)}'; true").split("nfs://")[0]
    finally:
        on("node", f"ip route replace 10.89.126.0/24 dev eth0 src {own.split('/')[0]}")
        on("node", f"ip address del {FOREIGN}/24 dev eth0")
    assert read("photos/note") == "of the node"


def test_other_folders_of_the_server_are_not_served():
    for path in ("/", "/etc", "/var/lib/containerd"):
        seen = on("node", f"nfs-ls 'nfs://{address('server')}{path}?version=4'", check=False)
        assert "hostname" not in seen
        assert "io.containerd" not in seen


def test_nothing_but_nfs_is_served():
    for node in NODES:
        sockets = on(node, "ss --listening --numeric --tcp --udp --no-header | awk '{print $5}'").split()
        assert not [each for each in sockets if each.endswith(":111")], sockets
    nfs = [each for each in on("server", "ss -Hltn | awk '{print $4}'").split() if each.endswith(":2049")]
    # At one address, written as one of IPv6.
    assert [each.replace("[::ffff:", "").replace("]", "") for each in nfs] == [f"{address('server')}:2049"]


def test_it_is_served_again_after_a_restart_of_the_server():
    on("server", "systemctl kill --signal=KILL nfs-ganesha")
    wait_for(lambda: read("photos/note") == "of the node")


def test_a_share_more_takes_nothing_from_the_others():
    numbers = "sed -n 's/.*Export_Id = //p' /etc/ganesha/ganesha.conf"
    before = set(on("server", numbers).split())
    shares = [
        {"name": "more", "folder": "/var/lib/containerd/a"},
        {"name": "ssd", "folder": SHARE},
    ]
    more = given(storage_server_shares=shares)
    assert changed(play(*more))
    assert before < set(on("server", numbers).split())
    assert read("photos/note") == "of the node"
    assert changed(play())
    assert set(on("server", numbers).split()) == before
    on("server", "rmdir /var/lib/containerd/a")


def test_what_cannot_be_shared_is_refused():
    for shares, text in (
        (
            [{"name": "ssd", "folder": "/srv/cluster"}],
            "/srv/cluster is on the root file system of its server",
        ),
        (
            [{"name": "ssd", "folder": "/mnt/ssd"}],
            "/mnt/ssd, which is on the file system of /; expected a disk",
        ),
        (
            [{"name": "hdd", "folder": SHARE}],
            "storage_volumes has photos in the share 'ssd'; expected one of",
        ),
    ):
        output = play(*given(storage_server_shares=shares), fails=True)
        assert text in " ".join(output.split()), output
    assert read("photos/note") == "of the node"
    assert not changed(play())


def test_it_goes_without_a_trace_and_what_was_written_stays():
    words = given(storage_server_state="absent", storage_volumes=[], client_state="absent")
    assert changed(play("--check", *words))
    assert read("photos/note") == "of the node"
    assert changed(play(*words))
    assert not changed(play("--check", *words))
    assert not changed(play(*words))
    assert on("server", f"cat {SHARE}/photos/note") == "of the node"
    assert "of the node" not in read("photos/note")
    on("server", f"rm -r {SHARE}")
    for node in NODES:
        script = SCENARIO.parent / "monitoring/files/inventory.sh"
        subprocess.run(
            ["podman", "exec", "-i", f"molecule-storage_server-{node}", "sh", "-s", "/root/after"],
            input=script.read_text(),
            text=True,
            check=True,
        )
        changes = on(node, "diff /root/before /root/after", check=False).splitlines()
        assert [line for line in changes if line[0] in "<>" and not LEFT_BY_DEBIAN.search(line)] == []
