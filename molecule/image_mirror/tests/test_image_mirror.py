"""What one node has pulled the others get from the mirror, and all of them go on without it."""

import json
import os
import re
import subprocess
import time
from pathlib import Path

testinfra_hosts = ["local://"]

INVENTORY = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "inventory"
SCENARIO = Path(__file__).resolve().parents[1]
PLAYBOOK = SCENARIO.parents[1] / "playbooks/image_mirror.yml"
NODES = ("head", "board")
UNITS = ("bramble-image-mirror@docker.io", "bramble-image-mirror@images.test")
#: What of an image is fetched, and not only whether it has changed.
CONTENT = re.compile(r'^(\S+) .*"GET /v2/(\S+)/(?:blobs|manifests)/sha256:')
PATIENCE = 60


def container(node):
    return f"molecule-image_mirror-{node}"


def on(node, script, check=True):
    """Run a script on a node."""
    command = ["podman", "exec", container(node), "sh", "-c", script]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not check or result.returncode == 0, result.stdout + result.stderr
    return (result.stdout + ("" if check else result.stderr)).strip()


def address(node):
    return on(node, "hostname -I").split()[0]


def fetched(image):
    """Return who fetched parts of an image from the registry outside."""
    log = on("board", "journalctl --unit docker-registry --output cat --no-pager")
    matches = [CONTENT.match(line) for line in log.splitlines()]
    return [match[1] for match in matches if match and match[2] == image]


def pull(node, image):
    """Pull an image as if the node had none of its parts; return what it said if it failed."""
    return on(
        node,
        f"ctr --namespace fresh images pull --hosts-dir /etc/containerd/certs.d {image} >/tmp/pull 2>&1"
        f" || tail -n 3 /tmp/pull; ctr --namespace fresh images rm --sync {image} >/dev/null",
        check=False,
    )


def wait_for(what, seconds=PATIENCE):
    """Wait until something is true of the rack."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, what
        time.sleep(1)


def play(*arguments):
    """Run the playbook, and return what it printed."""
    result = subprocess.run(
        ["ansible-playbook", "-i", str(INVENTORY), *arguments, str(PLAYBOOK)],
        env={**os.environ, "ANSIBLE_FORCE_COLOR": "false"},  # molecule sets it
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def changed(output):
    """Tell whether a run changed anything."""
    found = re.findall(r"changed=(\d+)", output)
    assert len(found) >= len(NODES), output
    return any(int(number) for number in found)


def upkeep():
    return on("head", "systemctl start bramble-image-mirror-upkeep", check=False)


def answers(unit=UNITS[1]):
    url = f"https://{address('head')}:{5010 + UNITS.index(unit)}/v2/"
    python = (
        "import ssl, urllib.request as u\n"
        "c = ssl.create_default_context(cafile='/etc/bramble/image-mirror/ca.crt')\n"
        f"u.urlopen('{url}', context=c, timeout=10).close()"
    )
    command = ["podman", "exec", container("head"), "python3", "-c", python]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def is_offline(unit):
    pid = on("head", f"systemctl show --property=MainPID --value {unit}")
    return "/offline/" in on("head", f"tr '\\0' ' ' </proc/{pid}/cmdline")


def test_what_one_node_has_pulled_the_other_gets_from_the_mirror():
    assert pull("head", "images.test/one:1") == ""
    # It stores what it hands on at its own pace.
    data = "/var/lib/bramble-image-mirror/images.test/docker/registry/v2/blobs"
    wait_for(lambda: len(on("head", f"find {data} -name data").splitlines()) >= 3)
    time.sleep(1)
    first = fetched("one")
    assert set(first) == {address("head")}
    assert pull("board", "images.test/one:1") == ""
    assert fetched("one") == first


def test_containerd_and_docker_know_it_and_each_has_its_registries():
    for node in NODES:
        assert "certs.d" in on(node, "containerd config dump | grep config_path")
        mirror = f"https://{address('head')}:5010"
        assert mirror in on(node, "docker info --format '{{json .RegistryConfig.Mirrors}}'")
    assert on("board", "docker pull --quiet hub:1") == "docker.io/library/hub:1"
    assert set(fetched("library/hub")) == {address("head")}


def test_a_registry_runs_without_rights_and_keeps_secrets():
    for unit in UNITS:
        assert on("head", f"systemctl show --property=User --value {unit}") == "docker-registry"
    rights = on("head", "stat -c '%a %U' /etc/bramble/image-mirror/registries/images.test.json")
    assert rights == "600 docker-registry"
    assert on("head", "stat -c '%a %U' /etc/bramble/image-mirror/ca.key") == "600 root"
    assert on("head", "systemctl is-enabled docker-registry", check=False) == "masked"


def test_without_the_registry_outside_what_is_there_is_served_also_after_a_start():
    drop = "iptables --{} INPUT --protocol tcp --dport 5000 --jump DROP"
    on("board", drop.format("insert"))
    try:
        on("head", f"systemctl restart {' '.join(UNITS)}")
        wait_for(lambda: all(map(answers, UNITS)), seconds=90)
        assert all(is_offline(unit) for unit in UNITS)
        assert pull("board", "images.test/one:1") == ""
    finally:
        on("board", drop.format("delete"))
    upkeep()
    wait_for(lambda: all(map(answers, UNITS)))
    assert not any(is_offline(unit) for unit in UNITS)


def test_without_the_mirror_nodes_ask_the_registry_outside():
    on("head", f"systemctl stop {' '.join(UNITS)}")
    try:
        for node in NODES:
            assert pull(node, "images.test/two:1") == ""
        assert set(fetched("two")) == {address(node) for node in NODES}
        # Nodes keep what they know of it.
        assert not changed(play("--limit", "board,localhost", "--tags", "docker") + " changed=0")
    finally:
        on("head", f"systemctl start {' '.join(UNITS)}")
    wait_for(lambda: all(map(answers, UNITS)))


def test_a_disk_that_is_full_is_told_and_pulls_go_on():
    folder = "/var/lib/bramble-image-mirror/images.test"
    on("head", f"mount -t tmpfs -o size=1m,uid=$(id -u docker-registry),mode=750 tmpfs {folder}")
    try:
        on("head", f"systemctl restart {UNITS[1]}")
        wait_for(answers)
        on("head", f"head -c 2m /dev/zero >{folder}/full", check=False)
        assert pull("board", "images.test/three:1") == ""
    finally:
        on("head", f"systemctl stop {UNITS[1]}; umount {folder}; systemctl start {UNITS[1]}")
    wait_for(answers)


def test_more_than_there_is_room_for_is_refused():
    result = subprocess.run(
        ["ansible-playbook", "-i", str(INVENTORY), "-e", "image_mirror_size=900TB", str(PLAYBOOK)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode != 0
    assert "image_mirror_size is 900TB, and the file system of" in result.stdout


def test_it_goes_without_a_trace():
    words = ["-e", json.dumps({"image_mirror_state": "absent", "image_mirror_remove_data": True})]
    assert changed(play("--check", *words))
    assert answers()
    assert changed(play(*words))
    assert not changed(play("--check", *words))
    assert not changed(play(*words))
    for node in NODES:
        script = SCENARIO.parent / "monitoring/files/inventory.sh"
        subprocess.run(
            ["podman", "exec", "-i", container(node), "sh", "-s", "/root/after"],
            input=script.read_text(),
            text=True,
            check=True,
        )
        assert on(node, "diff /root/before /root/after", check=False) == ""
        assert on(node, "systemctl list-units --all --plain --no-legend 'bramble*'") == ""
