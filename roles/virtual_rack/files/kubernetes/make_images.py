# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make the container images that kubeadm and verify need, as archives for docker load and ctr images import.

Runs in the builder: the programs of Kubernetes come from a folder, everything else from Debian's
packages that are installed there, or unpacked in a folder for another architecture. Each image has one
layer with just the files that it needs.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import re
import subprocess
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

# A fixed date, so that the same files make the same image.
CREATED = "2021-01-13T00:00:00Z"
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
IPTABLES = [family + suffix for family in ("iptables", "ip6tables") for suffix in ("", "-save", "-restore")]
# Process 1 of a container gets no signal that it has no handler for. Without the trap, httpd would
# be killed only after the 30 s that Kubernetes grants a pod to end.
HELLO = """\
#!/bin/sh
trap 'exit 0' TERM INT
echo "hello from $(hostname)" >/www/index.html
httpd -f -p 8080 -h /www &
wait
"""


@dataclass
class Image:
    """What an image is made of."""

    name: str
    refs: list[str]
    # Path in the image: path below the root of the packages, or the program; or the text of the file.
    files: dict[str, Path] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    command: list[str] = field(default_factory=list)
    environment: list[str] = field(default_factory=list)
    control_plane_only: bool = False


def shared_libraries(program: Path, root: Path) -> dict[str, Path]:
    """Return the libraries, loader included, that a program or plugin needs, by their paths in the image.

    Read in the files, as ldd would run the program.
    """
    found: dict[str, Path] = {}
    unread = [program]
    while unread:
        command = ["readelf", "--wide", "--dynamic", "--program-headers", unread.pop()]
        shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        # The loader is looked for nowhere but at its path.
        libraries = {
            path: root / path.lstrip("/") for path in re.findall(r"program interpreter: (.+)\]", shown)
        }
        for name in re.findall(r"\(NEEDED\).*\[(.+)\]", shown):
            (path,) = root.glob(f"usr/lib/*-linux-gnu/{name}")
            libraries[f"/{path.relative_to(root)}"] = path
        unread += [path for name, path in libraries.items() if name not in found]
        found.update(libraries)
    return found


def images(programs: Path, version: str, architecture: str, root: Path) -> list[Image]:
    """Return every image, under the names by which kubeadm and containerd ask for them."""

    def debian(path: str) -> dict[str, Path]:
        return {path: root / path.lstrip("/")}

    control_plane = [
        Image(
            name=name,
            refs=[f"k8s.gcr.io/{name}:v{version}"],
            files={f"/usr/local/bin/{name}": programs / name},
            control_plane_only=True,
        )
        for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
    ]
    etcd = Image(
        name="etcd",
        refs=["k8s.gcr.io/etcd:3.4.13-0"],
        files={f"/usr/local/bin/{program}": root / "usr/bin" / program for program in ("etcd", "etcdctl")},
        # etcd 3.4 starts on other architectures only when it is told so.
        environment=[] if architecture == "amd64" else [f"ETCD_UNSUPPORTED_ARCH={architecture}"],
        control_plane_only=True,
    )
    plugins = sorted(root.glob("usr/lib/*/xtables/*.so"))
    proxy = Image(
        name="kube-proxy",
        refs=[f"k8s.gcr.io/kube-proxy:v{version}"],
        files={
            "/usr/local/bin/kube-proxy": programs / "kube-proxy",
            **debian("/usr/sbin/xtables-nft-multi"),
            **debian("/usr/sbin/conntrack"),
            **debian("/usr/bin/kmod"),
            **{f"/{plugin.relative_to(root)}": plugin for plugin in plugins},
        },
        links={
            **{f"/usr/sbin/{name}": "xtables-nft-multi" for name in IPTABLES},
            "/usr/sbin/modprobe": "/usr/bin/kmod",
        },
    )
    pause = Image(
        name="pause",
        # kubeadm 1.20 names the first; the others are the defaults of bookworm's and trixie's containerd.
        refs=["k8s.gcr.io/pause:3.2", "registry.k8s.io/pause:3.6", "registry.k8s.io/pause:3.8"],
        files={"/pause": programs / "pause"},
        command=["/pause"],
    )
    applets = subprocess.run(["busybox", "--list"], capture_output=True, text=True, check=True).stdout.split()
    hello = Image(
        name="hello",
        refs=["localhost/hello:1"],
        files={"/bin/busybox": root / "usr/bin/busybox"},
        links={f"/bin/{applet}": "busybox" for applet in applets if applet != "busybox"},
        texts={"/usr/local/bin/hello": HELLO, "/www/index.html": ""},
        command=["/usr/local/bin/hello"],
    )
    return [*control_plane, etcd, proxy, pause, hello]


def add(archive: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    """Add a file to an archive."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    member.mode = mode
    archive.addfile(member, io.BytesIO(content))


def layer(image: Image, root: Path) -> bytes:
    """Return the only layer of an image, a tar archive."""
    files = dict(image.files)
    for program in image.files.values():
        files.update(shared_libraries(program, root))
    texts = {
        "/etc/passwd": "root:x:0:0:root:/root:/sbin/nologin\n",
        "/etc/group": "root:x:0:\n",
        # Without it, Go's resolver may ask the name server before /etc/hosts.
        "/etc/nsswitch.conf": "hosts: files dns\n",
        **image.texts,
    }
    folders = {
        str(folder)
        for path in [*files, *texts, *image.links, "/run/x", "/tmp/x", "/var/x"]  # noqa: S108  # names in the image
        for folder in Path(path).parents
        if str(folder) != "/"
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for folder in sorted(folders):
            member = tarfile.TarInfo(folder.lstrip("/"))
            member.type = tarfile.DIRTYPE
            member.mode = 0o1777 if folder == "/tmp" else 0o755  # noqa: S108  # a name in the image
            archive.addfile(member)
        for path, source in sorted(files.items()):
            add(archive, path.lstrip("/"), source.read_bytes(), 0o755)
        for path, text in sorted(texts.items()):
            add(archive, path.lstrip("/"), text.encode(), 0o755 if text.startswith("#!") else 0o644)
        for path, target in sorted(image.links.items()):
            member = tarfile.TarInfo(path.lstrip("/"))
            member.type = tarfile.SYMTYPE
            member.linkname = target
            archive.addfile(member)
    return buffer.getvalue()


def save(image: Image, architecture: str, root: Path, folder: Path) -> dict[str, object]:
    """Write the archive of an image and return its entry for images.json."""
    content = layer(image, root)
    digest = hashlib.sha256(content).hexdigest()
    config = json.dumps(
        {
            "architecture": architecture,
            "os": "linux",
            "created": CREATED,
            "config": {"Env": [PATH, *image.environment], "Cmd": image.command},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
            "history": [{"created": CREATED, "created_by": "bramble.pi"}],
        }
    ).encode()
    config_name = f"{hashlib.sha256(config).hexdigest()}.json"
    layer_name = f"{digest}/layer.tar"
    manifest = [{"Config": config_name, "RepoTags": image.refs, "Layers": [layer_name]}]
    target = folder / f"{image.name}.tar"
    with tarfile.open(target, "w", format=tarfile.GNU_FORMAT) as archive:
        add(archive, config_name, config)
        add(archive, layer_name, content)
        add(archive, "manifest.json", json.dumps(manifest).encode())
    return {
        "file": target.name,
        "refs": image.refs,
        "sha256": hashlib.sha256(target.read_bytes()).hexdigest(),
        "size": target.stat().st_size,
        "control_plane_only": image.control_plane_only,
    }


def main() -> None:
    """Make every image and list them in images.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--programs", type=Path, required=True, help="folder of the built programs")
    parser.add_argument("--version", required=True, help="of Kubernetes, for example 1.20.2")
    parser.add_argument("--output", type=Path, required=True, help="folder that gets images/ and images.json")
    parser.add_argument(
        "--architecture", help="Debian's name of another one than this machine's, such as arm64"
    )
    parser.add_argument("--root", type=Path, default=Path("/"), help="folder with Debian's packages of it")
    options = parser.parse_args()

    listing = options.output / "images.json"
    if listing.exists():
        return

    native = ["dpkg", "--print-architecture"]
    architecture = (
        options.architecture
        or subprocess.run(native, capture_output=True, text=True, check=True).stdout.strip()
    )
    folder = options.output / "images"
    folder.mkdir(parents=True, exist_ok=True)
    entries = [
        save(image, architecture, options.root, folder)
        for image in images(options.programs, options.version, architecture, options.root)
        # Boards of another architecture are workers.
        if options.architecture is None or not image.control_plane_only
    ]
    listing.write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
