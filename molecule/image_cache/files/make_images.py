"""Make images out of nothing, as an OCI layout: one file each, another one for each architecture.

python3 make_images.py FOLDER NAME[=ARCHITECTURE,...]...
"""

import gzip
import hashlib
import io
import json
import os
import sys
import tarfile

OCI = "application/vnd.oci.image"


def add_blob(folder, content, media_type):
    """Write a blob and return its descriptor."""
    digest = hashlib.sha256(content).hexdigest()
    with open(os.path.join(folder, "blobs/sha256", digest), "wb") as file:
        file.write(content)
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}


def add_json(folder, content, media_type):
    """Write a document as a blob and return its descriptor."""
    return add_blob(folder, json.dumps(content).encode(), media_type)


def make_layer(name, architecture):
    """Return a layer with one file, uncompressed."""
    content = f"{name} for {architecture}\n".encode()
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as archive:
        entry = tarfile.TarInfo("content")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return layer.getvalue()


def add_manifest(folder, name, architecture):
    """Write an image of one architecture."""
    layer = make_layer(name, architecture)
    config = {
        "architecture": architecture,
        "os": "linux",
        "config": {"Cmd": ["/content"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{OCI}.manifest.v1+json",
        "config": add_json(folder, config, f"{OCI}.config.v1+json"),
        "layers": [add_blob(folder, gzip.compress(layer, mtime=0), f"{OCI}.layer.v1.tar+gzip")],
    }
    return add_json(folder, manifest, manifest["mediaType"])


def add_image(folder, name, architectures):
    """Write an index of several architectures."""
    manifests = [
        {
            **add_manifest(folder, name, architecture),
            "platform": {"os": "linux", "architecture": architecture},
        }
        for architecture in architectures
    ]
    index = {"schemaVersion": 2, "mediaType": f"{OCI}.index.v1+json", "manifests": manifests}
    return {
        **add_json(folder, index, index["mediaType"]),
        "annotations": {"org.opencontainers.image.ref.name": name},
    }


def main(folder, *wishes):
    """Write the layout."""
    os.makedirs(os.path.join(folder, "blobs/sha256"), exist_ok=True)
    images = []
    for wish in wishes:
        name, _equals, architectures = wish.partition("=")
        images.append(add_image(folder, name, (architectures or "386,amd64,arm,arm64").split(",")))
    with open(os.path.join(folder, "oci-layout"), "w", encoding="utf-8") as file:
        json.dump({"imageLayoutVersion": "1.0.0"}, file)
    with open(os.path.join(folder, "index.json"), "w", encoding="utf-8") as file:
        json.dump({"schemaVersion": 2, "manifests": images}, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
