"""Both runtimes have the images, fetched once; what goes wrong is named, and nothing goes on being served.

What is asked for from outside is read in the registry's own log.
"""

import hashlib
import io
import json
import os
import re
import subprocess
import tarfile
from collections import Counter
from pathlib import Path

import pytest

testinfra_hosts = ["local://"]

INVENTORY = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "inventory"
PLAYBOOK = Path(__file__).resolve().parents[3] / "playbooks/images.yml"
REGISTRY = "10.89.120.11:5000"
ADDRESSES = {"dockershim": "10.89.120.12", "containerd": "10.89.120.13"}
FOLDER = "/var/cache/bramble-images"
COMMON = ["k8s/kube-proxy:v1.20.2", "k8s/pause:3.2", "k8s/coredns:1.7.0", "hello:1"]
FLANNEL = ["flannel/flannel:v0.1", "flannel/flannel-cni-plugin:v0.1"]
CONTROL_PLANE = [
    "k8s/kube-apiserver:v1.20.2",
    "k8s/kube-controller-manager:v1.20.2",
    "k8s/kube-scheduler:v1.20.2",
    "k8s/etcd:3.4.13-0",
]
#: Images that a test needs alone, so that nothing else is looked for.
ONLY = {"image_cache_kubernetes": False}


def on(node, script, check=True):
    """Run a script on a node."""
    command = ["podman", "exec", f"molecule-image_cache-{node}", "sh", "-c", script]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not check or result.returncode == 0, result.stderr
    return result.stdout.strip()


def images(node):
    """Return the names of the images from the registry that a node has."""
    command = {
        "containerd": "ctr --namespace k8s.io images list --quiet",
        "dockershim": "docker image ls --format '{{.Repository}}:{{.Tag}}'",
    }[node]
    lines = on(node, command).splitlines()
    return {line.removeprefix(f"{REGISTRY}/") for line in lines if line.startswith(REGISTRY)}


def requests():
    """Return what the nodes asked the registry for: address and path, of images and of what is in them."""
    log = on("outside", "journalctl --unit docker-registry --output cat")
    found = re.findall(r'^(\S+) - - \[.*\] "GET (/v2/\S+/(?:blobs|manifests)/\S+) HTTP', log, re.MULTILINE)
    return [(address, path) for address, path in found if address in ADDRESSES.values()]


def play(*arguments, **variables):
    """Run the playbook with other variables."""
    result = subprocess.run(
        ["ansible-playbook", "-i", str(INVENTORY), "-e", json.dumps(variables), *arguments, str(PLAYBOOK)],
        env={**os.environ, "ANSIBLE_FORCE_COLOR": "false"},  # molecule sets it
        capture_output=True,
        text=True,
        check=False,
    )
    return result.returncode, result.stdout + result.stderr


def check_nothing_is_served(*folders):
    """Check that there is no server, nothing listens, and only these folders are left."""
    for node, address in ADDRESSES.items():
        assert on(node, "systemctl show bramble-image-server --property ActiveState --value") == "inactive"
        assert f"{address}:8470" not in on(node, "cat /proc/net/tcp; ss --tcp --listening --numeric")
        left = on(node, f"ls -d {FOLDER}", check=False)
        assert left == (FOLDER if node in folders else "")


def write_archive(path, name, spoilt=False):
    """Write an archive as docker image save does; a spoilt one has another layer than it should."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as layer:
        layer.addfile(tarfile.TarInfo("content"))
    diff_id = hashlib.sha256(b"another" if spoilt else content.getvalue()).hexdigest()
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["/content"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff_id}"]},
    }
    files = {
        "config.json": json.dumps(config).encode(),
        "layer.tar": content.getvalue(),
        "manifest.json": json.dumps(
            [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
        ).encode(),
    }
    with tarfile.open(path, "w") as archive:
        for member, data in files.items():
            entry = tarfile.TarInfo(member)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))


def put_archive(node, folder, name, **options):
    """Put an archive on a node, and return where it is."""
    path = folder / "images.tar"
    write_archive(path, name, **options)
    subprocess.run(
        ["podman", "cp", str(path), f"molecule-image_cache-{node}:/srv/images.tar"], check=True, timeout=60
    )
    return "/srv/images.tar"


def test_every_node_has_its_images():
    assert images("dockershim") >= {*COMMON, *FLANNEL, *CONTROL_PLANE}
    # A worker does without etcd, and containerd makes sandboxes of an image of its own.
    assert images("containerd") == {*COMMON, *FLANNEL, "sandbox:1", "other/hello:2"}


def test_everything_was_fetched_once_by_one_node():
    asked = requests()
    assert {address for address, _path in asked} == {ADDRESSES["dockershim"]}
    assert len(asked) >= 4 * 12
    assert [path for path, count in Counter(asked).items() if count > 1] == []


def test_nothing_goes_on_being_served():
    check_nothing_is_served()


def test_check_mode_says_what_would_be_fetched():
    before = requests()
    code, output = play("--check", image_cache_images=[f"{REGISTRY}/later:1"], **ONLY)
    assert code == 0, output
    assert f"dockershim would fetch from outside: {REGISTRY}/later:1 for amd64" in output
    assert f"containerd would get from dockershim: {REGISTRY}/later:1" in output
    assert requests() == before
    assert "later:1" not in images("dockershim") | images("containerd")
    check_nothing_is_served()


def test_a_missing_architecture_is_named():
    before = images("dockershim")
    code, output = play(image_cache_images=[f"{REGISTRY}/only-arm:1"], **ONLY)
    assert code == 2, output
    assert (
        f"{REGISTRY}/only-arm:1 for amd64, needed by dockershim, containerd, is not available: "
        "'docker image pull"
    ) in output
    assert "no matching manifest for linux/amd64" in output
    assert "Correct image_cache_images, or name an archive that has it for amd64 in" in output
    assert images("dockershim") == before
    check_nothing_is_served()


def test_containerd_passes_on_as_well():
    before = requests()
    code, output = play(image_cache_images=[f"{REGISTRY}/later:1"], image_cache_source="containerd", **ONLY)
    assert code == 0, output
    assert "later:1" in images("dockershim") & images("containerd")
    asked = requests()[len(before) :]
    assert {address for address, _path in asked} == {ADDRESSES["containerd"]}
    assert max(Counter(path for _address, path in asked if "/blobs/" in path).values()) == 1
    check_nothing_is_served()


def test_an_image_of_another_architecture_counts_as_missing():
    desired = "docker image inspect --format '{{.Id}} {{.Architecture}}' " + f"{REGISTRY}/hello:1"
    own = on("dockershim", desired)
    assert own.endswith(" amd64")
    on("dockershim", f"docker image pull --quiet --platform linux/arm64 {REGISTRY}/hello:1")
    assert on("dockershim", desired).endswith(" arm64")
    before = requests()
    code, output = play(image_cache_images=[f"{REGISTRY}/hello:1"], image_cache_source="containerd", **ONLY)
    assert code == 0, output
    assert f"dockershim gets from containerd: {REGISTRY}/hello:1" in output
    assert on("dockershim", desired) == own
    assert requests() == before


@pytest.mark.parametrize("source", ["dockershim", "containerd"])
def test_images_of_another_architecture_are_not_the_source_s_own(host, source):
    """The rack has no node of another architecture, so only the wish of one is here."""
    name = f"{REGISTRY}/other/hello:2"
    listing = (
        "(docker image ls --no-trunc; ctr -n k8s.io images list --quiet; ctr namespaces list --quiet) | sort"
    )
    before = on(source, listing)
    wish = {"architecture": "arm64", "images": [{"name": name, "variable": "x", "id": None}]}
    arguments = {
        "runtime": source,
        "source": source,
        "nodes": {"board": wish},
        "directory": FOLDER,
        "url": "http://10.0.0.1",
    }
    node = host.get_host(f"ansible://{source}?ansible_inventory={INVENTORY}")
    result = node.ansible(
        "bramble.pi.container_images_fetch", json.dumps(arguments), check=False, become=True
    )
    assert result["fetched"] == [f"{name} for arm64"]
    (archive,) = result["archives"]["board"]
    path = f"{FOLDER}/{archive['src'].rpartition('/')[2]}"
    assert on(source, f"sha256sum {path}").split()[0] == archive["sha256"]
    # What is inside, by skopeo, which has no part in this.
    copied = f"podman exec molecule-image_cache-{source} cat {path}"
    inspected = subprocess.run(
        f"{copied} | podman exec -i molecule-image_cache-outside sh -c 'cat >/srv/other.tar && "
        "skopeo inspect --config --raw docker-archive:/srv/other.tar'",
        shell=True,
        capture_output=True,
        text=True,
        check=False,
    )
    assert inspected.returncode == 0, inspected.stderr
    assert json.loads(inspected.stdout)["architecture"] == "arm64"
    assert on(source, listing) == before
    # It is there for the next time.
    asked = requests()
    again = node.ansible("bramble.pi.container_images_fetch", json.dumps(arguments), check=False, become=True)
    assert (again["changed"], again["archives"]) == (False, result["archives"])
    assert requests() == asked
    on(source, f"rm -r {FOLDER}")


def test_archives_do_without_a_registry(tmp_path):
    before = requests()
    name = f"{REGISTRY}/nowhere:1"
    wish = {"image_cache_images": [name], "image_cache_pull": False, **ONLY}
    path = put_archive("dockershim", tmp_path, name)
    code, output = play(**wish, image_cache_archives=[{"src": path}])
    assert code == 0, output
    assert "nowhere:1" in images("dockershim") & images("containerd")
    assert requests() == before
    check_nothing_is_served()


def test_nothing_is_served_after_a_failure(tmp_path):
    name = f"{REGISTRY}/spoilt:1"
    path = put_archive("dockershim", tmp_path, name, spoilt=True)
    code, output = play(image_cache_images=[name], image_cache_archives=[{"src": path}], **ONLY)
    assert code == 2, output
    assert re.search(
        r"fatal: \[containerd\].*given-0-images\.tar cannot be imported: 'ctr .* ended with \d+: ", output
    )
    assert re.search(
        r"fatal: \[dockershim\].*given-0-images\.tar cannot be imported: 'docker .* ended with \d+: ", output
    )
    check_nothing_is_served("dockershim")
    on("dockershim", f"rm -r {FOLDER}")


def test_a_port_that_is_taken_is_named():
    on(
        "dockershim",
        "systemd-run --unit taken python3 -m http.server --directory /boot --bind 10.89.120.12 8470",
    )
    on("containerd", f"ctr --namespace k8s.io images rm {REGISTRY}/later:1")
    try:
        code, output = play(image_cache_images=[f"{REGISTRY}/later:1"], **ONLY)
    finally:
        on("dockershim", "systemctl stop taken")
    assert code == 2, output
    assert "dockershim does not serve at http://10.89.120.12:8470" in output
    assert "image_cache_port to a port that is free" in output
    assert ": Load the images]" not in output
    check_nothing_is_served("dockershim")
