"""The rack itself, as the machine sees it."""

import os
from pathlib import Path

import testinfra

testinfra_hosts = ["local://"]

PLAYBOOKS = Path(__file__).parents[3] / "playbooks"
INVENTORY = Path(os.environ["MOLECULE_INVENTORY_FILE"]).parent


def recap(host, playbook):
    command = host.run(f"ansible-playbook --check --inventory {INVENTORY} {PLAYBOOKS / playbook}")
    assert command.rc == 0, command.stdout + command.stderr
    return command.stdout.rpartition("PLAY RECAP")[2]


def test_a_rack_that_is_there_is_left_alone(host):
    assert "changed=0" in recap(host, "virtual_rack_create.yml")


def test_removal_can_be_tried_first(host):
    assert "changed=2" in recap(host, "virtual_rack_destroy.yml")
    assert host.run("podman network exists molecule-default").rc == 0


def test_nodes_have_keys_and_machine_ids_of_their_own():
    nodes = testinfra.get_hosts(["ansible://rack"], ansible_inventory=str(INVENTORY))
    for path in ("/etc/machine-id", "/etc/ssh/ssh_host_ed25519_key.pub"):
        assert len({node.file(path).content_string.split("@")[0] for node in nodes}) == 2


def test_memory_is_limited():
    (node,) = testinfra.get_hosts(["ansible://pi-1"], ansible_inventory=str(INVENTORY))
    limits = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
    assert [node.file(path).content_string for path in limits if node.file(path).exists] == [f"{512 << 20}\n"]
