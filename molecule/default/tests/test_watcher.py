"""The last of the tests: the node is gone afterwards, and molecule has to remove what is left."""

import os
import subprocess
import time
from pathlib import Path

PLAYBOOKS = Path(__file__).parents[3] / "playbooks"
INVENTORY = Path(os.environ["MOLECULE_INVENTORY_FILE"]).parent
NODE = "molecule-default-pi-1"


# Without the fixture host, by which pytest would sort it among the others.
def test_a_node_that_lost_its_watcher_is_told():
    inspect = ["podman", "inspect", NODE, "--format", "{{.State.ConmonPid}} {{.State.Pid}}"]
    watcher, init = subprocess.run(inspect, capture_output=True, text=True, check=True).stdout.split()
    subprocess.run(["kill", "-KILL", watcher], check=True)
    subprocess.run(["podman", "exec", NODE, "systemctl", "reboot"], check=False)
    deadline = time.monotonic() + 60
    while Path(f"/proc/{init}").exists():
        assert time.monotonic() < deadline, f"process {init} of the node has not ended"
        time.sleep(0.2)
    create = ["ansible-playbook", "--inventory", str(INVENTORY), str(PLAYBOOKS / "virtual_rack_create.yml")]
    done = subprocess.run(create, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert f"{NODE} ended, but podman says that it runs" in done.stdout
    assert "virtual_rack_destroy.yml" in done.stdout
